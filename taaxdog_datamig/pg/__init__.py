"""PostgreSQL: connections, catalog, quoting, definitions, and which errors are worth another try."""

from taaxdog_datamig.pg.database import Database, Server

__all__ = ["Database", "Server"]

"""A database that can only be read."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from taaxdog_datamig.pg.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy


class ReadingDatabase(Database):
    """Lends connections whose transactions are read-only, so that code cannot write past the engine."""

    @classmethod
    def of(cls, db: Database) -> ReadingDatabase:
        """The same pool, for reading."""
        return cls(db.pool, db.settings, db.server, db.dsn)

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """Borrow a connection that reads only."""
        async with super().acquire() as connection:
            if self.pooled:
                async with connection.transaction(readonly=True):
                    yield connection
                return
            # Undone by the RESET ALL with which it goes back to the pool.
            await connection.execute("SET default_transaction_read_only = on")
            yield connection

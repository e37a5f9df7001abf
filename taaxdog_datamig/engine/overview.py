"""A database at a glance: how much there is, and how its runs stand. Cheap, and waits for nobody's locks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.engine import control
from taaxdog_datamig.engine.reports import RunRecord
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from taaxdog_datamig.pg.database import Database

_QUERIES = queries("taaxdog_datamig.pg")

#: Runs of each kind.
RUNS = 3


@attrs.frozen(kw_only=True)
class Overview:
    """What a person wants to know before doing anything."""

    #: About how many rows each table has, the ledger's own left out.
    rows: Mapping[str, int]
    #: Of the whole database, indexes included.
    bytes: int
    #: The latest runs, the newest first.
    recent: list[RunRecord]
    #: The latest runs that failed or were rolled back, the newest first.
    failed: list[RunRecord]


@server_errors("looking at the database")
async def overview(db: Database) -> Overview:
    """Look at tables and runs.

    Raises:
        DatabaseUnavailable: the connection was lost.
        ServerRefused: the role may not look.
    """
    async with db.acquire() as connection:
        tables = await connection.fetch(_QUERIES["tables_in_brief"])
        size = await connection.fetchval("SELECT pg_database_size(current_database())")
    return Overview(
        rows={table["name"]: table["rows"] for table in tables},
        bytes=size,
        recent=await control.history(db, RUNS, failed=False),
        failed=await control.history(db, RUNS, failed=True),
    )

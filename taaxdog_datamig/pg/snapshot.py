"""Several connections that see the database at one moment, and cannot change it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.pg.quoting import literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.database import Database


@attrs.frozen(kw_only=True)
class Snapshot:
    """A moment of the database, for as long as the block that `Snapshot.take` opens."""

    db: Database
    #: Sees it, too.
    connection: PoolConnectionProxy[Any]
    #: The moment, in UTC.
    moment: datetime
    _id: str

    @classmethod
    @contextlib.asynccontextmanager
    async def take(cls, db: Database) -> AsyncIterator[Snapshot]:
        """Hold a snapshot. Works on a standby, too."""
        async with db.acquire() as connection, connection.transaction(**_READING):
            row = await connection.fetchrow("SELECT pg_export_snapshot() AS id, now() AS moment")
            assert row is not None
            await _settle(connection)
            yield cls(db=db, connection=connection, moment=row["moment"], id=row["id"])

    @contextlib.asynccontextmanager
    async def share(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """Borrow another connection that sees the same."""
        async with self.db.acquire() as connection, connection.transaction(**_READING):
            await connection.execute(f"SET TRANSACTION SNAPSHOT {literal(self._id)}")
            await _settle(connection)
            yield connection


_WORK_MEM = "64MB"
_READING: Any = {"isolation": "repeatable_read", "readonly": True}


async def _settle(connection: PoolConnectionProxy[Any]) -> None:
    """The snapshot's owner is idle while the others read; and what is joined and grouped is large."""
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    # An anti-join of 2 million rows to 200,000 took 0.4 to 0.6 of the time it takes with the server's own
    # 4 MB. A server that gives more keeps it.
    await connection.execute(
        "SELECT set_config('work_mem', $1::text, true)"
        " WHERE pg_size_bytes(current_setting('work_mem')) < pg_size_bytes($1::text)",
        _WORK_MEM,
    )

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
    #: For SET TRANSACTION SNAPSHOT and pg_dump --snapshot.
    id: str

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
            await connection.execute(f"SET TRANSACTION SNAPSHOT {literal(self.id)}")
            await _settle(connection)
            yield connection


_READING: Any = {"isolation": "repeatable_read", "readonly": True}


async def _settle(connection: PoolConnectionProxy[Any]) -> None:
    """The snapshot's owner is idle while the others read; and one scan may take longer than a chunk."""
    await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")

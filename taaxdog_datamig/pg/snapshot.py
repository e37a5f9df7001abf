"""Several connections that see the database at one moment, and cannot change it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from taaxdog_datamig.pg.quoting import literal
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from datetime import datetime

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.database import Database

    Prepare: TypeAlias = Callable[[PoolConnectionProxy[Any]], Awaitable[object]]


async def _unprepared(_: PoolConnectionProxy[Any]) -> None:
    """Leave the settings as they are."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """A moment of the database, for as long as the block that `Snapshot.take` opens."""

    db: Database
    #: Sees it, too, and holds it for the others.
    connection: PoolConnectionProxy[Any]
    #: The moment, in UTC.
    moment: datetime
    #: For SET TRANSACTION SNAPSHOT and pg_dump --snapshot.
    id: str
    _prepare: Prepare

    @classmethod
    @contextlib.asynccontextmanager
    async def take(cls, db: Database, prepare: Prepare = _unprepared) -> AsyncIterator[Snapshot]:
        """Hold a snapshot. Works on a standby, too.

        Args:
            db: the database.
            prepare: is given each connection that sees it, to SET LOCAL what it wants.
        """
        async with db.acquire() as connection, transaction(connection, snapshot=True):
            row = await connection.fetchrow("SELECT pg_export_snapshot() AS id, now() AS moment")
            assert row is not None
            # It is idle while the others read.
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await prepare(connection)
            yield cls(db=db, connection=connection, moment=row["moment"], id=row["id"], prepare=prepare)

    @contextlib.asynccontextmanager
    async def share(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """Borrow another connection that sees the same."""
        async with self.db.acquire() as connection, transaction(connection, snapshot=True):
            await connection.execute(f"SET TRANSACTION SNAPSHOT {literal(self.id)}")
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            await self._prepare(connection)
            yield connection

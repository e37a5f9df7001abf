"""Reading as of one moment, with every setting that a value's text depends on pinned."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from taaxdog_datamig.pg.database import SESSION
from taaxdog_datamig.pg.sql import queries
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.database import Database

_SQL = queries(__package__)

#: With an empty path, names of types, functions and tables in values (regclass ...) are qualified. The
#: connection that holds the snapshot waits for the others, however long.
_PINNED = {
    **{
        name: value
        for name, value in SESSION.items()
        if name not in {"application_name", "synchronous_commit"}
    },
    "search_path": "pg_catalog",
    "idle_in_transaction_session_timeout": "0",
}


async def _pin(connection: PoolConnectionProxy[Any]) -> None:
    await connection.execute(_SQL["pin"], list(_PINNED), list(_PINNED.values()))


@contextlib.asynccontextmanager
async def pinned(connection: PoolConnectionProxy[Any]) -> AsyncIterator[None]:
    """Pin the settings on a connection until the end of the block, where they are as before.

    Reads inside see what the transaction around it sees; without one, the block is a transaction. What is
    written inside is undone.
    """
    with contextlib.suppress(Undone):
        async with transaction(connection):
            await _pin(connection)
            yield
            raise Undone


class Snapshot:
    """A moment of a database that several connections read."""

    def __init__(self, db: Database, name: str) -> None:
        self._db, self._name = db, name

    @classmethod
    @contextlib.asynccontextmanager
    async def taken(cls, db: Database) -> AsyncIterator[Snapshot]:
        """Take one, and hold it until the end of the block. Works on a standby, too."""
        async with db.acquire() as connection, transaction(connection, snapshot=True):
            await _pin(connection)
            yield cls(db, await connection.fetchval("SELECT pg_export_snapshot()"))

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """A connection that reads as of that moment, read-only, with the settings pinned."""
        async with self._db.acquire() as connection, transaction(connection, snapshot=True):
            # No parameter is taken here; the name is the server's, and hexadecimal.
            await connection.execute(f"SET TRANSACTION SNAPSHOT '{self._name}'")
            await _pin(connection)
            yield connection

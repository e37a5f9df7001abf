"""Every setting that a value's text depends on, pinned."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from taaxdog_datamig.pg.database import SESSION
from taaxdog_datamig.pg.sql import queries
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy


_SQL = queries(__package__)

#: With an empty path, names of types, functions and tables in values (regclass ...) are qualified. A session
#: that holds a snapshot waits for the others, however long.
_PINNED = {
    **{
        name: value
        for name, value in SESSION.items()
        if name not in {"application_name", "synchronous_commit"}
    },
    "search_path": "pg_catalog",
    "idle_in_transaction_session_timeout": "0",
}


async def pin(connection: PoolConnectionProxy[Any]) -> None:
    """Pin the settings until the transaction ends."""
    await connection.execute(_SQL["pin"], list(_PINNED), list(_PINNED.values()))


@contextlib.asynccontextmanager
async def pinned(connection: PoolConnectionProxy[Any]) -> AsyncIterator[None]:
    """Pin the settings on a connection until the end of the block, where they are as before.

    Reads inside see what the transaction around it sees; without one, the block is a transaction. What is
    written inside is undone.
    """
    with contextlib.suppress(Undone):
        async with transaction(connection):
            await pin(connection)
            yield
            raise Undone

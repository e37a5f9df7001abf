"""The loader's connections: opened together, sharing work, and undoing what they made when it fails."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TypeAlias

import anyio
import asyncpg

from taaxdog_datamig.demo.schema import create_tables, drop_schema
from taaxdog_datamig.errors import DatabaseUnavailable, ServerRefused

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
async def undone_on_failure(dsn: str, connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Create the bare tables, and drop them again when the block fails or is cancelled.

    Raises:
        UsageError: One of the tables exists already; nothing was created.
        ServerRefused: The server stopped the work.
    """
    with _refusals():
        # Short, and shielded: whether the tables are ours to drop must be certain afterwards.
        with anyio.CancelScope(shield=True):
            await create_tables(connection)
        try:
            yield
        except BaseException as error:
            # A cancelled load must not leave half a database, so this does not listen to the cancellation.
            with anyio.CancelScope(shield=True):
                await _undo(dsn, error)
            raise


async def _undo(dsn: str, error: BaseException) -> None:
    """Drop everything over a fresh connection; where that fails, say so beside the error that led here."""
    try:
        async with AsyncExitStack() as stack:
            connection = await _connect(dsn)
            stack.callback(connection.terminate)
            await drop_schema(connection)
    except (DatabaseUnavailable, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as failure:
        error.add_note(
            f"The half-loaded sample could not be dropped ({type(failure).__name__}): drop it by hand"
        )


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what the driver raises, alone or out of a task group, into an error of ours."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, asyncpg.PostgresError):
            raise _refusal(error) from error
        raise error from None
    except asyncpg.PostgresError as error:
        raise _refusal(error) from error


def _refusal(error: asyncpg.PostgresError) -> ServerRefused:
    # The first argument is the server's message without its detail, which may quote a row.
    return ServerRefused(
        f"The server refused to load the sample: {error.args[0]} ({error.sqlstate})",
        "What had been created was dropped again",
    )

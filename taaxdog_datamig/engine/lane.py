"""A connection that a worker keeps from one transaction to the next."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig.pg.transactions import Undone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job


@attrs.define
class Lane:
    """Saves the round trip with which a connection goes back to the pool; use `lane` to open one."""

    _job: Job
    #: Held while the server executes a statement that changes rows; a worker's writers share it.
    statement: anyio.Semaphore = attrs.field(factory=lambda: anyio.Semaphore(1))
    _stack: contextlib.AsyncExitStack = attrs.field(factory=contextlib.AsyncExitStack)
    _kept: PoolConnectionProxy[Any] | None = None

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """The connection that sees the ledger; after an error the next one is another."""
        if self._job.dry_run:
            async with self._job.connect() as connection:
                yield connection
            return
        if self._kept is None:
            self._kept = await self._stack.enter_async_context(self._job.connect())
        try:
            yield self._kept
        except Undone:
            raise
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Give the connection back."""
        self._kept = None
        await self._stack.aclose()


@contextlib.asynccontextmanager
async def lane(job: Job, statement: anyio.Semaphore | None = None) -> AsyncIterator[Lane]:
    """A lane for the time of the block."""
    opened = Lane(job, statement or anyio.Semaphore(1))
    try:
        yield opened
    finally:
        await opened.aclose()

"""An executor that duplicates calls, loses them, delays them, lets them die, and forgets some that go on."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING

import anyio
import attrs

from taaxdog_datamig.engine.executors import EXECUTORS
from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.pg.groups import only_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from typing import Any

    from anyio.abc import TaskGroup

NAME = "unreliable"
_FATES = ("lost", "dies", "forgotten", "duplicated", "delayed")
#: Longest delay of a call, and life of one that dies, seconds.
_DELAY = 0.05
_LIFE = 0.3
#: How long those that were forgotten may go on when everything is over, seconds.
_PATIENCE = 1.0


@attrs.define
class UnreliableExecutor:
    """What may become of calls where workers are other machines; see `unreliable`."""

    #: In which calls go on that were forgotten.
    _others: TaskGroup
    _chooser: random.Random
    #: How often each thing was done.
    done: Counter[str] = attrs.field(factory=Counter)
    _fates: list[str] = attrs.field(factory=list)

    async def run(self, worker: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
        """Call as it comes; return while some of the calls go on."""
        with only_error():
            async with anyio.create_task_group() as group:
                for _ in range(workers):
                    fate = self._fate()
                    self.done[fate] += 1
                    if fate == "forgotten":
                        self._others.start_soon(self._forgotten, worker)
                    elif fate == "dies":
                        group.start_soon(self._dies, worker)
                    elif fate != "lost":
                        for _ in range(2 if fate == "duplicated" else 1):
                            group.start_soon(self._delayed, worker)

    def _fate(self) -> str:
        """Of five calls, each fate meets one."""
        if not self._fates:
            self._fates = self._chooser.sample(_FATES, len(_FATES))
        return self._fates.pop()

    async def _delayed(self, worker: Callable[[], Coroutine[Any, Any, None]]) -> None:
        await anyio.sleep(self._chooser.uniform(0, _DELAY))
        await worker()

    async def _dies(self, worker: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with anyio.move_on_after(self._chooser.uniform(0, _LIFE)):
            await worker()

    async def _forgotten(self, worker: Callable[[], Coroutine[Any, Any, None]]) -> None:
        # Its run may be over, or another's, by the time it writes: it is told so, and nobody hears it.
        with contextlib.suppress(DatamigError):
            await self._delayed(worker)


@contextlib.asynccontextmanager
async def unreliable(seed: int = 0) -> AsyncIterator[UnreliableExecutor]:
    """For the time of the block, `RunOptions(executor="unreliable")` names such an executor.

    Calls that it has forgotten go on for a while at the block's end.
    """
    async with anyio.create_task_group() as others:
        executor = UnreliableExecutor(others, random.Random(seed))  # noqa: S311 - fates, not secrets
        EXECUTORS[NAME] = lambda: executor
        try:
            yield executor
        finally:
            del EXECUTORS[NAME]
            others.cancel_scope.deadline = anyio.current_time() + _PATIENCE

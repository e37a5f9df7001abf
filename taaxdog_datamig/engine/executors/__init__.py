"""Who runs the workers: this process, or others. The ledger is the only truth; executors only spread work.

A call may be lost, made twice, or go on after its executor has forgotten it: windows that were claimed and
not done are given out again, and who comes late finds the lease's epoch, or the run's status, changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from taaxdog_datamig.engine.executors.local import LocalExecutor
from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

__all__ = ["EXECUTORS", "Executor", "LocalExecutor", "executor_named"]


class Executor(Protocol):
    """Runs a worker several times at once. A worker claims windows until none is left."""

    async def run(self, worker: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
        """Return when every worker has; raise the first error of one."""


#: By the name that `--executor` gives; each call makes one for a sweep.
EXECUTORS: dict[str, Callable[[], Executor]] = {"local": LocalExecutor}


def executor_named(name: str) -> Executor:
    """The executor that `--executor` names.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in EXECUTORS:
        raise UsageError(f"there is no executor {name!r}", f"This version has: {', '.join(EXECUTORS)}")
    return EXECUTORS[name]()

"""Who runs the workers: this process, or others. The ledger is the only truth; executors only spread work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from taaxdog_datamig.engine.executors.local import LocalExecutor
from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

__all__ = ["Executor", "LocalExecutor", "executor_named"]


class Executor(Protocol):
    """Runs a worker several times at once. A worker claims windows until none is left."""

    async def run(self, worker: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
        """Return when every worker has; raise the first error of one."""


def executor_named(name: str) -> Executor:
    """The executor that `--executor` names.

    Raises:
        UsageError: there is none of that name.
    """
    if name == "local":
        return LocalExecutor()
    raise UsageError(f"there is no executor {name!r}", "This version has: local")

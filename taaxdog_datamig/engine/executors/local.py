"""Workers as tasks of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from taaxdog_datamig.pg.groups import only_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


class LocalExecutor:
    """Runs workers in one task group."""

    async def run(self, worker: Callable[[], Coroutine[Any, Any, None]], workers: int) -> None:
        """Return when every worker has; raise the first error of one, with the others cancelled."""
        with only_error():
            async with anyio.create_task_group() as group:
                for _ in range(workers):
                    group.start_soon(worker)

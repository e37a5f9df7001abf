"""How long a commit takes that waits for the disk, and for standbys where those are synchronous.

Chunks do not wait for the disk themselves. The run's signs of life do, once a second.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from taaxdog_datamig.pressure.model import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncpg.pool import PoolConnectionProxy


@attrs.define
class CommitClock:
    """Times small commits, one after the other."""

    clock: Callable[[], float] = time.monotonic
    _last: float = 0.0
    _began: float | None = None

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Time the block: one small transaction."""
        self._began = self.clock()
        try:
            yield
        finally:
            self._last, self._began = self.clock() - self._began, None

    @property
    def seconds(self) -> float:
        """The latest one's, or that of the one under way, which may never end."""
        return self._last if self._began is None else max(self._last, self.clock() - self._began)


@attrs.frozen
class CommitLatency:
    """What the latest small commit took."""

    name: ClassVar[str] = "commit_latency"
    limit: float
    commits: CommitClock

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:  # noqa: ARG002
        """Look at the clock."""
        took = self.commits.seconds
        return Reading(took / self.limit, f"a small commit takes {took:.1f} s (limit {self.limit:g} s)")

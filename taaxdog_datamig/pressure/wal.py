"""WAL: how fast the server writes it, and how much of it waits to be archived."""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from taaxdog_datamig.pressure.model import PATIENCE, SQL, Reading, sized

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncpg.pool import PoolConnectionProxy

#: Over how long the rate is taken. Shorter, and every full page image after a checkpoint is a spike. Seconds.
_SPAN: Final = 5.0
_SEGMENT: Final = re.compile(r"[0-9A-F]{8}([0-9A-F]{8})([0-9A-F]{8})")


@attrs.define
class WalRate:
    """What the whole server writes a second, over the last seconds."""

    name: ClassVar[str] = "wal_rate"
    limit: float
    clock: Callable[[], float] = time.monotonic
    _seen: deque[tuple[float, float]] = attrs.field(factory=deque)

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at where the log stands, and compare."""
        position = await connection.fetchval(SQL["wal_position"], timeout=PATIENCE)
        return self.learn(self.clock(), position)

    def learn(self, now: float, position: float) -> Reading:
        """Take in that the log stands at `position` bytes `now`."""
        seen = self._seen
        seen.append((now, position))
        # One from before the span stays, so that the span is covered.
        while len(seen) > 2 and seen[1][0] <= now - _SPAN:  # noqa: PLR2004
            seen.popleft()
        since, before = seen[0]
        rate = (position - before) / (now - since) if now > since else 0.0
        reason = f"the server writes {sized(rate)} of WAL a second (limit {sized(self.limit)})"
        return Reading(rate / self.limit, reason)


@attrs.frozen
class ArchiveBacklog:
    """The WAL that waits to be archived: counted where the role may look, else told by the latest segment."""

    name: ClassVar[str] = "archive_backlog"
    limit: float

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at what waits."""
        row = await connection.fetchrow(SQL["archiver"], timeout=PATIENCE)
        if row is None or not row["active"]:
            return Reading()
        if row["exact"]:
            backlog = row["segment"] * await connection.fetchval(SQL["ready"], timeout=PATIENCE)
        else:
            backlog = unarchived(
                row["position"], row["segment"], row["last_archived_wal"], row["last_failed_wal"]
            )
        reason = f"{sized(backlog)} of WAL wait to be archived (limit {sized(self.limit)})"
        return Reading(backlog / self.limit, reason)


def unarchived(position: float, segment: int, archived: str | None, failed: str | None) -> float:
    """Bytes from the end of the latest archived segment, or from the first that failed, to `position`."""
    if found := _SEGMENT.match(archived or ""):
        after = 1
    elif found := _SEGMENT.match(failed or ""):
        after = 0
    else:
        return 0.0
    log, part = (int(digits, 16) for digits in found.groups())
    return max(0.0, position - ((log << 32) + (part + after) * segment))

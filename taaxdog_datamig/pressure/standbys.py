"""Standbys: how far their replay is behind, and what slots make the server keep for them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from taaxdog_datamig.pressure.model import PATIENCE, SQL, Reading, monitor_needed, sized

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asyncpg.pool import PoolConnectionProxy

#: A standby that has not answered for so long is as far behind as that: its lag is of its last answer, which
#: comes every wal_receiver_status_interval (10 s), and sooner whenever WAL arrives. Seconds.
_SILENCE: Final = 30.0


@attrs.define
class ReplicationLag:
    """The standby whose replay is the farthest behind."""

    name: ClassVar[str] = "replication_lag"
    limit: float
    ignored: tuple[str, ...] = ()
    clock: Callable[[], float] = time.monotonic
    #: When each standby's latest answer was first seen; by our clock, since theirs may differ.
    _heard: dict[int, tuple[datetime, float]] = attrs.field(factory=dict)

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at all standbys."""
        rows = await connection.fetch(SQL["standbys"], timeout=PATIENCE)
        now, heard = self.clock(), self._heard
        self._heard = {}
        worst = Reading()
        for row in rows:
            if row["name"] in self.ignored:
                continue
            if row["state"] is None:
                raise monitor_needed("how far its standbys are")
            answer, since = heard.get(row["pid"], (None, now))
            if answer != row["reply_time"]:
                since = now
            self._heard[row["pid"]] = row["reply_time"], since
            lag = max(row["lag"], now - since if now - since > _SILENCE else 0.0)
            if lag / self.limit > worst.level:
                reason = f"standby {row['name']} is {lag:.1f} s behind (limit {self.limit:g} s)"
                worst = Reading(lag / self.limit, reason)
        return worst


@attrs.frozen
class SlotWal:
    """The replication slot that keeps the most WAL, whether somebody reads from it or not."""

    name: ClassVar[str] = "slot_wal"
    limit: float

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at all slots."""
        row = await connection.fetchrow(SQL["slots"], timeout=PATIENCE)
        if row is None:
            return Reading()
        kept = sized(row["kept"])
        reason = f"replication slot {row['name']} keeps {kept} of WAL (limit {sized(self.limit)})"
        return Reading(row["kept"] / self.limit, reason)

"""Other sessions: those that wait behind us, those at work, those that hold old snapshots, and vacuum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from taaxdog_datamig.pressure.model import PATIENCE, SQL, Reading, Unreadable, monitor_needed

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

#: A transaction that grows older than this during a run is worth a word; the plan warns of its own. Seconds.
OLD_TRANSACTION: Final = 300.0


@attrs.frozen
class LockWaits:
    """The session of somebody else that has waited the longest for a lock of ours."""

    name: ClassVar[str] = "lock_wait"
    limit: float

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at who waits."""
        row = await connection.fetchrow(SQL["lock_waits"], timeout=PATIENCE)
        if row is None:
            return Reading()
        waited = f"{row['seconds']:.1f} s (limit {self.limit:g} s)"
        return Reading(
            row["seconds"] / self.limit, f"backend {row['pid']} has waited for a lock of ours for {waited}"
        )


@attrs.frozen
class TableMaintenance:
    """Whether one of our tables is vacuumed, analysed, or gets an index."""

    name: ClassVar[str] = "vacuum"
    relations: tuple[str, ...]

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at our tables and their partitions."""
        name = await connection.fetchval(SQL["maintained"], list(self.relations), timeout=PATIENCE)
        return Reading() if name is None else Reading(1.0, f"vacuum, or something like it, works on {name}")


@attrs.frozen
class ActiveSessions:
    """How many sessions of others are at work, on the whole server."""

    name: ClassVar[str] = "active_sessions"
    limit: float

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Count them."""
        row = await connection.fetchrow(SQL["active_sessions"], timeout=PATIENCE)
        assert row is not None
        if row["hidden"]:
            raise monitor_needed("what other sessions do")
        if row["untracked"]:
            raise Unreadable("sessions are not tracked", "SET track_activities = on")
        reason = f"{row['active']} other sessions are at work (limit {self.limit:g})"
        # As many as are allowed are not over the limit.
        return Reading(row["active"] / (self.limit + 1), reason)


@attrs.frozen
class XminAge:
    """The oldest transaction that keeps dead rows from being removed.

    Without a limit it is a warning: the run is slower and the table grows, which may be nobody's concern.
    """

    name: ClassVar[str] = "xmin_age"
    limit: float | None
    worth_a_word: float = OLD_TRANSACTION

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at the oldest."""
        row = await connection.fetchrow(SQL["oldest_transaction"], timeout=PATIENCE)
        if row is None:
            return Reading()
        if row["hidden"]:
            if self.limit is None:
                return Reading()
            raise monitor_needed("how old other transactions are")
        warning = ""
        if row["seconds"] > self.worth_a_word:
            warning = (
                f"{row['what']} has been open for over {self.worth_a_word:g} s: dead rows cannot be pruned"
                " while it lasts, so the table grows more and the run is slower"
            )
        if self.limit is None:
            return Reading(warning=warning)
        age = f"is {row['seconds']:.0f} s old (limit {self.limit:g} s) and keeps dead rows from being removed"
        return Reading(row["seconds"] / self.limit, f"{row['what']} {age}", warning)

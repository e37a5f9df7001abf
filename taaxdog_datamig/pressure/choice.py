"""Which signals a run looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taaxdog_datamig.pressure.commits import CommitClock, CommitLatency
from taaxdog_datamig.pressure.own import FlagFile, Query, function_of
from taaxdog_datamig.pressure.sessions import ActiveSessions, LockWaits, TableMaintenance, XminAge
from taaxdog_datamig.pressure.standbys import ReplicationLag, SlotWal
from taaxdog_datamig.pressure.wal import ArchiveBacklog, WalRate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from taaxdog_datamig.limits import Limits
    from taaxdog_datamig.pressure.model import Signal


def signals_of(limits: Limits, relations: Sequence[str], commits: CommitClock) -> list[Signal]:
    """The signals that have a limit, the cheapest to read first.

    Args:
        limits: what there is.
        relations: the run's tables, quoted.
        commits: times the run's signs of life.

    Raises:
        SettingsError: the user's function is not there.
    """
    makers: dict[str, Callable[[Any], Signal]] = {
        "flag_file": FlagFile,
        "commit_latency": lambda limit: CommitLatency(limit, commits),
        "function": function_of,
        "lock_wait": LockWaits,
        "replication_lag": lambda limit: ReplicationLag(limit, limits.ignored_standbys),
        "slot_wal": SlotWal,
        "wal_rate": WalRate,
        "archive_backlog": ArchiveBacklog,
        "active_sessions": ActiveSessions,
        "vacuum": lambda _: TableMaintenance(tuple(relations)),
        "sql": Query,
    }
    given = {name: getattr(limits, name) for name in makers}
    chosen = [makers[name](limit) for name, limit in given.items() if limit not in {None, False}]
    return [*chosen, XminAge(limits.xmin_age)]

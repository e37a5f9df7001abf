"""optimize-database: vacuum and analyse what needs it, and rebuild bloated indexes on request.

Never VACUUM FULL: it locks everybody out for as long as it takes to write the table anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.migration import Argument, MaintenanceMigration, MaintenanceTask
from taaxdog_datamig.migration.maintenance import Action
from taaxdog_datamig.pg.condition import Condition, Measure, index_conditions, table_conditions

#: Dead or changed rows that call for a vacuum or new statistics: so many, and this share of the table.
#: Autovacuum waits for 50 and 20% (autovacuum_vacuum_threshold and _scale_factor), or 10% for statistics
#: (autovacuum_analyze_scale_factor); who asks for it by hand wants it sooner.
LEAST_ROWS = 50
SHARE = 0.05
#: The same floor for the ledger's tables, to which each run writes, this one too.
LEAST_LEDGER_ROWS = 1000
#: Below this share of all-visible pages a vacuum helps index-only scans, in tables of so many pages (256 kB).
VISIBLE_SHARE = 0.75
VISIBLE_PAGES = 32
#: Half way to the vacuum that the server forces against wraparound (autovacuum_freeze_max_age).
FREEZE_SHARE = 0.5
#: Seconds after which statistics of a partitioned table are old: autovacuum never makes those.
STATISTICS_AGE = 7 * 86_400
#: A bloated index has at least this share of air and this many bytes of it. Random inserts settle at pages
#: 69% full (ln 2; Yao, "On random 2-3 trees", 1978), which is 23% above a fresh build's 90% and no bloat yet.
BLOAT_SHARE = 0.4
BLOAT_BYTES = 1 << 20

_PAGE = 8192
_LEDGER = "datamig"


class OptimizeDatabase(MaintenanceMigration):
    """Vacuums and analyses by need."""

    name: ClassVar[str] = "optimize-database"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Vacuum and analyse tables that need it; rebuild bloated indexes on request"
    category: ClassVar[str] = "cleanup"
    after: ClassVar[tuple[str, ...]] = (
        "cleanup-orphaned",
        "cleanup-audit-logs",
        "cleanup-orphaned-data",
        "cleanup-sessions",
        "cleanup-payments",
        "cleanup-soft-deleted",
        "merge-duplicates",
        "encrypt-user-data",
    )
    arguments: ClassVar[Mapping[str, Argument]] = {
        "reindex": Argument(
            help="Rebuild bloated indexes, too (REINDEX CONCURRENTLY).", default="no", choices=("no", "yes")
        ),
        "tables": Argument(help="Only these tables, separated by commas.", default=""),
    }

    async def tasks(self) -> Sequence[MaintenanceTask]:
        """A task for each table, and with `reindex=yes` one for each bloated index.

        Raises:
            UsageError: `tables` names one that is not there.
        """
        async with self.context.db.acquire() as connection:
            tables = await table_conditions(connection)
            indexes = await index_conditions(connection) if self.context.arguments["reindex"] == "yes" else []
        if wanted := self._wanted(tables):
            tables = [table for table in tables if table.label in wanted]
            indexes = [index for index in indexes if index.table in wanted]
        tasks = [_task(table, *_need(table)) for table in tables]
        tasks += [_task(index, "reindex", reason) for index in indexes if (reason := _bloat(index.measure))]
        return tasks

    def _wanted(self, tables: Sequence[Condition]) -> set[str]:
        """Labels of the tables that the argument names; empty for all."""
        wanted = set()
        for name in filter(None, map(str.strip, self.context.arguments["tables"].split(","))):
            found = {table.label for table in tables if name in {table.label, table.name}}
            if not found:
                raise UsageError(f"tables={name}: there is no such table", "Give NAME or SCHEMA.NAME")
            wanted |= found
        return wanted


def _task(subject: Condition, action: Action, reason: str) -> MaintenanceTask:
    obstacle = "" if subject.may_maintain else "the role neither owns it nor may maintain it"
    return MaintenanceTask(subject=subject, action=action, reason=reason, obstacle=obstacle)


def _need(table: Condition) -> tuple[Action, str]:
    """What a table needs and why; the reason is empty when it needs nothing."""
    measure = table.measure
    if table.kind == "p":
        return "analyze", _stale(table) or _aged(measure)
    vacuum = _unvacuumed(table)
    if measure.freeze_share >= FREEZE_SHARE:
        share = f"{measure.freeze_share:.0%} of the way to a forced vacuum against wraparound"
        return "freeze", "; ".join(filter(None, (share, vacuum)))
    stale = _stale(table)
    if stale and not vacuum:
        return "analyze", stale
    return "vacuum", "; ".join(filter(None, (vacuum, stale)))


def _threshold(table: Condition) -> float:
    return (LEAST_LEDGER_ROWS if table.schema == _LEDGER else LEAST_ROWS) + SHARE * table.measure.rows


def _unvacuumed(table: Condition) -> str:
    measure = table.measure
    if measure.dead_rows > _threshold(table):
        return f"{measure.dead_rows:,} dead rows beside {measure.rows:,}"
    visible, pages = measure.all_visible, measure.bytes // _PAGE
    if visible is not None and visible < VISIBLE_SHARE and pages >= VISIBLE_PAGES:
        return f"{visible:.0%} of its pages are all-visible"
    return ""


def _stale(table: Condition) -> str:
    measure = table.measure
    if measure.changed_rows > _threshold(table):
        return f"{measure.changed_rows:,} rows changed since its statistics were made"
    if measure.statistics_age is None and measure.bytes and table.schema != _LEDGER:
        return "no statistics since the server counts"
    return ""


def _aged(measure: Measure) -> str:
    if measure.bytes and (measure.statistics_age or 0) > STATISTICS_AGE:
        return f"statistics are {(measure.statistics_age or 0) / 86_400:.0f} days old"
    return ""


def _bloat(measure: Measure) -> str:
    bloat = measure.bloat_bytes or 0
    if bloat < max(BLOAT_BYTES, BLOAT_SHARE * measure.bytes):
        return ""
    return f"about {bloat / measure.bytes:.0%} of {measure.bytes / 1e6:,.1f} MB is bloat"

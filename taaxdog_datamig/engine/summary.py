"""The report of a run, from the ledger's counters."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import asyncpg

from taaxdog_datamig.engine.reports import Plan, RunReport, TableReport

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job


async def wal_position(connection: PoolConnectionProxy[Any]) -> int | None:
    """Bytes of WAL written since the server began; None where the role may not ask."""
    try:
        value: int = await connection.fetchval("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")
    except asyncpg.PostgresError:
        return None
    return value


async def summarise(
    connection: PoolConnectionProxy[Any],
    job: Job,
    plan: Plan,
    started_at: datetime,
    seconds: float,
    position: int | None,
) -> RunReport:
    """What the run did, over all processes that worked on it; rate and WAL are this process's alone."""
    totals = await job.ledger.work.totals(connection, job.run_id)
    quarantined = await job.ledger.work.quarantine_by_table(connection, job.run_id)
    tables = [_table(shape.table, totals.get(i, {}), quarantined) for i, shape in enumerate(job.shapes)]
    changed = sum(table.changed_rows for table in tables)
    deleted = Counter(job.deleted)
    for part in await job.ledger.work.archive_parts(connection, job.run_id):
        deleted.update(part.rows)
    here = sum(counters.changed for counters in job.counters.values())
    hot = sum(total.get("hot", 0) for total in totals.values())
    now = await wal_position(connection)
    refused = sum(table.quarantined_rows for table in tables)
    return RunReport(
        run_id=None if job.dry_run else str(job.run_id),
        migration=plan.migration,
        version=plan.version,
        status="succeeded",
        dry_run=job.dry_run,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        estimated_rows=plan.pending_rows,
        changed_rows=changed,
        skipped_rows=sum(table.skipped_rows for table in tables),
        quarantined_rows=refused,
        left_rows=sum(table.left_rows for table in tables),
        deleted_rows=dict(deleted),
        conflicts=sum(table.conflicts for table in tables),
        chunks=sum(table.chunks for table in tables),
        backup_id=job.backup_id,
        rows_per_second=round(here / seconds, 1) if seconds > 0 else 0.0,
        hot_ratio=None if job.dry_run or not changed else round(hot / changed, 3),
        wal_bytes=now - position if now is not None and position is not None else 0,
        warnings=plan.warnings + tuple(job.warnings) + _over_budget(job, refused),
        tables=tuple(tables),
        preview=tuple(job.preview.rows),
        columns={table: dict(counts) for table, counts in job.preview.columns.items() if counts},
        ddl=tuple(statement for table in plan.tables for statement in table.ddl) if job.dry_run else (),
    )


def _table(name: str, total: dict[str, int], listed: dict[str, tuple[int, int]]) -> TableReport:
    # A table may have several targets; its list is told once.
    quarantined, left = listed.pop(name, (0, 0))
    return TableReport(
        table=name,
        changed_rows=total.get("changed", 0),
        skipped_rows=total.get("skipped", 0),
        quarantined_rows=quarantined,
        left_rows=left,
        conflicts=total.get("conflicts", 0),
        chunks=total.get("chunks", 0),
    )


def _over_budget(job: Job, refused: int) -> tuple[str, ...]:
    if not job.dry_run or refused <= job.options.max_quarantine:
        return ()
    warning = (
        f"{refused:,} rows would be refused: a live run fails and is rolled back unless --max-quarantine "
        f"is at least {refused}"
    )
    return (warning,)

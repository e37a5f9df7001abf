"""Executes a run: looks at what is to be inspected, changes what is pending, and sweeps until nothing is.

Sweep 0 only inspects, before the first change: later it would meet the run's own rows again, which move
to other pages as they change. Sweep 1 takes every window; those after it, the windows with rows left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Mode, persistently
from taaxdog_datamig.engine.executors import executor_named
from taaxdog_datamig.engine.fence import fence
from taaxdog_datamig.engine.reader import batches
from taaxdog_datamig.engine.writer import ChunkWriter
from taaxdog_datamig.errors import RunPaused
from taaxdog_datamig.events import SweepStarted, TableStarted
from taaxdog_datamig.ledger import outside_quarantine
from taaxdog_datamig.pg.catalog import leaves
from taaxdog_datamig.planning import WINDOW_BLOCKS, ReadSize, Window, chunks, waves, windows

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Claim

#: Closing sweeps before we say that the application writes faster than we can end. Each sweep finds only
#: what was written while the one before it ran.
MAX_SWEEPS = 40
#: Sweeps after which the last rows are taken under a lock, where that is short.
PATIENT_SWEEPS = 4
INSPECTION = 0


async def execute(job: Job, pending: dict[str, int]) -> int:
    """Change every pending row.

    Returns the rows that the predicate still finds and the migration says need nothing.

    Args:
        job: the run.
        pending: rows expected by logical table, for progress.

    Raises:
        RunPaused: the application keeps writing rows that need the migration.
        And what `ChunkWriter.write` raises.
    """
    async with job.connect() as connection:
        sweep = await job.ledger.work.sweep(connection, job.run_id)
        if sweep is None:
            sweep = INSPECTION
            for first in (INSPECTION, INSPECTION + 1):
                found = await _all_windows(job, connection, inspected=first == INSPECTION)
                await job.ledger.work.add_windows(connection, job.run_id, first, found)
        else:
            # Of the two that were planned together the first may be unfinished; else this finds nothing.
            sweep = INSPECTION if sweep == INSPECTION + 1 else sweep
    failpoints.hit("after-windows")
    for target in job.targets:
        job.events.emit(TableStarted(table=target.shape.table, rows=pending.get(target.shape.table, 0)))
    while True:
        await _run_windows(job, sweep)
        failpoints.hit("after-sweep")
        if sweep == INSPECTION:
            sweep += 1
            continue
        if job.dry_run:
            return 0
        left, rows = await still_pending(job)
        if not left or (sweep > INSPECTION + 1 and await _progress(job, sweep) == 0):
            return rows
        if sweep >= PATIENT_SWEEPS and await fence(job, left, rows):
            return 0
        if sweep >= MAX_SWEEPS:
            raise RunPaused(
                f"after {sweep} closing sweeps {rows:,} rows are pending again: the application writes them",
                f"Deploy the version that writes sealed values, then `datamig resume {job.run_id}`",
            )
        sweep += 1
        job.events.emit(SweepStarted(table=left[0][1].relation, sweep=sweep, rows=rows))
        async with job.connect() as connection:
            await job.ledger.work.add_windows(connection, job.run_id, sweep, left)


async def _all_windows(
    job: Job, connection: PoolConnectionProxy[Any], *, inspected: bool
) -> list[tuple[int, Window]]:
    found: list[tuple[int, Window]] = []
    for number, target in enumerate(job.targets):
        if inspected and target.inspect is None:
            continue
        for leaf in await leaves(connection, target.table.relation.oid):
            found += [(number, window) for window in windows(leaf.relation, leaf.pages)]
    return found


async def _run_windows(job: Job, sweep: int) -> None:
    size = {number: ReadSize() for number in range(len(job.targets))}

    async def worker() -> None:
        while (claim := await _claim(job, sweep)) is not None:
            failpoints.hit("after-claim")
            await _work(job, sweep, claim, size[claim.target])
            failpoints.hit("after-window")

    await executor_named(job.options.executor).run(worker, 1 if job.dry_run else job.options.workers)


async def _claim(job: Job, sweep: int) -> Claim | None:
    claim: Claim | None = None

    async def once(_: Mode) -> None:
        nonlocal claim
        async with job.connect() as connection:
            claim = await job.ledger.work.claim(connection, job.run_id, sweep, job.epoch)

    await persistently(job, "claiming a window", once, skip=False)
    return claim


async def _work(job: Job, sweep: int, claim: Claim, size: ReadSize) -> None:
    """Everything that is to be done in one window."""
    writer = ChunkWriter(job=job, target=claim.target, sweep=sweep)
    skipped = 0
    async for batch in batches(job, claim.target, claim.window, sweep, size):
        skipped += batch.skipped
        job.count(claim.target).skipped += batch.skipped
        refusals = batch.refusals
        for wave in waves(batch.tids):
            start = 0
            while start < len(wave):
                # The chunk size may have changed since the last one.
                part = next(iter(chunks(wave[start:], job.size.rows)))
                await writer.write(claim.window.relation, [batch.items[i] for i in part], refusals)
                start += len(part)
                refusals = []
        if refusals:
            await writer.write(claim.window.relation, [], refusals)

    async def done(_: Mode) -> None:
        async with job.connect() as connection:
            await job.ledger.work.window_done(connection, job.run_id, sweep, claim, job.epoch, skipped)

    await persistently(job, "recording a window", done, skip=False)


async def still_pending(job: Job) -> tuple[list[tuple[int, Window]], int]:
    """Windows that still hold pending rows outside quarantine, and how many rows."""
    found: list[tuple[int, Window]] = []
    rows = 0

    async def once(_: Mode) -> None:
        nonlocal rows
        found.clear()
        rows = 0
        async with job.connect() as connection:
            for number, target in enumerate(job.targets):
                for leaf in await leaves(connection, target.table.relation.oid):
                    free = outside_quarantine(target.shape, job.ledger.schema, "$1", "$2")
                    query = (
                        f"SELECT (t.ctid::text::point)[0]::bigint / {WINDOW_BLOCKS} AS number,"
                        f" count(*) AS rows FROM ONLY {leaf.relation} AS t"
                        f" WHERE ({target.pending}) AND {free} GROUP BY 1 ORDER BY 1"
                    )
                    for row in await connection.fetch(query, job.run_id, leaf.relation):
                        start = row["number"] * WINDOW_BLOCKS
                        found.append((number, Window(leaf.relation, start, start + WINDOW_BLOCKS)))
                        rows += row["rows"]

    await persistently(job, "looking for rows that are still pending", once, skip=False)
    return found, rows


async def _progress(job: Job, sweep: int) -> int:
    async with job.connect() as connection:
        return await job.ledger.work.sweep_progress(connection, job.run_id, sweep)

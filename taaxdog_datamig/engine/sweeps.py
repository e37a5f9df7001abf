"""Executes a run: looks at what is to be inspected, changes what is pending, and sweeps until nothing is.

Sweep 0 only inspects, before the first change: later it would meet the run's own rows again, which move
to other pages as they change. Sweep 1 takes every window; those after it, the windows with rows left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.collecting import rare_collections
from taaxdog_datamig.engine.executors import executor_named
from taaxdog_datamig.engine.fence import fence
from taaxdog_datamig.engine.gate import Seats
from taaxdog_datamig.engine.inspected import recall, unless_seen, wanted
from taaxdog_datamig.engine.merging import count_duplicates, merge_window, merge_windows, whole
from taaxdog_datamig.engine.purge import purge_window
from taaxdog_datamig.engine.reader import batches
from taaxdog_datamig.engine.turns import Worker
from taaxdog_datamig.engine.writer import ChunkWriter
from taaxdog_datamig.errors import RunPaused
from taaxdog_datamig.events import SweepStarted, TableStarted
from taaxdog_datamig.ledger import outside_quarantine
from taaxdog_datamig.pg.catalog import fires_nothing, leaves
from taaxdog_datamig.pg.retry import Backoff
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.planning import WINDOW_BLOCKS, ReadSize, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Claim
    from taaxdog_datamig.migration import Target
    from taaxdog_datamig.pg.catalog import Leaf

Windows: TypeAlias = list[tuple[int, Window]]

#: Closing sweeps of one process before we say that the application writes faster than we can end. Each
#: sweep finds only what was written, or was locked, while the one before it ran.
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
    sweep = await _first_sweep(job)
    failpoints.hit("after-windows")
    closing, before, delays = 0, 0, Backoff().delays()
    for table in dict.fromkeys(target.shape.table for target in job.targets):
        job.events.emit(TableStarted(table=table, rows=pending.get(table, 0)))
    while True:
        with rare_collections():
            await _run_windows(job, sweep)
        failpoints.hit("after-sweep")
        if sweep == INSPECTION:
            sweep += 1
            continue
        if job.dry_run:
            return 0
        left, rows = await still_pending(job)
        if not left or await _need_nothing(job, left, rows):
            return rows
        if sweep >= PATIENT_SWEEPS and (skipped := await fence(job, left, rows)) is not None:
            return skipped
        if closing >= MAX_SWEEPS:
            raise RunPaused(
                f"after {closing} closing sweeps {rows:,} rows are pending again: the application writes them"
                " or keeps them locked",
                f"Deploy the version that writes migrated values, then `datamig resume {job.run_id}`",
            )
        if closing and rows >= before:
            await job.wait("the application writes or locks rows that are still pending", next(delays))
        closing, before = closing + 1, rows
        sweep += 1
        job.events.emit(SweepStarted(table=left[0][1].relation, sweep=sweep, rows=rows))

        async def add(
            connection: PoolConnectionProxy[Any],
            sweep: int = sweep,
            left: Sequence[tuple[int, Window]] = left,
        ) -> None:
            await job.ledger.work.add_windows(connection, job.run_id, sweep, left)

        await steadily(job, "recording windows", add)


async def _first_sweep(job: Job) -> int:
    """Where to begin: the sweep that a killed process was in, or the first, with its windows planned."""

    async def begun(connection: PoolConnectionProxy[Any]) -> int:
        sweep = await job.ledger.work.sweep(connection, job.run_id)
        heaps = await _heaps(job, connection)
        tables = [target.table.relation.oid for target in job.targets]
        alone = await fires_nothing(connection, [*tables, *(heap.oid for _, heap in heaps)])
        await recall(job, connection, heaps, alone=alone)
        if sweep is None:
            horizon = await job.ledger.work.horizon(connection)
            inspected, swept = await _windows(job, connection, heaps)
            # Together: a kill between the two would leave everything to the closing sweeps.
            async with transaction(connection):
                await job.ledger.work.add_windows(connection, job.run_id, INSPECTION, inspected)
                await job.ledger.work.add_windows(connection, job.run_id, INSPECTION + 1, swept)
                seen = [(number, heap.oid, job.judges[number]) for number, heap in heaps]
                await job.ledger.work.add_inspections(connection, job.run_id, seen, horizon, alone=alone)
            return INSPECTION
        # Of the two that were planned together the first may be unfinished; else this finds nothing.
        return INSPECTION if sweep == INSPECTION + 1 else sweep

    return await steadily(job, "planning windows", begun)


async def _heaps(job: Job, connection: PoolConnectionProxy[Any]) -> list[tuple[int, Leaf]]:
    """The heaps that are read window by window, each with its target's number."""
    return [
        (number, leaf)
        for number, target in enumerate(job.targets)
        if target.merge is None
        for leaf in await leaves(connection, target.table.relation.oid)
    ]


async def _windows(
    job: Job, connection: PoolConnectionProxy[Any], heaps: Sequence[tuple[int, Leaf]]
) -> tuple[Windows, Windows]:
    """The windows of the inspection, and those of the first sweep."""
    inspected: Windows = []
    swept: Windows = []
    for number, target in enumerate(job.targets):
        if target.merge is not None:
            rows = await count_duplicates(connection, target.merge)
            swept += [(number, window) for window in merge_windows(target, rows, job.workers)]
    for number, heap in heaps:
        for chosen, found in zip(
            (inspected, swept), await wanted(job, connection, number, heap), strict=True
        ):
            chosen += [(number, window) for window in found]
    return inspected, swept


async def _run_windows(job: Job, sweep: int) -> None:
    """Work on every window of a sweep.

    A target that looks at other tables begins when those before it are through: they may write what it sees.
    """
    ends = [number for number, target in enumerate(job.targets) if number and target.lookups]
    for below in (*ends, len(job.targets)):
        await _run_targets(job, sweep, below)


async def _run_targets(job: Job, sweep: int, below: int) -> None:
    """Work on the windows of the first `below` targets."""
    sizes = {number: ReadSize() for number in range(len(job.targets))}

    async def whole(claim: Claim) -> None:
        await _work(job, sweep, claim, sizes[claim.target])
        failpoints.hit("after-window")

    async def worker() -> None:
        with seats.taken() as seat:

            async def may_claim() -> bool:
                return await seats.may_claim(seat)

            if sweep != INSPECTION:
                await Worker(job, sweep, sizes, whole, may_claim, below).work()
            else:
                while await may_claim() and (claims := await _claim(job, sweep, below)):
                    failpoints.hit("after-claim")
                    await whole(claims[0])
        seats.end()

    async def reclaim(connection: PoolConnectionProxy[Any]) -> bool:
        return await job.ledger.work.reclaim(connection, job.run_id, sweep, job.epoch, below=below)

    while True:
        seats = Seats(job.gate.workers)
        await executor_named(job.options.executor).run(worker, job.workers)
        # A claim whose answer was lost on the way is nobody's, and was not worked on.
        if not await steadily(job, "looking for windows that were left out", reclaim):
            return


async def _claim(job: Job, sweep: int, below: int) -> list[Claim]:
    async def claim(connection: PoolConnectionProxy[Any]) -> list[Claim]:
        return await job.ledger.work.claim(connection, job.run_id, sweep, job.epoch, below=below)

    return await steadily(job, "claiming a window", claim)


async def _work(job: Job, sweep: int, claim: Claim, size: ReadSize) -> None:
    """Everything that is to be done in one window."""
    recorded = False
    while not recorded:
        outages, skipped = job.outages, 0
        if sweep == INSPECTION:
            skipped = await _inspect(job, sweep, claim, size)
        elif job.targets[claim.target].action == "delete":
            await purge_window(job, sweep, claim)
        else:
            await merge_window(job, sweep, claim)

        async def done(
            connection: PoolConnectionProxy[Any], outages: int = outages, skipped: int = skipped
        ) -> bool:
            # A server that crashed has lost chunks that it had not written to disk yet, and with them what
            # only this window's sweep would find: rows to be refused.
            if outages != job.outages:
                return False
            await job.ledger.work.windows_done(connection, job.run_id, sweep, job.epoch, [(claim, skipped)])
            return True

        recorded = await steadily(job, "recording a window", done)


async def _inspect(job: Job, sweep: int, claim: Claim, size: ReadSize) -> int:
    """Look at the window's rows until each that is to be changed is: no closing sweep would find it again.

    Raises:
        RunPaused: the application keeps writing or locking them.
    """
    delays = Backoff().delays()
    for _ in range(MAX_SWEEPS):
        conflicts = job.count(claim.target).conflicts
        skipped = await _look(job, sweep, claim, size)
        if job.count(claim.target).conflicts == conflicts:
            return skipped
        await job.wait("the application writes or locks rows that are looked at", next(delays))
    raise RunPaused(
        f"after {MAX_SWEEPS} looks at {claim.window.relation} rows are still written or locked",
        f"When the application is quieter, `datamig resume {job.run_id}` goes on",
    )


async def _look(job: Job, sweep: int, claim: Claim, size: ReadSize) -> int:
    """Look at the window's rows once; returns how many needed nothing."""
    writer = ChunkWriter(job=job, target=claim.target, sweep=sweep)
    skipped = 0
    async for batch in batches(job, claim.target, claim.window, sweep, size):
        skipped += batch.skipped
        job.count(claim.target).skipped += batch.skipped
        await writer.write_all(claim.window.relation, batch.items, batch.refusals)
    return skipped


async def still_pending(job: Job) -> tuple[list[tuple[int, Window]], int]:
    """Windows that still hold pending rows outside quarantine, and how many rows."""

    async def look(connection: PoolConnectionProxy[Any]) -> tuple[list[tuple[int, Window]], int]:
        found: list[tuple[int, Window]] = []
        rows = 0
        for number, target in enumerate(job.targets):
            if target.action == "merge":
                count = await _still_to_merge(connection, job, target)
                shares = merge_windows(target, count, job.workers) if count else []
                found += [(number, window) for window in shares]
                rows += count
                continue
            for leaf in await leaves(connection, target.table.relation.oid):
                free = outside_quarantine(target.shape, job.ledger.schema, "$1", "$2")
                seen = job.seen.get((number, leaf.relation))
                pending, arguments = unless_seen(f"({target.pending})", target, seen, 3)
                query = (
                    f"SELECT (t.ctid::text::point)[0]::bigint / {WINDOW_BLOCKS} AS number,"
                    f" count(*) AS rows FROM ONLY {leaf.relation} AS t"
                    f" WHERE {pending} AND {free} GROUP BY 1 ORDER BY 1"
                )
                for row in await connection.fetch(query, job.run_id, leaf.relation, *arguments):
                    start = row["number"] * WINDOW_BLOCKS
                    found.append((number, Window(leaf.relation, start, start + WINDOW_BLOCKS)))
                    rows += row["rows"]
        return found, rows

    return await steadily(job, "looking for rows that are still pending", look)


async def _still_to_merge(connection: PoolConnectionProxy[Any], job: Job, target: Target) -> int:
    relation = target.table.relation.quoted
    free = outside_quarantine(target.shape, job.ledger.schema, "$1", "$2")
    query = f"SELECT count(*) FROM {target.shape.source} AS t WHERE ({target.pending}) AND {free}"
    (row,) = await whole(connection, query, job.run_id, relation)
    return int(row[0])


async def _need_nothing(job: Job, left: list[tuple[int, Window]], rows: int) -> bool:
    """Whether the transform says of every row that is still pending that it needs nothing.

    The count must come out too: a row that the application updates moves, maybe to where we do not look.
    """
    judged = 0
    if any(job.targets[number].action != "update" for number, _ in left):
        return False
    for number, window in left:
        async for batch in batches(job, number, window, INSPECTION + 2, ReadSize()):
            if batch.items or batch.refusals:
                return False
            judged += batch.skipped
    return judged == rows

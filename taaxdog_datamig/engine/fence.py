"""Ends a run on a table that the application never stops writing to.

Each closing sweep finds the rows written while it looked. When few are left and looking is quick, the last
look is taken under a lock that lets readers through and makes writers wait: what it finds is changed in the
same transaction, so that at its commit nothing is pending. All of it stays within a chunk's time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import asyncpg

from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.purge import WindowPurge
from taaxdog_datamig.engine.reader import judge
from taaxdog_datamig.engine.writer import ChunkWriter
from taaxdog_datamig.events import Waiting
from taaxdog_datamig.ledger import outside_quarantine
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, Fault, classify, refused
from taaxdog_datamig.planning import Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Mode
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.writer import Written

#: Rows that may be changed under the lock.
FENCED_ROWS = 2000
#: Sweep number under which the chunks of all fences are recorded: after any other.
SWEEP = 1_000_000
#: Blocks a heap can have, so that a TID range covers it whole.
_BLOCKS = 2**32 - 1


async def fence(job: Job, left: Sequence[tuple[int, Window]], rows: int) -> int | None:
    """Change the last rows under a lock.

    Args:
        job: the run.
        left: windows with pending rows, each with its target's number.
        rows: how many rows were found pending.

    Returns:
        How many rows the predicate still finds although the migration says they need nothing. None when it
        would take too long, or somebody holds a lock on the table: then another sweep is due.
    """
    if rows > FENCED_ROWS:
        return None
    chosen = [job.targets[target] for target, _ in left]
    if any(target.slow or target.action == "merge" for target in chosen):
        return None
    heaps = dict.fromkeys((target, window.relation) for target, window in left)
    skipped = [await _fence_heap(job, target, relation) for target, relation in heaps]
    return None if None in skipped else sum(count or 0 for count in skipped)


async def _fence_heap(job: Job, number: int, relation: str) -> int | None:
    target, limit = job.targets[number], job.db.settings.chunk_seconds
    writer = ChunkWriter(job=job, target=number, sweep=SWEEP)
    ledger = job.ledger.schema
    free = outside_quarantine(target.shape, ledger, "$4", "$5")
    query = target.shape.at(relation).window_sql(f"({target.pending}) AND {free}", target.lookups.values())
    arguments = ((0, 0), (_BLOCKS, 0), FENCED_ROWS + 1, job.run_id, relation)
    skipped: int | None = None

    async def look(connection: PoolConnectionProxy[Any]) -> list[asyncpg.Record]:
        return await connection.fetch(query, *arguments)

    async def work(connection: PoolConnectionProxy[Any], mode: Mode) -> Written:
        nonlocal skipped
        await connection.execute(
            f"LOCK TABLE ONLY {relation} IN SHARE ROW EXCLUSIVE MODE;"
            f"SET LOCAL statement_timeout = '{limit * 1000:.0f}ms'"
        )
        if target.action == "delete":
            purge = WindowPurge(job, number, SWEEP, Window(relation, 0, _BLOCKS))
            written, complete = await purge.last_rows(connection, FENCED_ROWS, mode)
            skipped = 0 if complete else None
            return written
        records = await look(connection)
        batch = judge(target, records[:FENCED_ROWS])
        skipped = batch.skipped if len(records) <= FENCED_ROWS else None
        return await writer.update(connection, relation, batch.items, batch.refusals, mode)

    began = time.monotonic()
    await steadily(job, "looking for the last rows", look)
    if time.monotonic() - began > limit / 2:
        return None
    try:
        await writer.commit_at_once(relation, work)
    except DRIVER_ERRORS as error:
        if classify(error) is Fault.FATAL:
            raise refused(error, f"changing the last rows of {relation}") from None
        job.events.emit(Waiting(reason="the application holds locks on the table", seconds=0))
        return None
    return skipped

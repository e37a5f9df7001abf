"""Signs of life: while a process works on a run it renews the run's lease; without that, others take over.

The lease only decides who *should* work. That nobody else *can* is the fencing token's business: each chunk
locks it inside its own transaction (`Runs.guard`).
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import anyio

from taaxdog_datamig.engine.summary import wal_position
from taaxdog_datamig.errors import LeaseLost
from taaxdog_datamig.events import WalRead
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, Fault, classify, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from taaxdog_datamig.engine.job import Job


@contextlib.asynccontextmanager
async def held(job: Job) -> AsyncIterator[None]:
    """Keep the lease for the time of the block.

    Raises:
        LeaseLost: another process took the run over; the block is cancelled.
        RunPaused, RunCancelled: somebody asked for it, and no chunk was written that would have seen it.
    """
    if job.dry_run:  # its ledger is nobody else's
        yield
        return
    with only_error():
        async with anyio.create_task_group() as group:
            group.start_soon(_renew, job)
            yield
            group.cancel_scope.cancel()


async def _renew(job: Job) -> None:
    seconds = job.db.settings.lease_seconds
    renewed = time.monotonic()
    asked: str | None = None
    while True:
        try:
            # One session for all: its end tells others at once that this process is gone.
            async with job.db.acquire() as connection:
                while True:
                    with job.gate.commits.timed():
                        row = await job.ledger.runs.heartbeat(
                            connection,
                            job.run_id,
                            job.epoch,
                            seconds,
                            job.waiting,
                            None if job.gate.working is None else (job.gate.working, job.gate.workers.most),
                            pooled=job.db.pooled,
                        )
                    if row is None:
                        raise LeaseLost(f"run {job.run_id} was taken over by another process")
                    renewed = time.monotonic()
                    if (position := await wal_position(connection)) is not None:
                        job.events.emit(WalRead(position=position))
                    # A chunk heeds requests itself. Seen twice, nothing is at work that would: a backup, a
                    # scan of what is done already, the proof.
                    if asked is not None and row["control"] == asked:
                        job.heed(asked)
                    asked = row["control"]
                    await anyio.sleep(min(1.0, seconds / 3))
        except DRIVER_ERRORS as error:
            if classify(error) in {Fault.DATA, Fault.FATAL}:
                raise refused(error, "renewing the lease") from None
            # The chunks have their own patience with a server that is away; a lease that nobody
            # took meanwhile is simply renewed.
            await anyio.sleep(0.5 if time.monotonic() - renewed < seconds else 2.0)

"""What becomes of a run that does not succeed: paused, failed, or rolled back; and rollback on request."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Literal

import anyio
import asyncpg
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.crypto import BlobSealer
from taaxdog_datamig.engine import control
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.gate import room
from taaxdog_datamig.engine.job import Job
from taaxdog_datamig.engine.lease import held
from taaxdog_datamig.engine.preflight import check_server
from taaxdog_datamig.engine.reports import RollbackReport, RunOptions
from taaxdog_datamig.engine.rollback import Restored, restore_chunks, restore_definitions
from taaxdog_datamig.engine.start import (
    await_session_end,
    open_data_key,
    refuse_alive,
    refuse_others,
    stored_targets,
)
from taaxdog_datamig.errors import DatamigError, LeaseLost, RefusedError
from taaxdog_datamig.events import Warned
from taaxdog_datamig.ledger import Ledger, actor
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, sqlstate
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.throttle import ChunkSize

if TYPE_CHECKING:
    import uuid

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.engine.rollback import Restore
    from taaxdog_datamig.engine.start import Started
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.pg.database import Database

#: Keys listed in a report; the ledger has them all.
LISTED = 10_000
#: Longest time spent on giving a lease back, seconds.
_LETTING_GO = 3.0


async def pause_run(job: Job, reason: str, *, unless_untouched: bool = False) -> str:
    """Leave the run resumable, and give its lease back.

    Args:
        job: the run.
        reason: kept in the history.
        unless_untouched: mark it failed instead, when it has changed nothing.

    Returns:
        The status it has now: "paused" or "failed".
    """
    status = "paused"
    try:
        async with job.db.acquire() as connection, transaction(connection):
            if await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
                return status  # somebody else's by now
            if unless_untouched:
                (record,) = await job.ledger.runs.find(connection, run_id=job.run_id)
                if not record["changed"] and not record["ddl_done"]:
                    status = "failed"
            await job.ledger.runs.set_status(connection, job.run_id, status, reason)
            await job.ledger.audit.append(connection, f"run-{status}", job.run_id, {"reason": reason})
            await job.ledger.runs.release(connection, job.run_id, job.epoch)
        job.tell(status)
    except DRIVER_ERRORS as error:
        # The reason to pause is what the caller must hear of. The run stays `running`, held by nobody once
        # our session has ended, and is taken up all the same.
        job.events.emit(Warned(message=f"the run could not be marked as paused ({sqlstate(error)})"))
    return status


async def settle_failure(started: Started, error: Exception) -> None:
    """Roll a failed run back, and keep its error. When even that fails, the rollback can be continued."""
    job = started.job
    reason = str(error) if isinstance(error, DatamigError) else f"unexpected {type(error).__name__}"

    async def give_up(connection: PoolConnectionProxy[Any]) -> int:
        async with transaction(connection):
            # A worker that its executor has lost sight of must not write behind the rollback's back.
            epoch = await job.ledger.runs.fence(connection, job.run_id, job.epoch)
            if epoch is None:
                if await job.ledger.runs.is_fenced(connection, job.run_id, job.epoch):
                    return job.epoch + 1  # by an earlier try, whose answer was lost
                raise LeaseLost(f"run {job.run_id} was taken over by another process")
            await job.ledger.runs.set_status(connection, job.run_id, "rolling_back", reason)
            await job.ledger.audit.append(connection, "run-failed", job.run_id, {"reason": reason})
            return epoch

    job.epoch = await steadily(job, "recording a failure", give_up)
    job.tell("rolling_back")
    try:
        async with held(job):
            await _roll_back(job, started.ddl, reason, started.restore)
    except BaseException:
        await let_go(job)
        raise


async def let_go(job: Job) -> None:
    """Give the lease back where the server lets us: in a process that lives on, nobody need wait for its end.

    Shielded and short: it is called on the way out.
    """
    with (
        anyio.move_on_after(_LETTING_GO, shield=True),
        contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError),
    ):
        async with job.db.acquire() as connection:
            await job.ledger.runs.release(connection, job.run_id, job.epoch)


async def undo(
    db: Database,
    ref: str,
    events: EventBus,
    keyring: Keyring | None,
    *,
    dry_run: bool,
    restore: Restore | None = None,
) -> RollbackReport:
    """Undo a run from its before-images, or by `restore`; see `Runner.rollback`."""
    check_server(db)
    began = time.monotonic()
    ledger = Ledger.of()
    record = await control.find(db, ref)
    await await_session_end(db, events, record["migration"])
    record = await control.find(db, str(record["id"]))
    if record["tasks"]:
        raise RefusedError(
            f"run {record['id']} of {record['migration']} has nothing to roll back: it changed no row"
        )
    refuse_alive(record)
    if record["status"] == "rolled_back":
        raise RefusedError(
            f"run {record['id']} was rolled back at {record['completed_at']:%Y-%m-%d %H:%M:%S} UTC"
        )
    if other := await built_upon(db, ledger, record):
        raise RefusedError(
            f"run {other['id']} of {other['migration']} has changed the same tables since",
            f"Roll that one back first: `datamig rollback {other['id']}`",
        )
    data_key, sealed = open_data_key(record, keyring)
    shapes, ddl = stored_targets(record)
    epoch = 0
    if not dry_run:
        async with db.acquire() as connection, transaction(connection):
            await connection.execute("SET LOCAL lock_timeout = '10s'")
            await ledger.runs.lock(connection)
            (again,) = await ledger.runs.find(connection, run_id=record["id"])
            refuse_alive(again)
            await refuse_others(connection, ledger, record)
            await ledger.runs.reopen(connection, record["id"], "rolling_back")
            await ledger.audit.append(
                connection, "rollback-started", record["id"], {"actor": actor(db.server.role)}
            )
            epoch = await ledger.runs.take(
                connection, record["id"], db.settings.lease_seconds, pooled=db.pooled
            )
    job = Job(
        db=db,
        ledger=ledger,
        run_id=record["id"],
        epoch=epoch,
        shapes=tuple(shapes),
        options=RunOptions(dry_run=dry_run, workers=_workers(db, record)),
        events=events,
        sealer=BlobSealer(data_key if sealed else None),
        data_key=data_key,
        size=ChunkSize(target=db.settings.chunk_seconds),
        backup_id=record["backup_id"],
    )
    if dry_run:
        done = await (restore or restore_chunks)(job, dry_run=True)
    else:
        job.tell("rolling_back")
        try:
            async with held(job):
                done = await _roll_back(job, ddl if record["ddl_done"] else (), record["error"], restore)
        except BaseException:
            await let_go(job)
            raise
    return await _report(job, record, done, time.monotonic() - began, dry_run=dry_run)


def _workers(db: Database, record: asyncpg.Record) -> int | Literal["auto"] | None:
    """As many as the run was given, where this pool has the connections."""
    wanted: int | Literal["auto"] | None = orjson.loads(record["options"]).get("workers")
    return min(wanted, room(db)) if isinstance(wanted, int) else wanted


async def built_upon(db: Database, ledger: Ledger, record: asyncpg.Record) -> asyncpg.Record | None:
    """A later run that has changed the same tables: undoing them out of order would meet its values."""
    async with db.acquire() as connection:
        for other in await ledger.runs.find(connection, limit=1000):
            if other["started_at"] <= record["started_at"]:
                return None
            if (
                other["status"] not in {"rolled_back", "failed"}
                and other["changed"]
                and set(other["relations"]) & set(record["relations"])
            ):
                return other
    return None


async def _roll_back(
    job: Job, ddl: tuple[Any, ...], error: str | None, restore: Restore | None = None
) -> Restored:
    done = await (restore or restore_chunks)(job, dry_run=False)
    if ddl:

        async def changed(connection: PoolConnectionProxy[Any]) -> bool:
            (record,) = await job.ledger.runs.find(connection, run_id=job.run_id)
            return bool(record["ddl_done"])

        if await steadily(job, "looking at the run", changed):
            await restore_definitions(job, ddl, done)

    async def end(connection: PoolConnectionProxy[Any]) -> None:
        async with transaction(connection):
            await _guard(connection, job)
            (record,) = await job.ledger.runs.find(connection, run_id=job.run_id)
            if record["status"] == "rolled_back":
                return  # by an earlier try, whose answer was lost
            affected = record["changed"] - record["restored"]
            await job.ledger.runs.set_affected(connection, job.run_id, affected)
            await job.ledger.runs.set_status(connection, job.run_id, "rolled_back", error)
            entry = {"restored": record["restored"], "kept": record["kept"]}
            await job.ledger.audit.append(connection, "run-rolled-back", job.run_id, entry)
            await job.ledger.runs.release(connection, job.run_id, job.epoch)

    await steadily(job, "recording the rollback", end)
    job.tell("rolled_back")
    failpoints.hit("rollback-end")
    return done


async def _guard(connection: PoolConnectionProxy[Any], job: Job) -> None:
    if await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
        raise LeaseLost(f"run {job.run_id} was taken over by another process")


async def _report(
    job: Job, record: asyncpg.Record, done: Restored, seconds: float, *, dry_run: bool
) -> RollbackReport:
    keys = done.keys
    restored, kept = done.rows, done.kept
    run_id: uuid.UUID = record["id"]
    if not dry_run:
        # The ledger's figures also count what an interrupted rollback had done before.
        async def look(connection: PoolConnectionProxy[Any]) -> tuple[asyncpg.Record, list[asyncpg.Record]]:
            (now,) = await job.ledger.runs.find(connection, run_id=run_id)
            return now, await job.ledger.work.conflicts(connection, run_id, LISTED)

        now, conflicts = await steadily(job, "looking at the run", look)
        restored, kept, keys = now["restored"], now["kept"], {}
        for row in conflicts:
            keys.setdefault(row["tablename"], []).append(", ".join(row["key"]))
    return RollbackReport(
        run_id=str(run_id),
        migration=record["migration"],
        dry_run=dry_run,
        restored_rows=restored,
        conflicts=kept,
        conflict_keys=keys,
        chunks=done.chunks,
        seconds=seconds,
        warnings=tuple(done.warnings),
    )

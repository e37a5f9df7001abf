"""Drives a run that has begun: definitions, rows, proof, record; and settles how it ends when it fails."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.keeping import back_up, instead
from taaxdog_datamig.engine.lease import held
from taaxdog_datamig.engine.proof import prove
from taaxdog_datamig.engine.reader import place
from taaxdog_datamig.engine.steps import step
from taaxdog_datamig.engine.summary import summarise, wal_position
from taaxdog_datamig.engine.sweeps import execute
from taaxdog_datamig.engine.undo import let_go, pause_run, settle_failure
from taaxdog_datamig.engine.validating import preview, validate_after, validate_before, with_validation
from taaxdog_datamig.errors import (
    ArchiveError,
    BackupError,
    DatabaseUnavailable,
    DatamigError,
    LeaseLost,
    NotReversible,
    PreflightFailed,
    RefusedError,
    RunCancelled,
    RunError,
    RunPaused,
    ServerRefused,
)
from taaxdog_datamig.pg.ddl import alter
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.reports import Plan, RunReport, RunValidation
    from taaxdog_datamig.engine.start import Started
    from taaxdog_datamig.engine.validating import Before
    from taaxdog_datamig.ledger import ArchivePart

#: The steps of a run, live or dry.
Steps: TypeAlias = "Callable[[Started, Plan, datetime], Awaitable[RunReport]]"


async def drive(
    started: Started, plan: Plan, started_at: datetime, steps: Steps | None = None, *, keep: bool = False
) -> RunReport:
    """Work under the lease, and leave the run in a state that says what happened.

    Args:
        started: the run.
        plan: what it is to do.
        started_at: when it was asked for.
        steps: what the work is; `work` by default.
        keep: whatever happens, nothing is rolled back: the steps change no row.

    Raises:
        DatamigError: what went wrong; its message also says what became of the run.
    """
    job = started.job
    try:
        async with server_errors(f"running {plan.migration}"), held(job):
            return await (steps or work)(started, plan, started_at)
    except (LeaseLost, DatabaseUnavailable):
        await let_go(job)
        raise  # not ours to write any more, or no way to
    except RunPaused as error:
        await pause_run(job, error.what)
        raise
    except (anyio.get_cancelled_exc_class(), KeyboardInterrupt):
        with anyio.move_on_after(10, shield=True):
            await pause_run(job, "interrupted")
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must be left in order
        raise await _settle(started, error, keep=keep) from None


async def _settle(started: Started, error: Exception, *, keep: bool) -> DatamigError:
    """Pause the run or roll it back; returns the error with what was done."""
    job = started.job
    # The words of an error that is not ours may quote a row.
    told = error if isinstance(error, DatamigError) else RunError(f"unexpected: {place(error)}")
    # What the server refuses now it may take later, and a rollback would meet the same refusal. A folder
    # that takes no archive or backup now may have room later.
    later = isinstance(told, ServerRefused | RefusedError | ArchiveError | BackupError)
    if keep or job.options.on_failure == "pause" or later:
        over = isinstance(told, PreflightFailed | ArchiveError | BackupError)
        over = over or (keep and isinstance(told, RunCancelled))
        if await pause_run(job, str(told), unless_untouched=over) == "failed":
            outcome = "what was done stays" if keep else "nothing was changed"
        else:
            outcome = f"the run is paused: `datamig resume {job.run_id}` goes on"
    elif not started.reversible:
        paused = await pause_run(job, str(told), unless_untouched=True) == "paused"
        outcome = (
            f"it is not reversible: `datamig resume {job.run_id}` goes on. {instead(job.backup_id)}"
            if paused
            else "nothing was changed"
        )
    else:
        outcome = "what the run had changed was rolled back"
        try:
            await settle_failure(started, told)
        except NotReversible as refusal:
            outcome = f"it was not rolled back: {refusal.what}; `datamig resume {job.run_id}` goes on"
    return attrs.evolve(told, what=f"{told.what}; {outcome}")


async def work(started: Started, plan: Plan, started_at: datetime) -> RunReport:
    """The steps of a run, live or dry."""
    job, events = started.job, started.job.events
    async with step(events, "validate before"):
        before = await validate_before(started)
    await back_up(started, plan.migration)
    clock = time.monotonic()
    position = await steadily(job, "measuring the log", wal_position)
    async with step(events, "execute"):
        await _change_definitions(started)
        skipped = await execute(job, plan.pending_by_table())
        # Also when no chunk was left to be written: the budget holds for the run, not for this process.
        job.heed(None)
    async with step(events, "prove"):
        proof: dict[str, Any] = {}
        if not job.dry_run:
            proof = await steadily(
                job, "proving the result", lambda connection: prove(connection, job, skipped)
            )
    seconds = time.monotonic() - clock
    validation = await look_again(started, before)
    async with step(events, "record"):
        report = await steadily(
            job,
            "adding up",
            lambda connection: summarise(connection, job, plan, started_at, seconds, position),
        )
        report = attrs.evolve(
            report, proof=proof, resumed=started.resumed, estimated_rows=started.estimated_rows
        )
        report = with_validation(report, validation)
        archive = await finish_archive(
            job, migration=report.migration, version=report.version, at=report.finished_at
        )
        report = attrs.evolve(report, archive_id=archive)
        if not job.dry_run:
            await record_success(started, report)
    return report


async def look_again(started: Started, before: Before | None) -> RunValidation | None:
    """The step of validation after a run; after a dry run what was found before it."""
    if before is None:
        return None
    if started.job.dry_run:
        return preview(before)
    async with step(started.job.events, "validate after"):
        return await validate_after(started, before)


async def _change_definitions(started: Started) -> None:
    if not started.ddl or started.ddl_done:
        return
    job, settings = started.job, started.job.db.settings
    failpoints.hit("before-ddl")
    statements = [ddl.do for ddl in started.ddl]

    async def change(connection: PoolConnectionProxy[Any]) -> bool:
        async def mark() -> None:
            await job.ledger.runs.set_ddl_done(connection, job.run_id, done=True)

        return await alter(connection, statements, settings, job.events, also=mark, dry_run=job.dry_run)

    if not await steadily(job, "changing a table's definition", change):
        raise PreflightFailed(f"the rows do not fit the new definition: {'; '.join(statements)}")
    failpoints.hit("after-ddl")


async def finish_archive(job: Job, *, migration: str, version: str, at: datetime) -> str | None:
    """Write the archive's manifest, if anything was archived; returns the archive's id.

    Args:
        job: the run.
        migration: its name.
        version: of the migration.
        at: when the run finished.
    """
    if job.archive is None:
        return None

    async def look(connection: PoolConnectionProxy[Any]) -> list[ArchivePart]:
        return await job.ledger.work.archive_parts(connection, job.run_id)

    parts = await steadily(job, "looking at the archive", look)
    if not parts:
        return None

    async def key(connection: PoolConnectionProxy[Any]) -> asyncpg.Record:
        (record,) = await job.ledger.runs.find(connection, run_id=job.run_id)
        return record

    record = await steadily(job, "looking at the run", key)
    finish = functools.partial(
        job.archive.finish,
        parts,
        migration=migration,
        version=version,
        database=job.db.server.database,
        created_at=at,
        kid=record["kid"],
        data_key=record["data_key"] if record["kid"] else None,
    )
    await anyio.to_thread.run_sync(finish)
    failpoints.hit("after-archive")
    return str(job.run_id)


async def record_success(started: Started, report: RunReport) -> None:
    """Success, in one transaction that waits for the disk: earlier chunks are durable with it."""
    job = started.job
    entry = {"migration": report.migration, "changed_rows": report.changed_rows, "proof": report.proof}
    body = orjson.dumps(attrs.asdict(report))

    async def record(connection: PoolConnectionProxy[Any]) -> None:
        async with transaction(connection):
            if await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
                raise LeaseLost(f"run {job.run_id} was taken over by another process")
            # Not when an earlier try did it, and only the answer to its commit was lost.
            if await job.ledger.runs.finish(connection, job.run_id, report.changed_rows, body):
                await job.ledger.audit.append(connection, "run-succeeded", job.run_id, entry)
            await job.ledger.runs.release(connection, job.run_id, job.epoch)

    await steadily(job, "recording success", record)
    job.tell("succeeded")
    failpoints.hit("after-record")

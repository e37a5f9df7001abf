"""Runs imperative migrations: plan, checks, `up` under the lease, and `down` as the way back."""

from __future__ import annotations

import contextlib
import inspect
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.drive import look_again, record_success
from taaxdog_datamig.engine.handling import is_count, place
from taaxdog_datamig.engine.identity import fingerprint
from taaxdog_datamig.engine.keeping import back_up, instead
from taaxdog_datamig.engine.preflight import check_server
from taaxdog_datamig.engine.reports import Plan, TablePlan
from taaxdog_datamig.engine.rollback import Restored
from taaxdog_datamig.engine.start import check_arguments
from taaxdog_datamig.engine.steps import step
from taaxdog_datamig.engine.summary import summarise, wal_position
from taaxdog_datamig.engine.validating import validate_before, with_validation
from taaxdog_datamig.engine.workspace import Workspace
from taaxdog_datamig.errors import (
    DatamigError,
    KeyMissing,
    LeaseLost,
    NotReversible,
    PreflightFailed,
    RunError,
    UsageError,
)
from taaxdog_datamig.events import TableStarted, Warned
from taaxdog_datamig.migration import Migration, NotApplicable
from taaxdog_datamig.pg.retry import DRIVER_ERRORS
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.reports import RunReport
    from taaxdog_datamig.engine.start import Started
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.profile import FittedTable


@contextlib.contextmanager
def _theirs(migration: Migration, method: str) -> Iterator[None]:
    """Make an error of the run out of whatever the migration's own code raises."""
    try:
        yield
    except asyncpg.ReadOnlySQLTransactionError:
        raise RunError(
            f"{method}() of {migration.name} writes outside of process_batch",
            "self.context.db only reads; write through the connection that process_batch gives its handler",
        ) from None
    except (DatamigError, NotApplicable, NotImplementedError, *DRIVER_ERRORS):
        raise
    except Exception as error:  # noqa: BLE001 - the words of an error that is not ours may quote a row
        if not inspect.iscoroutinefunction(getattr(migration, method)):
            raise RunError(
                f"{method}() of {migration.name} is no coroutine", f"Write `async def {method}`"
            ) from None
        raise RunError(f"{method}() of {migration.name} failed: {place(error, type(migration))}") from None


def reversible(migration: Migration) -> bool:
    """Whether it has a way back at all."""
    return type(migration).down is not Migration.down


async def claims(migration: Migration) -> list[FittedTable]:
    """The tables that nobody else may work on meanwhile.

    Raises:
        NotApplicable: there is no such table.
    """
    found = []
    async with migration.context.db.acquire() as connection:
        for name in migration.tables:
            if (table := await migration.context.profile.table(connection, name)) is None:
                raise NotApplicable(f"there is no table {name}")
            found.append(table)
    return found


async def plan_code(migration: Migration) -> Plan:
    """What the migration says of itself.

    Raises:
        NotApplicable: it says that it has nothing to work on.
        RunError: its estimate fails.
    """
    await claims(migration)
    with _theirs(migration, "estimate_affected_records"):
        rows = await migration.estimate_affected_records()
    if not is_count(rows):
        raise UsageError(f"estimate_affected_records() of {migration.name} returned no number of records")
    warnings = () if reversible(migration) else (f"{migration.name} is not reversible: back up first",)
    table = TablePlan(
        table=migration.name,
        relation="",
        columns=(),
        pending_rows=rows,
        estimate="stated",
        total_rows=rows,
        heap_bytes=0,
        windows=0,
    )
    return Plan(
        migration=migration.name,
        version=migration.version,
        description=migration.description,
        applicable=True,
        tables=(table,),
        warnings=warnings,
        fingerprint=fingerprint(migration, ()),
    )


def check_code(migration: Migration) -> None:
    """What must hold before `up` may write.

    Raises:
        PreflightFailed: this server takes no changes.
        KeyMissing: rollback data would hold sensitive values, and there is no key to seal them.
    """
    check_server(migration.context.db)
    if migration.sensitive and migration.context.keyring is None:
        raise KeyMissing(
            f"{migration.name} keeps sensitive rollback data: there is no key to seal them with",
            "Set FIELD_ENCRYPTION_KEY (or _FILE); `datamig keys generate` makes one",
        )


async def check_validity(migration: Migration) -> None:
    """Ask the migration whether it should run here.

    Raises:
        PreflightFailed: it says no.
    """
    with _theirs(migration, "validate"):
        if not await migration.validate():
            raise PreflightFailed(
                f"validate() of {migration.name} says that it should not run here; nothing was changed",
                f"{migration.description.rstrip('.')}: see what its validate() asks for",
            )


def check_resumable(migration: Migration, record: asyncpg.Record, plan: Plan, events: EventBus) -> None:
    """Whether an unfinished run can be gone on with by this code.

    Raises:
        PlanDrift: it was begun with other arguments.
    """
    check_arguments(migration, record)
    if record["fingerprint"] != plan.fingerprint:
        message = (
            f"the code of {migration.name} has changed since run {record['id']} began; what it has done stays"
        )
        events.emit(Warned(message=message))


@attrs.frozen
class CodeWork:
    """The steps of a run by code, in the place of `drive.work`."""

    migration: Migration

    async def __call__(self, started: Started, plan: Plan, started_at: datetime) -> RunReport:
        """Let `up` work; returns the report."""
        job, migration = started.job, self.migration
        async with step(job.events, "validate before"):
            before = await validate_before(started)
        await back_up(started, migration.name)
        clock = time.monotonic()
        position = await steadily(job, "measuring the log", wal_position)
        async with step(job.events, "execute"):
            job.events.emit(TableStarted(table=migration.name, rows=plan.pending_rows))
            workspace = Workspace(
                job=job, code=type(migration), name=migration.name, way="up", dry_run=job.dry_run
            )
            with _theirs(migration, "up"), _at(migration, workspace):
                await migration.up()
        seconds = time.monotonic() - clock
        validation = await look_again(started, before)
        async with step(job.events, "record"):
            report = await steadily(
                job,
                "adding up",
                lambda connection: summarise(connection, job, plan, started_at, seconds, position),
            )
            report = attrs.evolve(
                report, hot_ratio=None, resumed=started.resumed, estimated_rows=started.estimated_rows
            )
            report = with_validation(report, validation)
            if not job.dry_run:
                await record_success(started, report)
        return report


@attrs.frozen
class CodeRollback:
    """The way back by code, in the place of `rollback.restore_chunks`."""

    migration: Migration
    #: The run's status, given back when `down` refuses before it has changed anything.
    before: str

    async def __call__(self, job: Job, *, dry_run: bool) -> Restored:
        """Let `down` work.

        Raises:
            NotReversible: it says that there is no way back.
        """
        failpoints.hit("rollback-begin")
        migration, ledger = self.migration, job.ledger

        async def look(connection: PoolConnectionProxy[Any]) -> tuple[int, int]:
            there, back = [await ledger.work.call(connection, job.run_id, number) for number in (1, -1)]
            return there["total"], back["total"]

        there, back = await steadily(job, "looking at the run", look)
        workspace = Workspace(job=job, code=type(migration), name=migration.name, way="down", dry_run=dry_run)
        if there:
            try:
                with _theirs(migration, "down"), _at(migration, workspace):
                    await migration.down()
            except (NotImplementedError, NotReversible) as error:
                if not (dry_run or back or workspace.batches):
                    await self._give_back(job)
                raise _not_reversible(migration.name, job.run_id, job.backup_id, error) from None
        if not dry_run:
            await steadily(
                job, "recording", lambda connection: ledger.work.all_restored(connection, job.run_id)
            )
        return Restored(rows=workspace.changed, chunks=workspace.batches)

    async def _give_back(self, job: Job) -> None:
        status = "succeeded" if self.before == "succeeded" else "paused"
        run_id, ledger = job.run_id, job.ledger

        async def give(connection: PoolConnectionProxy[Any]) -> None:
            async with transaction(connection):
                if await ledger.runs.guard(connection, run_id, job.epoch) is None:
                    raise LeaseLost(f"run {run_id} was taken over by another process")
                (record,) = await ledger.runs.find(connection, run_id=run_id)
                await ledger.runs.set_status(connection, run_id, status, record["error"])
                await ledger.audit.append(connection, "rollback-refused", run_id, {"status": status})

        await steadily(job, "giving the run back", give)
        job.tell(status)


def _not_reversible(
    name: str, run_id: object, backup_id: str | None, error: Exception | None = None
) -> NotReversible:
    if isinstance(error, NotReversible):
        return error if backup_id is None else attrs.evolve(error, todo=instead(backup_id))
    return NotReversible(f"run {run_id} of {name} is not reversible", instead(backup_id))


def code_of(record: asyncpg.Record) -> dict[str, Any] | None:
    """What the ledger knows of the code of a run by code; None for a declared one.

    Raises:
        NotReversible: it has no way back.
    """
    targets = orjson.loads(record["targets"])
    code: dict[str, Any] | None = targets[0].get("code") if targets else None
    if code is not None and not code["reversible"]:
        raise _not_reversible(record["migration"], record["id"], record["backup_id"])
    return code


@contextlib.contextmanager
def _at(migration: Migration, workspace: Workspace) -> Iterator[None]:
    migration._workspace = workspace  # noqa: SLF001 - the engine's half of it
    try:
        yield
    finally:
        migration._workspace = None  # noqa: SLF001

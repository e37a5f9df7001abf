"""Runs migrations: plan, preflight, validate, backup, execute, prove, validate, record."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.engine import control
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.executors import executor_named
from taaxdog_datamig.engine.lease import held
from taaxdog_datamig.engine.planner import check_pinned, make_plan
from taaxdog_datamig.engine.preflight import check_keys, check_room, check_targets, old_transaction_warning
from taaxdog_datamig.engine.proof import prove
from taaxdog_datamig.engine.reports import MigrationState, Plan, RollbackReport, RunOptions, RunReport
from taaxdog_datamig.engine.start import Proposal, Started, await_session_end, start, start_dry
from taaxdog_datamig.engine.summary import summarise, wal_position
from taaxdog_datamig.engine.sweeps import execute
from taaxdog_datamig.engine.undo import let_go, pause_run, settle_failure, undo
from taaxdog_datamig.errors import (
    DatabaseUnavailable,
    DatamigError,
    LeaseLost,
    PreflightFailed,
    RefusedError,
    RunPaused,
    ServerRefused,
    UsageError,
)
from taaxdog_datamig.events import EventBus, StepFinished, StepStarted, Warned
from taaxdog_datamig.ledger import UNFINISHED, Ledger, install, installed_version
from taaxdog_datamig.migration import Migration, MigrationContext, NotApplicable, Registry
from taaxdog_datamig.migrations import BUILTIN
from taaxdog_datamig.pg.ddl import alter
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.profile import FittedProfile, Profile
from taaxdog_datamig.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.reports import QuarantineRecord, RunRecord
    from taaxdog_datamig.pg.database import Database


@attrs.define
class Runner:
    """Plans, runs and rolls back migrations on one database.

    Args:
        db: the database.
        settings: resolved settings; those of `db` by default.
        events: hears what happens while a run works.
        registry: the migrations there are; built-in, installed and configured ones by default.
    """

    db: Database
    settings: Settings = attrs.field()
    events: EventBus = attrs.field(factory=EventBus, kw_only=True)
    registry: Registry = attrs.field(kw_only=True)

    @settings.default
    def _settings(self) -> Settings:
        return self.db.settings

    @registry.default
    def _registry(self) -> Registry:
        return Registry.load(BUILTIN, self.settings.migrations)

    def order(self, names: Sequence[str]) -> list[str]:
        """The names in the order in which they must run."""
        return self.registry.order(names)

    async def states(self) -> list[MigrationState]:
        """Every migration with its pending rows here, or why it does not apply."""
        states = []
        for name, kind in self.registry.migrations.items():
            pending, applicable, reason = None, True, ""
            try:
                plan = await self.plan(name)
                pending, applicable, reason = plan.pending_rows, plan.applicable, plan.reason
            except DatamigError as error:
                reason = str(error)
            states.append(
                MigrationState(
                    name=name,
                    category=kind.category,
                    version=kind.version,
                    description=kind.description,
                    pending=pending if applicable else None,
                    applicable=applicable,
                    reason=reason,
                )
            )
        return states

    @server_errors("planning")
    async def plan(self, name: str) -> Plan:
        """What a run would do. Changes nothing.

        Raises:
            UnknownName: there is no such migration.
            RefusedError, SettingsError: it cannot be planned here.
        """
        migration = await self._migration(name, dry_run=True)
        try:
            targets = await migration.targets()
        except NotApplicable as answer:
            return _not_applicable(migration, answer)
        return await make_plan(self.db, migration, targets)

    @server_errors("running the migration")
    async def run(self, name: str, options: RunOptions | None = None) -> RunReport:
        """Run a migration, or go on with the run of it that was left unfinished.

        Args:
            name: the migration.
            options: how; see `RunOptions`.

        Returns:
            The report. Also where nothing was to be done: `status` says which.

        Raises:
            UsageError: wrong words, settings or options.
            RefusedError: refused for safety, nothing was changed.
            RunPaused: stopped between chunks; `resume` goes on.
            RunError: failed; what had been changed was rolled back, unless `on_failure` is "pause".
            DatabaseError: the server went away or refuses; the run can be resumed.
        """
        options = options or RunOptions()
        self._check(options)
        started_at = datetime.now(UTC)
        migration = await self._migration(name, dry_run=options.dry_run)
        if (
            not options.dry_run
            and (report := await self._finished(migration, options, started_at)) is not None
        ):
            return report
        async with self._step("plan"):
            try:
                targets = await migration.targets()
            except NotApplicable as answer:
                return _nothing(_not_applicable(migration, answer), options, started_at)
            await check_targets(self.db, migration, targets, migration.context.keyring)
            plan = await make_plan(self.db, migration, targets)
            if options.pinned_plan is not None:
                check_pinned(plan, options.pinned_plan, begun=await self._begun(migration))
        failpoints.hit("after-plan")
        warnings = [*plan.warnings, *await self._preflight(migration, plan)]
        for warning in warnings:
            self.events.emit(Warned(message=warning))
        plan = attrs.evolve(plan, warnings=tuple(warnings))
        proposal = Proposal(
            db=self.db,
            migration=migration,
            targets=targets,
            plan=plan,
            options=options,
            events=self.events,
        )
        if options.dry_run:
            async with start_dry(proposal) as started:
                return await self._work(started, plan, started_at)
        async with self.db.acquire() as connection:
            await install(connection, self.settings, self.events)
        failpoints.hit("after-ledger")
        await await_session_end(self.db, self.events, migration.name)
        await self._finish_rollback(migration)
        started = await start(proposal)
        return await self._guarded(started, plan, started_at)

    @server_errors("rolling back")
    async def rollback(self, ref: str, *, dry_run: bool = False) -> RollbackReport:
        """Undo a run from its before-images.

        Args:
            ref: the run's id, the beginning of it, or a migration's name for its latest run.
            dry_run: count what would be restored, change nothing.

        Raises:
            UnknownName: there is no such run.
            RefusedError: it was rolled back already, or its before-images are gone.
            LeaseHeld: a live process works on it.
        """
        async with self._step("rollback"):
            keyring = Keyring.from_settings(self.settings)
            return await undo(self.db, ref, self.events, keyring, dry_run=dry_run)

    async def resume(self, ref: str, options: RunOptions | None = None) -> RunReport:
        """Go on, here, with a run that is paused or was left by a killed process.

        Args:
            ref: the run's id, the beginning of it, or a migration's name.
            options: how; as the run began by default.

        Raises:
            UsageError: the run is finished.
            And what `run` raises.
        """
        record = await control.find(self.db, ref)
        if record["status"] not in {"running", "paused"}:
            ended = record["status"].replace("_", " ")
            raise UsageError(f"run {record['id']} has ended ({ended}): there is nothing to resume")
        return await self.run(record["migration"], options or RunOptions(**orjson.loads(record["options"])))

    @server_errors("reading the ledger")
    async def status(self, ref: str | None = None) -> list[RunRecord]:
        """One run, or the unfinished ones and the latest."""
        return await control.status(self.db, ref)

    @server_errors("reading the ledger")
    async def history(self, limit: int = 20, *, failed: bool = False) -> list[RunRecord]:
        """Runs, newest first; with `failed` those that failed or were rolled back."""
        return await control.history(self.db, limit, failed=failed)

    @server_errors("pausing the run")
    async def pause(self, ref: str) -> RunRecord:
        """Ask the process that works on a run to stop between two chunks."""
        return await control.request(self.db, ref, "pause")

    @server_errors("cancelling the run")
    async def cancel(self, ref: str) -> RunRecord:
        """Ask the process that works on a run to stop and roll it back; without one, do so here."""
        record = await control.request(self.db, ref, "cancel")
        if record.status in {"running", "paused"} and not record.alive:
            await self.rollback(record.run_id)
            (record,) = await control.status(self.db, record.run_id)
        return record

    @server_errors("reading the ledger")
    async def quarantine(self, ref: str, limit: int = 1000) -> list[QuarantineRecord]:
        """Rows that a run refused."""
        return await control.quarantine(self.db, ref, limit)

    async def _migration(self, name: str, *, dry_run: bool) -> Migration:
        kind = self.registry.get(name)
        async with self.db.acquire() as connection:
            profile = await FittedProfile.fit(connection, Profile.load(self.settings.profile))
        keyring = Keyring.from_settings(self.settings)
        return kind(
            MigrationContext(
                db=self.db, settings=self.settings, profile=profile, keyring=keyring, dry_run=dry_run
            )
        )

    async def _begun(self, migration: Migration) -> str | None:
        """The fingerprint under which an unfinished run of the migration began."""
        async with self.db.acquire() as connection:
            if not await installed_version(connection):
                return None
            left = await Ledger.of().runs.find(connection, migration=migration.name, status=UNFINISHED)
        return left[0]["fingerprint"] if left else None

    async def _preflight(self, migration: Migration, plan: Plan) -> list[str]:
        async with self._step("preflight"), self.db.acquire() as connection:
            if await installed_version(connection):
                await check_keys(connection, Ledger.of(), migration.context.keyring)
            found = [await check_room(connection, plan), await old_transaction_warning(connection)]
        return [warning for warning in found if warning]

    async def _finished(
        self, migration: Migration, options: RunOptions, started_at: datetime
    ) -> RunReport | None:
        """The answer "already run", when the latest run of the migration succeeded."""
        async with self.db.acquire() as connection:
            if options.force or not await installed_version(connection):
                return None
            found = await Ledger.of().runs.find(connection, migration=migration.name, limit=1)
        if not found or found[0]["status"] != "succeeded":
            return None
        latest = found[0]
        return RunReport(
            run_id=str(latest["id"]),
            migration=migration.name,
            version=latest["version"],
            status="already_run",
            dry_run=False,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            warnings=(
                (
                    f"migration already run: run {latest['id']} succeeded at "
                    f"{latest['completed_at']:%Y-%m-%d %H:%M:%S} UTC; --force runs it again"
                ),
            ),
        )

    async def _finish_rollback(self, migration: Migration) -> None:
        """End a rollback that a killed process has left, before a new run begins."""
        async with self.db.acquire() as connection:
            left = await Ledger.of().runs.find(
                connection, migration=migration.name, status=["rolling_back"], limit=1
            )
        for record in left:
            message = f"finishing the rollback of run {record['id']} first"
            self.events.emit(Warned(message=message))
            keyring = migration.context.keyring
            await undo(self.db, str(record["id"]), self.events, keyring, dry_run=False)

    async def _guarded(self, started: Started, plan: Plan, started_at: datetime) -> RunReport:
        """Work under the lease, and leave the run in a state that says what happened."""
        job = started.job
        try:
            async with server_errors(f"running {plan.migration}"), held(job):
                report = await self._work(started, plan, started_at)
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
        except Exception as error:
            # What the server refuses now it may take later, and a rollback would meet the same refusal.
            if job.options.on_failure == "pause" or isinstance(error, ServerRefused | RefusedError):
                await pause_run(job, str(error), unless_untouched=isinstance(error, PreflightFailed))
            else:
                await settle_failure(started, error)
            raise
        return report

    async def _work(self, started: Started, plan: Plan, started_at: datetime) -> RunReport:
        job = started.job
        clock = time.monotonic()
        position = await steadily(job, "measuring the log", wal_position)
        async with self._step("execute"):
            await self._change_definitions(started)
            skipped = await execute(job, {table.table: table.pending_rows for table in plan.tables})
            # Also when no chunk was left to be written: the budget holds for the run, not for this process.
            job.heed(None)
        async with self._step("prove"):
            proof: dict[str, Any] = {}
            if not job.dry_run:
                proof = await steadily(
                    job, "proving the result", lambda connection: prove(connection, job, skipped)
                )
        async with self._step("record"):
            seconds = time.monotonic() - clock
            report = await steadily(
                job,
                "adding up",
                lambda connection: summarise(connection, job, plan, started_at, seconds, position),
            )
            report = attrs.evolve(
                report, proof=proof, resumed=started.resumed, estimated_rows=started.estimated_rows
            )
            if not job.dry_run:
                await self._record(started, report)
        return report

    async def _change_definitions(self, started: Started) -> None:
        if not started.ddl or started.ddl_done:
            return
        job = started.job
        failpoints.hit("before-ddl")
        statements = [ddl.do for ddl in started.ddl]

        async def change(connection: PoolConnectionProxy[Any]) -> bool:
            async def mark() -> None:
                await job.ledger.runs.set_ddl_done(connection, job.run_id, done=True)

            return await alter(
                connection, statements, self.settings, self.events, also=mark, dry_run=job.dry_run
            )

        if not await steadily(job, "changing a table's definition", change):
            raise PreflightFailed(f"the rows do not fit the new definition: {'; '.join(statements)}")
        failpoints.hit("after-ddl")

    async def _record(self, started: Started, report: RunReport) -> None:
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
        failpoints.hit("after-record")

    def _check(self, options: RunOptions) -> None:
        if options.batch_size is not None and options.batch_size < 1:
            raise UsageError(
                f"batch size {options.batch_size}: a chunk has at least one row", "Leave --batch-size out"
            )
        most = self.db.pool.get_max_size() - 2  # one for signs of life, one for whatever else
        if not 1 <= options.workers <= most:
            raise UsageError(f"{options.workers} workers: from 1 to {most} can be had")
        if options.max_quarantine < 0:
            raise UsageError(f"--max-quarantine {options.max_quarantine}: it cannot be negative")
        if options.on_failure not in {"rollback", "pause"}:
            raise UsageError(f"--on-failure {options.on_failure}: it is rollback or pause")
        executor_named(options.executor)

    @contextlib.asynccontextmanager
    async def _step(self, step: str) -> AsyncIterator[None]:
        began = time.monotonic()
        self.events.emit(StepStarted(step=step))
        yield
        self.events.emit(StepFinished(step=step, seconds=time.monotonic() - began))


def _not_applicable(migration: Migration, answer: NotApplicable) -> Plan:
    return Plan(
        migration=migration.name,
        version=migration.version,
        description=migration.description,
        applicable=False,
        reason=str(answer),
    )


def _nothing(plan: Plan, options: RunOptions, started_at: datetime) -> RunReport:
    return RunReport(
        run_id=None,
        migration=plan.migration,
        version=plan.version,
        status="nothing_to_do",
        dry_run=options.dry_run,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        warnings=(f"not applicable: {plan.reason}",),
    )

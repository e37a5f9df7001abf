"""Runs migrations: plan, preflight, validate, backup, execute, prove, validate, record."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.engine import control
from taaxdog_datamig.engine.details import details
from taaxdog_datamig.engine.drive import drive, work
from taaxdog_datamig.engine.executors import executor_named
from taaxdog_datamig.engine.following import follow
from taaxdog_datamig.engine.gate import room
from taaxdog_datamig.engine.imperative import (
    CodeRollback,
    CodeWork,
    check_code,
    check_resumable,
    check_validity,
    claims,
    code_of,
    plan_code,
    reversible,
)
from taaxdog_datamig.engine.keeping import instead, unsealed_warning
from taaxdog_datamig.engine.maintenance import maintain, plan_maintenance, waiting
from taaxdog_datamig.engine.planner import check_pinned, make_plan
from taaxdog_datamig.engine.preflight import (
    check_archive,
    check_keys,
    check_room,
    check_targets,
    old_transaction_warning,
)
from taaxdog_datamig.engine.reports import MigrationState, Plan, RollbackReport, RunOptions, RunReport
from taaxdog_datamig.engine.retry import nothing_refused, retry
from taaxdog_datamig.engine.start import Proposal, await_session_end, retake, start, start_dry
from taaxdog_datamig.engine.steps import step
from taaxdog_datamig.engine.telling import Ending, telling
from taaxdog_datamig.engine.undo import built_upon, undo
from taaxdog_datamig.engine.validating import extent_of
from taaxdog_datamig.errors import (
    DatamigError,
    RefusedError,
    UsageError,
)
from taaxdog_datamig.events import EventBus, Warned
from taaxdog_datamig.ledger import UNFINISHED, Ledger, install, installed_version
from taaxdog_datamig.limits import limits
from taaxdog_datamig.migration import (
    BaseMigration,
    DeclaredMigration,
    MaintenanceMigration,
    Migration,
    MigrationContext,
    NotApplicable,
    Registry,
    arguments_of,
)
from taaxdog_datamig.migrations import BUILTIN, UNLISTED
from taaxdog_datamig.pg.reading import ReadingDatabase
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pressure import CommitClock, signals_of
from taaxdog_datamig.profile import FittedProfile, Profile
from taaxdog_datamig.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    import asyncpg

    from taaxdog_datamig.engine.drive import Steps
    from taaxdog_datamig.engine.reports import QuarantineRecord, RunDetails, RunRecord
    from taaxdog_datamig.engine.retry_reports import RetryReport
    from taaxdog_datamig.engine.rollback import Restore
    from taaxdog_datamig.migration import Target
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

    def __attrs_post_init__(self) -> None:
        # One set of settings: what the engine takes from the database must be what the caller gave.
        self.db = attrs.evolve(self.db, settings=self.settings)

    @registry.default
    def _registry(self) -> Registry:
        return Registry.load((*BUILTIN, *UNLISTED), self.settings.migrations)

    def order(self, names: Sequence[str]) -> list[str]:
        """The names in the order in which they must run."""
        return self.registry.order(names)

    async def states(self) -> list[MigrationState]:
        """Every migration with its pending rows here, or why it does not apply."""
        states = []
        listed = {name: kind for name, kind in self.registry.migrations.items() if kind.listed}
        for name, kind in listed.items():
            pending, applicable, reason, tasks = None, True, "", None
            try:
                plan = await self.plan(name)
                tasks = len(waiting(plan)) if issubclass(kind, MaintenanceMigration) else None
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
                    tasks=tasks,
                )
            )
        return states

    @server_errors("planning")
    async def plan(self, name: str, arguments: Mapping[str, str] | None = None) -> Plan:
        """What a run would do. Changes nothing.

        Args:
            name: the migration.
            arguments: its own arguments, as in `RunOptions`.

        Raises:
            UnknownName: there is no such migration.
            RefusedError, SettingsError: it cannot be planned here.
        """
        migration = await self._migration(name, dry_run=True, arguments=arguments)
        if isinstance(migration, MaintenanceMigration):
            return await plan_maintenance(migration)
        try:
            _, plan = await self._planned(migration, check=False)
        except NotApplicable as answer:
            return _not_applicable(migration, answer)
        return plan

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
        self.registry.get(name)
        ending = Ending(
            action="run", migration=name, database=self.db.server.database, dry_run=options.dry_run
        )
        with telling(self.events, ending):
            report = ending.report = await self._run(name, options)
        return report

    @server_errors("running the migration")
    async def _run(self, name: str, options: RunOptions) -> RunReport:
        self._check(options)
        started_at = datetime.now(UTC)
        migration = await self._migration(name, dry_run=options.dry_run, arguments=options.arguments)
        if isinstance(migration, MaintenanceMigration):
            return await maintain(self.db, migration, options, self.events, started_at)
        if (
            not options.dry_run
            and (report := await self._finished(migration, options, started_at)) is not None
        ):
            return report
        async with step(self.events, "plan"):
            try:
                targets, plan = await self._planned(migration, check=True)
            except NotApplicable as answer:
                return _nothing(_not_applicable(migration, answer), options, started_at)
            if options.pinned_plan is not None:
                check_pinned(plan, options.pinned_plan, begun=await self._begun(migration))
        failpoints.hit("after-plan")
        warnings = [*plan.warnings, *await self._preflight(migration, plan, targets, options)]
        for warning in warnings:
            self.events.emit(Warned(message=warning))
        plan = attrs.evolve(plan, warnings=tuple(warnings))
        if isinstance(migration, Migration):
            await self._admit(migration, plan, dry_run=options.dry_run)
        proposal = Proposal(
            db=self.db,
            migration=migration,
            targets=targets,
            plan=plan,
            options=options,
            events=self.events,
            extent=await extent_of(migration, targets),
        )
        steps: Steps = work
        if isinstance(migration, Migration):
            steps = CodeWork(migration)
            proposal = attrs.evolve(
                proposal,
                claims=await claims(migration),
                restore=CodeRollback(migration, "paused"),
                reversible=reversible(migration),
            )
        if options.dry_run:
            async with start_dry(proposal) as started:
                return await steps(started, plan, started_at)
        async with self.db.acquire() as connection:
            await install(connection, self.settings, self.events)
        failpoints.hit("after-ledger")
        await await_session_end(self.db, self.events, migration.name)
        await self._finish_rollback(migration)
        started = await start(proposal)
        return await drive(started, plan, started_at, steps)

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
        async with server_errors("rolling back"):
            record = await control.find(self.db, ref)
        ending = Ending(
            action="rollback",
            migration=record["migration"],
            database=self.db.server.database,
            dry_run=dry_run,
            run_id=str(record["id"]),
        )
        with telling(self.events, ending):
            report = ending.report = await self._rollback(record, dry_run=dry_run)
        return report

    @server_errors("rolling back")
    async def _rollback(self, record: asyncpg.Record, *, dry_run: bool) -> RollbackReport:
        async with step(self.events, "rollback"):
            restore = await self._way_back(record, dry_run=dry_run)
            keyring = Keyring.from_settings(self.settings)
            return await undo(
                self.db, str(record["id"]), self.events, keyring, dry_run=dry_run, restore=restore
            )

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
    async def follow(self, ref: str) -> RunRecord:
        """Emit what a run does, wherever it runs, until nobody works on it; returns how it stands then."""
        return await follow(self.db, ref, self.events)

    @server_errors("reading the ledger")
    async def details(self, ref: str) -> RunDetails:
        """One run with its report and timeline."""
        return await details(self.db, ref)

    @server_errors("reading the audit trail")
    async def verify_audit(self) -> tuple[int, int | None]:
        """How many entries the audit trail has, and the number of the first that does not fit, or None."""
        return await control.verify_audit(self.db)

    async def audit_lines(self, ref: str | None = None) -> AsyncIterator[str]:
        """The audit trail as lines of JSON, the oldest entry first; of one run alone, if one is named.

        Raises:
            UnknownName: there is no such run, or several.
        """
        async for line in control.audit_lines(self.db, ref):
            yield line

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

    async def retry_quarantined(self, ref: str) -> RetryReport:
        """Do the rows again that a run refused: no other, on the same record, each exactly once.

        Args:
            ref: the run's id, the beginning of it, or a migration's name for its latest run.

        Returns:
            What became of each. A run that had succeeded has succeeded afterwards, another one is paused.

        Raises:
            UsageError: the run was rolled back or has failed.
            RefusedError: a later run has changed the same tables, or the migration does not apply any more.
            LeaseHeld: a live process works on the run, or another run on its tables is unfinished.
            And what `run` raises; rows that were done before stay done.
        """
        async with server_errors("reading the ledger"):
            record = await control.find(self.db, ref)
        if record["status"] in {"rolling_back", "rolled_back", "failed"}:
            ended = record["status"].replace("_", " ")
            raise UsageError(
                f"run {record['id']} is {ended}: it has no rows to retry", "Run it again instead"
            )
        if not record["quarantined"]:
            return nothing_refused(record)
        ending = Ending(
            action="retry",
            migration=record["migration"],
            database=self.db.server.database,
            dry_run=False,
            run_id=str(record["id"]),
        )
        with telling(self.events, ending):
            async with server_errors("preparing the retry"):
                job = await retake(await self._proposed_again(record), record)
            return await retry(job, record)

    async def _proposed_again(self, record: asyncpg.Record) -> Proposal:
        """A run as it was begun, with the migration as it is now."""
        begun = RunOptions(**orjson.loads(record["options"]))
        # All of them may be refused again: that is for the report to tell.
        options = attrs.evolve(begun, dry_run=False, max_quarantine=record["quarantined"])
        await await_session_end(self.db, self.events, record["migration"])
        if other := await built_upon(self.db, Ledger.of(), record):
            raise RefusedError(
                f"run {other['id']} of {other['migration']} has changed the same tables since",
                f"Take the rows up in a run of their own: `datamig run {record['migration']} --force`",
            )
        migration = await self._migration(record["migration"], dry_run=False, arguments=begun.arguments)
        if not isinstance(migration, DeclaredMigration):
            raise RefusedError(f"{migration.name} has no rows of its own to retry")
        try:
            targets = await migration.targets()
        except NotApplicable as answer:
            raise RefusedError(f"{migration.name} does not apply here any more: {answer}") from None
        keyring = migration.context.keyring
        await check_targets(self.db, migration, targets, keyring)
        async with self.db.acquire() as connection:
            await install(connection, self.settings, self.events)
            await check_keys(connection, Ledger.of(), keyring)
        if warning := check_archive(self.settings, targets, keyring):
            self.events.emit(Warned(message=warning))
        return Proposal(
            db=self.db,
            migration=migration,
            targets=targets,
            plan=Plan(
                migration=migration.name,
                version=migration.version,
                description=migration.description,
                applicable=True,
            ),
            options=options,
            events=self.events,
        )

    async def _migration(
        self, name: str, *, dry_run: bool, arguments: Mapping[str, str] | None = None
    ) -> BaseMigration:
        kind = self.registry.get(name)
        async with self.db.acquire() as connection:
            profile = await FittedProfile.fit(connection, Profile.load(self.settings.profile))
        keyring = Keyring.from_settings(self.settings)
        return kind(
            MigrationContext(
                # Code of somebody's own writes through the engine's transactions alone.
                db=ReadingDatabase.of(self.db) if issubclass(kind, Migration) else self.db,
                settings=self.settings,
                profile=profile,
                keyring=keyring,
                dry_run=dry_run,
                arguments=arguments_of(kind, arguments),
            )
        )

    async def _planned(self, migration: BaseMigration, *, check: bool) -> tuple[Sequence[Target], Plan]:
        if isinstance(migration, Migration):
            if check:
                check_code(migration)
            return (), await plan_code(migration)
        assert isinstance(migration, DeclaredMigration)
        targets = await migration.targets()
        if check:
            await check_targets(self.db, migration, targets, migration.context.keyring)
        return targets, await make_plan(self.db, migration, targets)

    async def _admit(self, migration: Migration, plan: Plan, *, dry_run: bool) -> None:
        """Ask the migration whether it should run, unless it is at it already."""
        left = None if dry_run else await self._left(migration)
        if left is not None and left["status"] != "rolling_back":
            check_resumable(migration, left, plan, self.events)
            return
        if left is not None:
            await await_session_end(self.db, self.events, migration.name)
            await self._finish_rollback(migration)
        await check_validity(migration)

    async def _way_back(self, record: asyncpg.Record, *, dry_run: bool) -> Restore | None:
        """How a run is undone that its migration's own code must undo; None for any other."""
        if code_of(record) is None or record["status"] == "rolled_back":
            return None
        given = orjson.loads(record["options"]).get("arguments")
        migration = await self._migration(record["migration"], dry_run=dry_run, arguments=given)
        if not isinstance(migration, Migration):
            raise RefusedError(
                f"run {record['id']} must be undone by the code of {migration.name}, which has none any more",
                f"Give it back its up() and down(). {instead(record['backup_id'])}",
            )
        return CodeRollback(migration, record["status"])

    async def _left(self, migration: BaseMigration) -> asyncpg.Record | None:
        """The unfinished run of the migration."""
        async with self.db.acquire() as connection:
            if not await installed_version(connection):
                return None
            left = await Ledger.of().runs.find(connection, migration=migration.name, status=UNFINISHED)
        return left[0] if left else None

    async def _begun(self, migration: BaseMigration) -> str | None:
        """The fingerprint under which an unfinished run of the migration began."""
        left = await self._left(migration)
        return left["fingerprint"] if left is not None else None

    async def _preflight(
        self, migration: BaseMigration, plan: Plan, targets: Sequence[Target], options: RunOptions
    ) -> list[str]:
        async with step(self.events, "preflight"), self.db.acquire() as connection:
            if await installed_version(connection):
                await check_keys(connection, Ledger.of(), migration.context.keyring)
            found = [
                await check_room(connection, plan),
                await old_transaction_warning(connection),
                check_archive(self.settings, targets, migration.context.keyring),
                unsealed_warning(options, self.settings, migration.context.keyring),
            ]
        return [warning for warning in found if warning]

    async def _finished(
        self, migration: BaseMigration, options: RunOptions, started_at: datetime
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

    async def _finish_rollback(self, migration: BaseMigration) -> None:
        """End a rollback that a killed process has left, before a new run begins."""
        async with self.db.acquire() as connection:
            left = await Ledger.of().runs.find(
                connection, migration=migration.name, status=["rolling_back"], limit=1
            )
        for record in left:
            message = f"finishing the rollback of run {record['id']} first"
            self.events.emit(Warned(message=message))
            keyring = migration.context.keyring
            restore = await self._way_back(record, dry_run=False)
            await undo(self.db, str(record["id"]), self.events, keyring, dry_run=False, restore=restore)

    def _check(self, options: RunOptions) -> None:
        if options.batch_size is not None and options.batch_size < 1:
            raise UsageError(
                f"batch size {options.batch_size}: a chunk has at least one row", "Leave --batch-size out"
            )
        most = room(self.db)
        workers = self.settings.workers if options.workers is None else options.workers
        if workers != "auto" and not (isinstance(workers, int) and 1 <= workers <= most):
            raise UsageError(f"{workers} workers: from 1 to {most} can be had, or auto")
        if options.nice is not None and not 0 <= options.nice < math.inf:
            raise UsageError(f"nice {options.nice}: it cannot be negative")
        signals_of(limits(self.settings.pressure), (), CommitClock())  # before anything is done
        if options.max_quarantine < 0:
            raise UsageError(f"--max-quarantine {options.max_quarantine}: it cannot be negative")
        if options.on_failure not in {"rollback", "pause"}:
            raise UsageError(f"--on-failure {options.on_failure}: it is rollback or pause")
        executor_named(options.executor)


def _not_applicable(migration: BaseMigration, answer: NotApplicable) -> Plan:
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

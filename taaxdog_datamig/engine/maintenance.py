"""Runs of maintenance: what they would do, whether there is anything to do, and how they went.

The run itself goes the way of any other: a record, a lease, taken over when its process was killed.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.drive import drive, record_success
from taaxdog_datamig.engine.identity import fingerprint
from taaxdog_datamig.engine.planner import check_pinned
from taaxdog_datamig.engine.preflight import check_server, old_transaction_warning
from taaxdog_datamig.engine.reports import Plan, RunReport, TaskReport
from taaxdog_datamig.engine.start import Proposal, await_session_end, start
from taaxdog_datamig.engine.steps import step
from taaxdog_datamig.engine.summary import summarise, wal_position
from taaxdog_datamig.engine.tasks import asked, entry_of, execute_tasks, recorded
from taaxdog_datamig.errors import PreflightFailed
from taaxdog_datamig.events import Warned
from taaxdog_datamig.ledger import UNFINISHED, Ledger, install, installed_version
from taaxdog_datamig.migration import NotApplicable
from taaxdog_datamig.pg.condition import report_counters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.reports import RunOptions
    from taaxdog_datamig.engine.start import Started
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.ledger import TaskEntry
    from taaxdog_datamig.migration import MaintenanceMigration, MaintenanceTask
    from taaxdog_datamig.pg.database import Database


async def plan_maintenance(migration: MaintenanceMigration, *, everything: bool = False) -> Plan:
    """The tasks that are needed, or all there are. Reads only."""
    reason = ""
    tasks: Sequence[MaintenanceTask] = ()
    await report_counters(migration.context.db)
    try:
        tasks = await asked(migration, everything=everything)
    except NotApplicable as answer:
        reason = str(answer)
    return Plan(
        migration=migration.name,
        version=migration.version,
        description=migration.description,
        applicable=not reason,
        reason=reason,
        tasks=tuple(_report(entry_of(task)) for task in tasks),
        fingerprint=fingerprint(migration, ()),
    )


def waiting(plan: Plan) -> list[TaskReport]:
    """The tasks of a plan that would be done."""
    return [task for task in plan.tasks if task.outcome == "pending"]


async def maintain(
    db: Database,
    migration: MaintenanceMigration,
    options: RunOptions,
    events: EventBus,
    started_at: datetime,
) -> RunReport:
    """Run it, or go on with the run of it that was left; see `Runner.run`."""
    # Nothing is sealed: whoever goes on with the run needs no key of whoever began it.
    migration.context = attrs.evolve(migration.context, keyring=None)
    check_server(db)
    if db.pooled and not options.dry_run:
        raise PreflightFailed(
            "maintenance needs sessions of its own, which a pooler does not give",
            "Connect to the server directly",
        )
    async with step(events, "plan"):
        plan = await plan_maintenance(migration, everything=options.force)
        if options.pinned_plan is not None:
            check_pinned(plan, options.pinned_plan)
    failpoints.hit("after-plan")
    async with db.acquire() as connection:
        warning = await old_transaction_warning(connection)
        begun = await _begun(connection, migration.name)
    plan = attrs.evolve(plan, warnings=tuple(filter(None, (warning,))))
    if options.dry_run or not (waiting(plan) or begun):
        return _undone(plan, options, started_at)
    for message in plan.warnings:
        events.emit(Warned(message=message))
    async with db.acquire() as connection:
        await install(connection, db.settings, events)
    failpoints.hit("after-ledger")
    await await_session_end(db, events, migration.name)
    proposal = Proposal(db=db, migration=migration, targets=(), plan=plan, options=options, events=events)

    async def steps(started: Started, plan: Plan, started_at: datetime) -> RunReport:
        return await _work(started, migration, plan, started_at)

    return await drive(await start(proposal), plan, started_at, steps, keep=True)


async def _begun(connection: PoolConnectionProxy[Any], name: str) -> bool:
    """Whether there is a run to go on with."""
    if not await installed_version(connection):
        return False
    return bool(await Ledger.of().runs.find(connection, migration=name, status=UNFINISHED, limit=1))


def _undone(plan: Plan, options: RunOptions, started_at: datetime) -> RunReport:
    """The report of a dry run, or of a run that finds nothing to do. Neither is recorded."""
    absent = () if plan.applicable else (f"not applicable: {plan.reason}",)
    return RunReport(
        run_id=None,
        migration=plan.migration,
        version=plan.version,
        status="succeeded" if waiting(plan) else "nothing_to_do",
        dry_run=options.dry_run,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        warnings=plan.warnings + absent + _skipped(plan.tasks),
        tasks=plan.tasks,
    )


async def _work(
    started: Started, migration: MaintenanceMigration, plan: Plan, started_at: datetime
) -> RunReport:
    job = started.job
    clock = time.monotonic()
    position = await steadily(job, "measuring the log", wal_position)
    async with step(job.events, "execute"):
        await execute_tasks(job, migration)
    async with step(job.events, "record"):
        tasks = tuple(map(_report, await recorded(job)))
        seconds = time.monotonic() - clock
        report = await steadily(
            job,
            "adding up",
            lambda connection: summarise(connection, job, plan, started_at, seconds, position),
        )
        report = attrs.evolve(
            report, tasks=tasks, warnings=report.warnings + _skipped(tasks), resumed=started.resumed
        )
        for message in _skipped(tasks):
            job.events.emit(Warned(message=message))
        await record_success(started, report)
    return report


def _report(entry: TaskEntry) -> TaskReport:
    return TaskReport(
        relation=entry.label,
        action=entry.action,
        reason=entry.reason,
        outcome=entry.outcome,  # type: ignore[arg-type]  # as it was written by `tasks`
        note=entry.note,
        seconds=entry.seconds,
        before=dict(entry.before),
        after=None if entry.after is None else dict(entry.after),
    )


def _skipped(tasks: Sequence[TaskReport]) -> tuple[str, ...]:
    """A warning for each task that was left out, or that did less than it should."""
    return tuple(
        f"{task.relation}: {task.note}" + ("" if task.outcome == "done" else f"; {task.action} skipped")
        for task in tasks
        if task.note and task.outcome != "not-needed"
    )

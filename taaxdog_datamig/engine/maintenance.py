"""Runs of maintenance: which tasks, in which order, what became of each, before and after.

A run goes over the tasks once, tries those once more that a lock or a transaction of somebody's was in the
way of, and asks the migration again, since fresh statistics may show more. Each task is recorded when it
ends, so that whoever goes on with a run that was left does not repeat it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.drive import drive, record_success, step
from taaxdog_datamig.engine.planner import check_pinned, fingerprint
from taaxdog_datamig.engine.preflight import check_server, old_transaction_warning
from taaxdog_datamig.engine.reports import Plan, RunReport, TaskReport
from taaxdog_datamig.engine.start import Proposal, await_session_end, start
from taaxdog_datamig.engine.summary import summarise, wal_position
from taaxdog_datamig.engine.upkeep import perform, tidy
from taaxdog_datamig.errors import LeaseLost, ServerRefused
from taaxdog_datamig.events import Progress, Warned
from taaxdog_datamig.ledger import UNFINISHED, Ledger, TaskEntry, install, installed_version
from taaxdog_datamig.migration import MaintenanceTask, NotApplicable
from taaxdog_datamig.pg.condition import measured_again
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.reports import RunOptions
    from taaxdog_datamig.engine.start import Started
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.migration import MaintenanceMigration
    from taaxdog_datamig.pg.condition import Measure
    from taaxdog_datamig.pg.database import Database

#: Tasks are asked for so often: tables first, then what their fresh statistics show.
_ROUNDS = 2
#: Seconds after which a server's counters know of a vacuum; since 15 they do at once.
_COUNTERS_DELAY = 0.6
_INSTANT_COUNTERS = 15
#: Outcomes worth another try at the end of the run.
_PASSING = {"locked", "interrupted"}
#: Share of the dead rows that a vacuum left behind and that is worth a word.
_LEFT_BEHIND = 0.2
#: A vacuum that was as short as this, in seconds, is done again for them: the transaction may be over.
_SHORT = 10.0


async def plan_maintenance(migration: MaintenanceMigration, *, everything: bool = False) -> Plan:
    """The tasks that are needed, or all there are. Reads only."""
    reason, tasks = "", list[MaintenanceTask]()
    try:
        tasks = _chosen(await migration.tasks(), everything=everything)
    except NotApplicable as answer:
        reason = str(answer)
    return Plan(
        migration=migration.name,
        version=migration.version,
        description=migration.description,
        applicable=not reason,
        reason=reason,
        tasks=tuple(_report(_entry(task)) for task in tasks),
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
        await _execute(job, migration)
    async with step(job.events, "record"):
        tasks = tuple(map(_report, await steadily(job, "adding up", _recorded(job))))
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


async def _execute(job: Job, migration: MaintenanceMigration) -> None:
    before = {_key(entry): entry for entry in await steadily(job, "reading the tasks", _recorded(job))}
    for entry in before.values():
        if entry.action == "reindex":
            await tidy(job, entry.relation)
    tried: set[tuple[str, str]] = set()
    # What `--force` alone asks for is done once in a run, whichever process did it.
    forced = {entry.relation for entry in before.values() if entry.outcome == "done"}
    refused: list[str] = []
    for _ in range(_ROUNDS):
        tasks = [
            task
            for task in await _asked(job, migration)
            if _key(task) not in tried and (task.reason or task.subject.quoted not in forced)
        ]
        forced |= {task.subject.quoted for task in tasks}
        tried |= {_key(task) for task in tasks}
        await _put(job, *(_entry(task) for task in tasks))
        failpoints.hit("after-tasks")
        refused += await _go_through(job, tasks)
    for key, entry in before.items():
        if key not in tried and entry.outcome != "done":
            await _put(job, attrs.evolve(entry, outcome="not-needed", note="it needs nothing any more"))
    if refused:
        raise ServerRefused(
            f"the server refused {', '.join(refused)}", "See its log; the other tasks are done"
        )


async def _asked(job: Job, migration: MaintenanceMigration) -> Sequence[MaintenanceTask]:
    try:
        return _chosen(await migration.tasks(), everything=job.options.force)
    except NotApplicable:
        return ()


async def _go_through(job: Job, tasks: Sequence[MaintenanceTask]) -> list[str]:
    """Do the tasks, those that met a lock once more at the end. Returns which ones the server refused."""
    again: list[MaintenanceTask] = []
    refused: list[str] = []
    ready = [task for task in tasks if not task.obstacle]
    for task in ready:
        entry = await _do(job, task)
        if entry.outcome in _PASSING or (entry.note and entry.outcome == "done" and entry.seconds < _SHORT):
            again.append(task)
        elif entry.outcome == "refused":
            refused.append(f"{task.action} of {task.subject.label}: {entry.note}")
    if again:
        names = ", ".join(task.subject.label for task in again)
        await job.wait(f"other sessions are in the way at {names}", 2 * job.db.settings.lock_timeout)
    for task in again:
        entry = await _do(job, task)
        if entry.outcome == "refused":
            refused.append(f"{task.action} of {task.subject.label}: {entry.note}")
    return refused


async def _do(job: Job, task: MaintenanceTask) -> TaskEntry:
    async def control(connection: PoolConnectionProxy[Any]) -> str | None:
        guard = await job.ledger.runs.guard(connection, job.run_id, job.epoch)
        if guard is None:
            raise LeaseLost(f"run {job.run_id} was taken over by another process")
        asked: str | None = guard["control"]
        return asked

    job.heed(await steadily(job, "looking for requests", control))
    failpoints.hit("before-task")
    job.events.emit(Progress(table=task.subject.label, phase=task.action, done=0, total=0))
    began = time.monotonic()
    ending = await perform(job, task)
    failpoints.hit("after-task")
    seconds = time.monotonic() - began
    if job.db.server.version < _INSTANT_COUNTERS:
        await anyio.sleep(_COUNTERS_DELAY)

    async def look(connection: PoolConnectionProxy[Any]) -> Measure | None:
        return await measured_again(connection, task.subject)

    after = await steadily(job, "measuring again", look)
    entry = attrs.evolve(
        _entry(task),
        outcome=ending.outcome,
        note=ending.note or _remark(task, after),
        seconds=round(seconds, 3),
        after=None if after is None or ending.outcome != "done" else attrs.asdict(after),
    )
    await _put(job, entry)
    failpoints.hit("after-task-record")
    return entry


def _remark(task: MaintenanceTask, after: Measure | None) -> str:
    """What is to be said of a task that was done."""
    before = task.subject.measure
    if after is None or task.action not in {"vacuum", "freeze"} or not before.dead_rows:
        return ""
    if after.dead_rows <= _LEFT_BEHIND * before.dead_rows:
        return ""
    return f"{after.dead_rows:,} dead rows stay: an older transaction may still see them"


async def _put(job: Job, *entries: TaskEntry) -> None:
    """Record tasks under the lease; those that have ended are audited, too."""

    async def put(connection: PoolConnectionProxy[Any]) -> None:
        async with transaction(connection):
            if await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
                raise LeaseLost(f"run {job.run_id} was taken over by another process")
            for entry in entries:
                await job.ledger.tasks.put(connection, job.run_id, entry)
                if entry.outcome != "pending":
                    told = {"relation": entry.label, "action": entry.action, "outcome": entry.outcome}
                    await job.ledger.audit.append(connection, "task", job.run_id, told)

    if entries:
        await steadily(job, "recording the tasks", put)


def _recorded(job: Job) -> Any:
    async def read(connection: PoolConnectionProxy[Any]) -> list[TaskEntry]:
        return await job.ledger.tasks.of(connection, job.run_id)

    return read


def _chosen(tasks: Sequence[MaintenanceTask], *, everything: bool) -> list[MaintenanceTask]:
    """Those that are needed, or all; who asks for all wants no table left with statistics alone."""
    if not everything:
        return [task for task in tasks if task.reason]
    return [
        attrs.evolve(task, action="vacuum") if task.action == "analyze" and task.subject.kind != "p" else task
        for task in tasks
    ]


def _key(task: MaintenanceTask | TaskEntry) -> tuple[str, str]:
    relation = task.subject.quoted if isinstance(task, MaintenanceTask) else task.relation
    return relation, task.action


def _entry(task: MaintenanceTask) -> TaskEntry:
    return TaskEntry(
        relation=task.subject.quoted,
        label=task.subject.label,
        action=task.action,
        reason=task.reason or "asked for",
        outcome="not-permitted" if task.obstacle else "pending",
        note=task.obstacle,
        before=attrs.asdict(task.subject.measure),
    )


def _report(entry: TaskEntry) -> TaskReport:
    return TaskReport(
        relation=entry.label,
        action=entry.action,
        reason=entry.reason,
        outcome=entry.outcome,  # type: ignore[arg-type]  # as it was written by `_entry` or `_do`
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

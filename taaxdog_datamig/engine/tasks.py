"""The tasks of a run of maintenance, one after the other, each recorded when it ends.

A run goes over the tasks once, tries those once more that a lock or a transaction of somebody's was in the
way of, and asks the migration again, since fresh statistics may show more. Whoever goes on with a run that
was left does not repeat what is done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.upkeep import perform, tidy
from taaxdog_datamig.errors import LeaseLost, ServerRefused
from taaxdog_datamig.events import Progress
from taaxdog_datamig.ledger import TaskEntry
from taaxdog_datamig.migration import MaintenanceTask, NotApplicable
from taaxdog_datamig.pg.condition import measured_again
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.migration import MaintenanceMigration
    from taaxdog_datamig.pg.condition import Measure

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


async def asked(migration: MaintenanceMigration, *, everything: bool) -> list[MaintenanceTask]:
    """The tasks that are needed, or all; who asks for all wants no table left with statistics alone.

    Raises:
        NotApplicable: there is nothing to care for.
    """
    tasks = await migration.tasks()
    if not everything:
        return [task for task in tasks if task.reason]
    return [
        attrs.evolve(task, action="vacuum") if task.action == "analyze" and task.subject.kind != "p" else task
        for task in tasks
    ]


async def recorded(job: Job) -> list[TaskEntry]:
    """The run's tasks as they stand in the ledger."""

    async def read(connection: PoolConnectionProxy[Any]) -> list[TaskEntry]:
        return await job.ledger.tasks.of(connection, job.run_id)

    return await steadily(job, "reading the tasks", read)


async def execute_tasks(job: Job, migration: MaintenanceMigration) -> None:
    """Do what is needed, or with `force` everything, that this run has not done yet.

    Raises:
        ServerRefused: the server refused some; all others are done.
        RunPaused, RunCancelled: somebody asked for it.
        LeaseLost, DatabaseUnavailable: the run can be gone on with.
    """
    before = {_key(entry): entry for entry in await recorded(job)}
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
            for task in await _applicable(job, migration)
            if _key(task) not in tried and (task.reason or task.subject.quoted not in forced)
        ]
        forced |= {task.subject.quoted for task in tasks}
        tried |= {_key(task) for task in tasks}
        await _put(job, *(entry_of(task) for task in tasks))
        failpoints.hit("after-tasks")
        refused += await _go_through(job, tasks)
    for key, entry in before.items():
        if key not in tried and entry.outcome != "done":
            await _put(job, attrs.evolve(entry, outcome="not-needed", note="it needs nothing any more"))
    if refused:
        raise ServerRefused(
            f"the server refused {', '.join(refused)}", "See its log; the other tasks are done"
        )


async def _applicable(job: Job, migration: MaintenanceMigration) -> list[MaintenanceTask]:
    try:
        return await asked(migration, everything=job.options.force)
    except NotApplicable:
        return []


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

    await job.gate.turn(job)
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
        entry_of(task),
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


def _key(task: MaintenanceTask | TaskEntry) -> tuple[str, str]:
    relation = task.subject.quoted if isinstance(task, MaintenanceTask) else task.relation
    return relation, task.action


def entry_of(task: MaintenanceTask) -> TaskEntry:
    """A task as it is recorded before it is done."""
    return TaskEntry(
        relation=task.subject.quoted,
        label=task.subject.label,
        action=task.action,
        reason=task.reason or "asked for",
        outcome="not-permitted" if task.obstacle else "pending",
        note=task.obstacle,
        before=attrs.asdict(task.subject.measure),
    )

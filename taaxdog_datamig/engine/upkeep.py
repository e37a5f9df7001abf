"""One task of maintenance on the server: its statement, how long it may wait, and how far it is.

None of these statements makes the application wait: they share the table with readers and writers. VACUUM
and ANALYZE leave a locked table at once (SKIP_LOCKED), and what else they lock they wait for no longer than
`lock_timeout`. REINDEX CONCURRENTLY has `ddl_patience`: it waits for other transactions to end, and nobody
who reads or writes queues behind it.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Mode, persistently
from taaxdog_datamig.errors import LeaseLost
from taaxdog_datamig.events import Progress
from taaxdog_datamig.pg.condition import leftovers, progress
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, Fault, classify, sqlstate

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.reports import TaskOutcome
    from taaxdog_datamig.migration import MaintenanceTask

#: Seconds between two looks at how far a statement is, and whether somebody asked for a pause.
POLL = 0.5
#: The pace of a vacuum: autovacuum's own pauses (autovacuum_vacuum_cost_delay), after five times its work
#: (vacuum_cost_limit is 200), which is 25,000 pages made dirty a second at the most, about 200 MB.
COST_DELAY = "2ms"
COST_LIMIT = 1000
#: Longest time spent on tidying up after an interrupted rebuild, seconds.
_TIDYING = 10.0

_LOCK_NOT_AVAILABLE = "55P03"
_UNDEFINED = {"42P01", "42704"}
_ONLY = 18

_STATEMENTS = {
    "vacuum": "VACUUM (ANALYZE, SKIP_LOCKED)",
    "freeze": "VACUUM (FREEZE, ANALYZE, SKIP_LOCKED)",
    "analyze": "ANALYZE (SKIP_LOCKED)",
    "reindex": "REINDEX INDEX CONCURRENTLY",
}


@attrs.frozen
class Ending:
    """What became of a task."""

    outcome: TaskOutcome
    #: Why it was not done.
    note: str = ""


def statement(task: MaintenanceTask, version: int) -> str:
    """The SQL of a task.

    Args:
        task: what to do.
        version: of the server. From 18 on ANALYZE can leave out the partitions, which are tasks of their own.
    """
    only = "ONLY " if task.subject.kind == "p" and task.action == "analyze" and version >= _ONLY else ""
    return f"{_STATEMENTS[task.action]} {only}{task.subject.quoted}"


async def perform(job: Job, task: MaintenanceTask) -> Ending:
    """Do a task, and tell how far it is.

    Raises:
        RunPaused, RunCancelled: somebody asked for it; the statement was ended.
        LeaseLost: another process took the run over.
        DatabaseUnavailable: the server was away for longer than `outage_patience`.
    """
    endings: list[Ending] = []
    rebuilds = task.action == "reindex"

    async def once(_: Mode) -> None:
        left = await tidy(job, task.subject.quoted) if rebuilds else None
        if left is not None:
            endings[:] = [Ending("locked", f"{left}, left by an interrupted rebuild, cannot be dropped yet")]
            return
        endings[:] = [await _once(job, task)]
        if rebuilds and endings[0].outcome != "done":
            await tidy(job, task.subject.quoted)

    try:
        await persistently(job, f"the {task.action} of {task.subject.label}", once, skip=False)
    except BaseException:
        if rebuilds:
            with anyio.move_on_after(_TIDYING, shield=True), contextlib.suppress(*DRIVER_ERRORS):
                await tidy(job, task.subject.quoted)
        raise
    return endings[0]


async def tidy(job: Job, index: str) -> str | None:
    """Drop what an interrupted rebuild of `index` has left; returns the first that is still locked."""
    async with job.db.acquire() as connection:
        await _set_up(connection, job.db.settings.lock_timeout)
        for name in await leftovers(connection, index):
            try:
                # Whoever rebuilds an index of this table at the moment holds a lock that this would need.
                await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            except asyncpg.LockNotAvailableError:
                return name
    return None


async def _once(job: Job, task: MaintenanceTask) -> Ending:
    settings = job.db.settings
    patience = settings.ddl_patience if task.action == "reindex" else settings.lock_timeout
    left_out: list[str] = []

    def listen(_: Any, message: Any) -> None:
        if message.sqlstate == _LOCK_NOT_AVAILABLE:
            left_out.append(message.sqlstate)

    async with job.db.acquire() as connection:
        await _set_up(connection, patience)
        connection.add_log_listener(listen)
        try:
            with only_error():
                async with anyio.create_task_group() as group:
                    group.start_soon(_watch, job, task, connection.get_server_pid())
                    await connection.execute(statement(task, job.db.server.version))
                    group.cancel_scope.cancel()
        except DRIVER_ERRORS as error:
            return _ending(error)
        finally:
            connection.remove_log_listener(listen)
    return Ending("locked", "another session holds a lock on it") if left_out else Ending("done")


def _ending(error: BaseException) -> Ending:
    """What an error makes of the task. The server's words are not repeated: a function's may quote a row."""
    fault, state = classify(error), sqlstate(error)
    if fault is Fault.GONE:
        raise error
    if fault is Fault.LOCKED:
        return Ending("locked", "another session holds a lock on it")
    if fault is Fault.COLLISION:
        return Ending("interrupted", f"another session ended it ({state})")
    if state in _UNDEFINED:
        return Ending("gone", "it is there no more")
    return Ending("refused", f"the server answered {type(error).__name__} ({state})")


async def _set_up(connection: PoolConnectionProxy[Any], patience: float) -> None:
    """Session settings, which end when the connection goes back to the pool."""
    await connection.execute(
        f"SET lock_timeout = '{patience * 1000:.0f}ms'; SET statement_timeout = 0;"
        f"SET vacuum_cost_delay = '{COST_DELAY}'; SET vacuum_cost_limit = {COST_LIMIT};"
        "SET client_min_messages = warning"
    )
    # What a killed process was doing shall end with it. Servers on some systems cannot tell.
    with contextlib.suppress(asyncpg.InvalidParameterValueError):
        await connection.execute("SET client_connection_check_interval = '1s'")


async def _watch(job: Job, task: MaintenanceTask, backend: int) -> None:
    """Tell how far the statement is; end it when the run is to stop."""
    while True:
        await anyio.sleep(POLL)
        failpoints.hit("during-task")
        try:
            async with job.db.acquire() as connection:
                guard = await job.ledger.runs.guard(connection, job.run_id, job.epoch)
                now = await progress(connection, backend)
        except DRIVER_ERRORS as error:
            if classify(error) is Fault.FATAL:
                raise
            continue  # the statement itself will say if the server is gone
        if guard is None:
            raise LeaseLost(f"run {job.run_id} was taken over by another process")
        job.heed(guard["control"])
        if now is not None:
            job.events.emit(
                Progress(
                    table=task.subject.label,
                    phase=now["phase"],
                    done=now["done"] or 0,
                    total=now["total"] or 0,
                )
            )

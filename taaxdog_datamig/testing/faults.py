"""What else may go wrong around a run than its process: by name, each on copies of its own."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.to_thread
import asyncpg
import attrs

from taaxdog_datamig.engine.reports import RunOptions
from taaxdog_datamig.errors import (
    DatabaseUnavailable,
    LeaseHeld,
    RunCancelled,
    RunPaused,
    UsageError,
)
from taaxdog_datamig.events import ChunkDone
from taaxdog_datamig.pg.retry import DRIVER_ERRORS
from taaxdog_datamig.testing.proxy import COMMITTED, Cut, Proxy, Side
from taaxdog_datamig.testing.unreliable import NAME, unreliable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from taaxdog_datamig.engine.reports import RunReport
    from taaxdog_datamig.engine.runner import Runner
    from taaxdog_datamig.testing.harness import Harness
    from taaxdog_datamig.testing.states import State

#: Starts of a run, or of its rollback, that may fail for their connection before its lease was taken.
_TRIES = 50
#: Requests to pause one run.
_PAUSES = 4
#: Workers that an unreliable executor is asked for, and those of a run that is paused.
_WORKERS = 3
_PAUSED_WORKERS = 2
#: How soon a frozen process's lease is over, seconds.
_LEASE = 1.0
#: How long a server is away, seconds.
_AWAY = 0.3


class Restartable(Protocol):
    """A server that can die and come back at the same address, as `EmbeddedServer` can."""

    def crash(self) -> None:
        """End it at once, as `pg_ctl stop -m immediate` or SIGKILL would."""

    def start(self) -> object:
        """Start it again; returns when it takes connections."""


@attrs.frozen(kw_only=True)
class Trial:
    """A migration, and what must come out of it."""

    harness: Harness
    #: Before, and after an undisturbed run.
    original: State
    wanted: State
    #: Rows that the undisturbed run has changed.
    changed: int
    chooser: random.Random
    server: Restartable | None

    @property
    def name(self) -> str:
        """The migration's."""
        return self.harness.migration.name

    async def assert_done(self, dsn: str, how: str) -> None:
        """It is as after an undisturbed run."""
        await self.harness.compare(dsn, self.wanted, how, self.changed)

    async def assert_undone(self, dsn: str, how: str) -> None:
        """It is as before."""
        await self.harness.compare(dsn, self.original, f"{how}, rolled back")


async def _lost_acknowledgement(trial: Trial) -> None:
    def cut() -> Cut:
        return Cut("server", COMMITTED, nth=1, again=2, growth=1.2, arrives=False)

    await _through_proxy(trial, cut(), cut(), "acknowledgements lost")


async def _cut_connection(trial: Trial) -> None:
    sides: tuple[Side, ...] = ("client", "server")
    for side in sides:
        forward, backward = (_at_any_word(side, trial.chooser.randint(8, 40)) for _ in range(2))
        await _through_proxy(trial, forward, backward, f"connections cut by what the {side} says")


def _at_any_word(side: Side, first: int) -> Cut:
    return Cut(side, b"", first, arrives=False, again=first, growth=1.5)


async def _through_proxy(trial: Trial, forward: Cut, backward: Cut, how: str) -> None:
    harness = trial.harness
    copy = await harness.copy()
    async with Proxy(copy, forward) as proxy:
        through = proxy.dsn(copy)
        await _insistently(lambda: harness.run(through))
        await trial.assert_done(copy, how)
        proxy.cut = backward
        await _insistently(lambda: harness.roll_back(through))
    await trial.assert_undone(copy, how)
    assert forward.done, f"{how}: none was"


async def _insistently(work: Callable[[], Awaitable[object]]) -> None:
    """Do it again while the connection is lost, or the session that was lost has not ended yet."""
    for left in reversed(range(_TRIES)):
        try:
            await work()
        except (DatabaseUnavailable, LeaseHeld, *DRIVER_ERRORS):
            if not left:
                raise
            await anyio.sleep(0.05)
        else:
            return


async def _pause(trial: Trial) -> None:
    harness = trial.harness
    copy = await harness.copy()
    for _ in range(_PAUSES):
        if await _asked(trial, copy, "pause", workers=_PAUSED_WORKERS) is not None:
            break
    else:
        await harness.run(copy)
    await trial.assert_done(copy, "paused and resumed")


async def _cancel(trial: Trial) -> None:
    harness = trial.harness
    copy = await harness.copy()
    if await _asked(trial, copy, "cancel", workers=1) is None:
        async with harness.runner(copy) as runner:
            (record,) = await runner.history(1)
        if record.status == "rolled_back":
            await trial.assert_undone(copy, "cancelled")
        await harness.run(copy)
    await trial.assert_done(copy, "cancelled and run again")


async def _asked(trial: Trial, dsn: str, request: str, **options: Any) -> RunReport | None:
    """Run, and ask for something when a chunk has been committed; the report if it ended before that."""
    harness, begun, counts = trial.harness, anyio.Event(), list[int]()
    report = None
    workers = options["workers"]

    async def ask(other: Runner) -> None:
        await begun.wait()
        with contextlib.suppress(UsageError):  # it has ended
            await getattr(other, request)(trial.name)
            counts.append(await _chunks(dsn))

    async with harness.runner(dsn) as runner, harness.runner(dsn) as other:
        runner.events.subscribe(lambda event: begun.set() if isinstance(event, ChunkDone) else None)
        async with anyio.create_task_group() as group:
            group.start_soon(ask, other)
            with contextlib.suppress(RunPaused, RunCancelled):
                report = await runner.run(trial.name, RunOptions(**{**harness.options, **options}))
                begun.set()
        if report is None and counts:
            more = await _chunks(dsn) - counts[0]
            assert more <= workers, f"{more} chunks were committed after a {request} by {workers} workers"
    return report


async def _chunks(dsn: str) -> int:
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM datamig.chunks"))
    finally:
        await connection.close()


async def _takeover(trial: Trial) -> None:
    harness = trial.harness
    # With rows that were read and not written yet; where none are, in between two transactions.
    for point in ("after-transform", "after-commit"):
        copy, taken = await harness.copy(), anyio.Event()

        async def take_over(copy: str = copy, taken: anyio.Event = taken) -> None:
            while not taken.is_set():
                try:
                    await harness.run(copy)
                    taken.set()
                except LeaseHeld:  # until the frozen process has given no sign of life for long enough
                    await anyio.sleep(0.1)

        frozen = await harness.child(
            copy,
            failpoint=f"{point}:1:stop",
            settings={"lease_seconds": _LEASE},
            when_stopped=take_over,
        )
        told = frozen.report.get("error")
        expected = "LeaseLost" if taken.is_set() else None
        assert told == expected, f"a process frozen at {point} ended with {told}"
        await trial.assert_done(copy, f"frozen at {point} and taken over")
        if taken.is_set():
            return


async def _executor(trial: Trial) -> None:
    harness = trial.harness
    copy = await harness.copy()
    async with unreliable(trial.chooser.randrange(1000)):
        await harness.run(copy, executor=NAME, workers=_WORKERS)
    await trial.assert_done(copy, "with an unreliable executor")
    await harness.roll_back(copy)
    await trial.assert_undone(copy, "with an unreliable executor")
    copy = await harness.copy()
    async with unreliable(trial.chooser.randrange(1000)):
        cancelled = await _asked(trial, copy, "cancel", executor=NAME, workers=2 * _WORKERS) is None
    if cancelled:
        async with harness.runner(copy) as runner:
            (record,) = await runner.history(1)
        if record.status == "rolled_back":
            await trial.assert_undone(copy, "cancelled with an unreliable executor")


async def _restart(trial: Trial) -> None:
    harness, server = trial.harness, trial.server
    assert server is not None
    copy = await harness.copy()
    async with anyio.create_task_group() as group:
        for work in ("run", "rollback"):
            async with harness.runner(copy) as runner:
                runner.events.subscribe(_crash_at(trial.chooser.choice((1, 2)), server, group))
                if work == "run":
                    await runner.run(trial.name, RunOptions(**harness.options))
                    await trial.assert_done(copy, "the server died")
                else:
                    with contextlib.suppress(UsageError):
                        await runner.rollback(trial.name)
    await trial.assert_undone(copy, "the server died")


def _crash_at(number: int, server: Restartable, group: Any) -> Callable[[object], None]:
    """Let the server die when so many chunks have been committed, and come back a little later."""
    left = number

    async def come_back() -> None:
        await anyio.sleep(_AWAY)
        await anyio.to_thread.run_sync(server.start)

    def on_event(event: object) -> None:
        nonlocal left
        left -= isinstance(event, ChunkDone)
        if left == 0 and isinstance(event, ChunkDone):
            server.crash()
            group.start_soon(come_back)

    return on_event


#: Faults by name, see `assert_crash_safe`.
FAULTS: dict[str, Callable[[Trial], Awaitable[None]]] = {
    "lost-acknowledgement": _lost_acknowledgement,
    "cut-connection": _cut_connection,
    "pause": _pause,
    "cancel": _cancel,
    "takeover": _takeover,
    "executor": _executor,
    "restart": _restart,
}


def checked(faults: Iterable[str], server: Restartable | None) -> tuple[str, ...]:
    """The faults, each of which can be tried.

    Raises:
        UsageError: there is no such fault, or no server to restart.
    """
    chosen = tuple(faults)
    for fault in chosen:
        if fault not in FAULTS:
            raise UsageError(f"there is no fault {fault!r}", f"There are: {', '.join(FAULTS)}")
    if "restart" in chosen and server is None:
        raise UsageError("fault 'restart' needs the server", "Give server=, such as an EmbeddedServer")
    return chosen

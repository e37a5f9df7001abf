"""The gate that every chunk passes: open while the server has it easy.

Signals are read between chunks, at most once a second whoever comes by, over a connection of their own. While
one is over its limit, or cannot be read, no chunk begins; requests from other terminals are heeded meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

import anyio
import asyncpg
import attrs

from taaxdog_datamig.engine.apply import persistently
from taaxdog_datamig.errors import RunPaused, UsageError
from taaxdog_datamig.events import Waiting, Warned, WorkersSet
from taaxdog_datamig.limits import Limits, limits
from taaxdog_datamig.pg.retry import Fault, classify, describe
from taaxdog_datamig.planning import CONNECTIONS
from taaxdog_datamig.pressure import CommitClock, Reading, Signal, Unreadable, signals_of
from taaxdog_datamig.throttle import WorkerCount

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Mode
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.pg.database import Database

#: Seconds for which a look at the signals holds.
INTERVAL: Final = 1.0
#: Seconds between two looks while we wait: what a request to pause waits for at the most.
_LOOK_AGAIN: Final = 0.25
#: Seconds after which an unchanged reason is told again.
_REMIND: Final = 10.0
#: Workers that are tried at the most where nobody says how many.
AUTO: Final = 4
#: Connections for signs of life, signals, and whatever else; and how few of them do beside one worker.
_OTHERS: Final = 3
_BESIDE: Final = 2


def room(db: Database) -> int:
    """How many workers the pool has connections for.

    Raises:
        UsageError: not for one.
    """
    size = db.pool.get_max_size()
    if size < CONNECTIONS + _BESIDE:
        raise UsageError(
            f"a pool of {size} connections has no room for a run",
            f"Give Database.connect max_connections={CONNECTIONS + _BESIDE} at least; 24 is the default",
        )
    return max(1, (size - _OTHERS) // CONNECTIONS)


@attrs.frozen
class Verdict:
    """One look at all signals."""

    #: Of the signal that is the nearest to its limit.
    level: float = 0.0
    #: By signal: why to wait.
    reasons: dict[str, str] = attrs.field(factory=dict)
    #: By signal: why it cannot be read, and what to do.
    unreadable: dict[str, Unreadable] = attrs.field(factory=dict)
    #: What was asked from another terminal.
    control: str | None = None

    @property
    def open(self) -> bool:
        """Whether a chunk may begin."""
        return not (self.reasons or self.unreadable)

    @property
    def reason(self) -> str:
        """Why not, for a person."""
        blind = [f"{name} cannot be read: {error.why}" for name, error in self.unreadable.items()]
        return "; ".join([*self.reasons.values(), *blind])


@attrs.define
class Gate:
    """One run's gate. All its workers pass it."""

    limits: Limits
    signals: Sequence[Signal]
    commits: CommitClock
    workers: WorkerCount
    #: Seconds of rest for each second that a chunk took.
    nice: float = 0.0
    clock: Callable[[], float] = time.monotonic
    #: Workers that may be at work, as was told last; None before the first chunk.
    working: int | None = None
    _lock: anyio.Lock = attrs.field(factory=anyio.Lock, repr=False)
    _looked: float | None = None
    _open: bool = False
    #: Rest that is due, all workers together: whoever comes next takes it.
    _due: float = 0.0
    _warned: set[str] = attrs.field(factory=set)

    @classmethod
    def of(cls, job: Job) -> Gate:
        """The gate of a run, by its settings and options.

        Raises:
            SettingsError: see `signals_of`.
        """
        settings, options, commits = job.db.settings, job.options, CommitClock()
        found = limits(settings.pressure)
        wanted = settings.workers if options.workers is None else options.workers
        return cls(
            limits=found,
            signals=signals_of(found, [shape.relation for shape in job.shapes], commits),
            commits=commits,
            workers=WorkerCount(
                most=min(AUTO, room(job.db)) if isinstance(wanted, str) else wanted,
                fixed=not isinstance(wanted, str),
            ),
            nice=settings.nice if options.nice is None else options.nice,
        )

    def chunk_done(self, seconds: float) -> None:
        """Take in that a chunk took so long."""
        self._due += self.nice * seconds

    async def turn(self, job: Job) -> None:
        """Return when the next chunk may begin. Hold no connection and no lock meanwhile.

        Raises:
            RunPaused: somebody asked for it, a signal is unreadable for too long, or pressure lasts too long.
            RunCancelled: somebody asked for it.
            DatabaseUnavailable: the server was away for longer than `outage_patience`.
        """
        rest, self._due = self._due, 0.0
        if self._open and not rest and not self._stale:
            return
        if rest:
            await self._rest(job, rest)
        async with self._lock:  # the others need not ask, too
            if self._open and not self._stale:
                return
            self._open = False
            verdict = await self._look(job)
            if not verdict.open:
                await self._wait(job, verdict)
            self._open = True

    @property
    def _stale(self) -> bool:
        return self._looked is None or self.clock() - self._looked >= INTERVAL

    async def _rest(self, job: Job, seconds: float) -> None:
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            await anyio.sleep(min(left, _LOOK_AGAIN))
            if left > _LOOK_AGAIN:
                await self._heed(job)

    async def _wait(self, job: Job, verdict: Verdict) -> None:
        began = self.clock()
        blind_since = dict.fromkeys(verdict.unreadable, began)
        told: tuple[set[str], float] = (set(), began)
        try:
            while not verdict.open:
                now = self.clock()
                blind_since = {name: blind_since.get(name, now) for name in verdict.unreadable}
                self._give_up(verdict, now - began, now - min(blind_since.values(), default=now))
                job.waiting = verdict.reason
                names = {*verdict.reasons, *verdict.unreadable}
                if told[0] != names or now - told[1] >= _REMIND:
                    told = names, now
                    job.events.emit(Waiting(reason=verdict.reason, seconds=_LOOK_AGAIN))
                await anyio.sleep(_LOOK_AGAIN)
                verdict = await self._look(job)
        finally:
            job.waiting = None

    def _give_up(self, verdict: Verdict, waited: float, blind: float) -> None:
        again = "start the same again: it goes on where it stopped"
        if verdict.unreadable and blind >= self.limits.patience:
            name, error = next(iter(verdict.unreadable.items()))
            todo = f"{error.todo}, or set" if error.todo else "Mend it, or set"
            raise RunPaused(
                f"the pressure signal {name} could not be read for {blind:.0f} s: {error.why}",
                f"{todo} {name} = false under [pressure] in datamig.toml; then {again}",
            )
        if self.limits.longest_wait is not None and waited >= self.limits.longest_wait:
            raise RunPaused(
                f"the server was under pressure for {waited:.0f} s: {verdict.reason}",
                f"When it is over, {again}; pressure.longest_wait says how long a run waits",
            )

    async def _look(self, job: Job) -> Verdict:
        """Read every signal, and what was asked for."""
        found: list[Verdict] = []

        async def look(_: Mode) -> None:
            async with job.db.acquire() as connection:  # in a dry run, too, not the ledger's session
                readings: dict[str, Reading | Unreadable] = {
                    signal.name: await _read(signal, connection) for signal in self.signals
                }
                control = None
                if not job.dry_run:
                    control = await job.ledger.runs.control(connection, job.run_id)
            found[:] = [_judged(readings, control)]
            for reading in readings.values():
                if isinstance(reading, Reading) and reading.warning:
                    self._warn(job, reading.warning)

        await persistently(job, "looking at the server's pressure", look, skip=False)
        self._looked = self.clock()
        (verdict,) = found
        self.workers.learn(self._looked, verdict.level)
        self._tell(job)
        self._obey(job, verdict.control)
        return verdict

    def _tell(self, job: Job) -> None:
        if not job.dry_run and self.working != self.workers.now:
            self.working = self.workers.now
            job.events.emit(WorkersSet(working=self.working, most=self.workers.most))

    async def _heed(self, job: Job) -> None:
        """Look for requests alone."""
        if job.dry_run:
            return
        asked: list[str | None] = []

        async def look(_: Mode) -> None:
            async with job.db.acquire() as connection:
                asked[:] = [await job.ledger.runs.control(connection, job.run_id)]

        await persistently(job, "looking for requests", look, skip=False)
        self._obey(job, asked[0])

    @staticmethod
    def _obey(job: Job, control: str | None) -> None:
        if control is not None:  # else `heed` looks at the error budget, which a rollback must not stop at
            job.heed(control)

    def _warn(self, job: Job, warning: str) -> None:
        if warning not in self._warned:
            self._warned.add(warning)
            job.warnings.append(warning)
            job.events.emit(Warned(message=warning))


async def _read(signal: Signal, connection: PoolConnectionProxy[Any]) -> Reading | Unreadable:
    """One signal, or why it cannot be read. A server that is gone is not the signal's fault."""
    try:
        return await signal.read(connection)
    except Unreadable as error:
        return error
    except asyncpg.PostgresError as error:
        if classify(error) is Fault.GONE:
            raise
        return Unreadable(f"the server answered {describe(error)}")
    except TimeoutError:
        return Unreadable("the server did not answer in time")


def _judged(readings: dict[str, Reading | Unreadable], control: str | None) -> Verdict:
    read = {name: reading for name, reading in readings.items() if isinstance(reading, Reading)}
    return Verdict(
        level=max((reading.level for reading in read.values()), default=0.0),
        reasons={name: reading.reason for name, reading in read.items() if reading.level >= 1},
        unreadable={name: error for name, error in readings.items() if isinstance(error, Unreadable)},
        control=control,
    )


@attrs.define
class Seats:
    """Lets as many of a sweep's workers claim windows as the gate allows; the others wait.

    Who leaves, or is lost by its executor, makes room for the next.
    """

    workers: WorkerCount
    _present: list[object] = attrs.field(factory=list)
    _over: anyio.Event = attrs.field(factory=anyio.Event)

    @contextlib.contextmanager
    def taken(self) -> Iterator[object]:
        """A seat for a worker, behind those that are there."""
        seat = object()
        self._present.append(seat)
        try:
            yield seat
        finally:
            self._present.remove(seat)

    async def may_claim(self, seat: object) -> bool:
        """Wait until the worker in this seat may claim a window; False when there is none any more."""
        while not self._allowed(seat) and not self._over.is_set():
            with anyio.move_on_after(INTERVAL):
                await self._over.wait()
        return self._allowed(seat)

    def _allowed(self, seat: object) -> bool:
        return self.workers.fixed or self._present.index(seat) < self.workers.now

    def end(self) -> None:
        """Tell that no window is left."""
        self._over.set()

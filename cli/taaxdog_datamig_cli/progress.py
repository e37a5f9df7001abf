"""Progress on stderr: a moving display at a terminal, a heartbeat line every few seconds elsewhere.

Reporters subscribe to the engine's events. A subscriber that raises would stop the run, so a reader that
went away (a closed pipe) only ends the reporting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TextIO

import attrs

from taaxdog_datamig import events
from taaxdog_datamig.events import (
    Checked,
    ChunkDone,
    Event,
    StepStarted,
    SweepStarted,
    TableStarted,
    Told,
    Waiting,
    Warned,
)
from taaxdog_datamig_cli.units import count, duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

#: Seconds between two heartbeat lines.
HEARTBEAT = 5.0


class Reporter(Protocol):
    """Shows what the engine does between `start` and `stop`."""

    def start(self, title: str) -> None:
        """Begin to show work called `title`."""

    def stop(self) -> None:
        """End showing it."""

    def __call__(self, event: Event) -> None:
        """Take in what happened."""


@attrs.define
class Meter:
    """Rows done of the table being worked on and of all tables, rate, and time left.

    The engine names all tables at the beginning; workers may then take them in turn.
    """

    clock: Callable[[], float] = time.monotonic
    table: str = ""
    expected: dict[str, int] = attrs.field(factory=dict)
    done: dict[str, int] = attrs.field(factory=dict)
    quarantined: int = 0
    since: float = 0.0

    def begin(self, table: str, rows: int) -> None:
        """Expect `rows` rows of `table` to change."""
        if not self.expected:
            self.since = self.clock()
        self.table = self.table or table
        self.expected[table] = rows

    def add(self, chunk: ChunkDone) -> None:
        """Count a finished chunk."""
        if not self.since:
            self.since = self.clock()
        self.table = chunk.table
        self.quarantined += chunk.quarantined
        self.done[chunk.table] = self.done.get(chunk.table, 0) + chunk.changed + chunk.quarantined

    @property
    def rows_done(self) -> int:
        """Rows done in all."""
        return sum(self.done.values())

    @property
    def rows_expected(self) -> int:
        """Rows expected in all; never fewer than are done."""
        return max(sum(self.expected.values()), self.rows_done)

    @property
    def rate(self) -> float:
        """Rows a second since the first table was named."""
        seconds = self.clock() - self.since
        return self.rows_done / seconds if seconds > 0 else 0.0

    def __str__(self) -> str:
        done, expected = self.done.get(self.table, 0), self.expected.get(self.table, 0)
        of = f" of {count(expected)} rows ({min(done / expected, 1):.0%})" if expected else " rows"
        parts = [f"{self.table} {count(done)}{of}"]
        if len(self.expected) > 1:
            parts.append(f"in all {self.rows_done / max(self.rows_expected, 1):.0%}")
        if self.quarantined:
            parts.append(f"{count(self.quarantined)} quarantined")
        if rate := self.rate:
            parts.append(f"{count(round(rate))} rows/s")
            if left := self.rows_expected - self.rows_done:
                parts.append(f"about {duration(left / rate)} left")
        return ", ".join(parts)


def _far(event: events.Progress | Checked) -> str:
    """How far one long statement is, or a validation."""
    if isinstance(event, Checked):
        return f"{event.done} of {event.total} done, the last {event.what}"
    share = f" {min(event.done / event.total, 1):.0%}" if event.total else ""
    return f"{event.table}: {event.phase}{share}"


class Silent:
    """Shows nothing."""

    def start(self, title: str) -> None:
        """Show nothing."""

    def stop(self) -> None:
        """Show nothing."""

    def __call__(self, event: Event) -> None:
        """Show nothing."""


class Heartbeat:
    """Plain lines: each step once, and how far it is every few seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._clock = stream, clock
        self._meter = Meter(clock=clock)
        self._title, self._last, self._reason = "", 0.0, ""
        self._open = True
        self._warned: set[str] = set()

    def start(self, title: str) -> None:
        """Name what begins; every line carries the name."""
        self._meter = Meter(clock=self._clock)
        self._title, self._last, self._reason = title, self._clock(), ""

    def stop(self) -> None:
        """Nothing is left to clean up."""

    def __call__(self, event: Event) -> None:
        """Write a line if it is time for one."""
        match event:
            case StepStarted(step=step):
                self._write(step)
            case TableStarted(table=table, rows=rows):
                self._meter.begin(table, rows)
            case SweepStarted(table=table, sweep=sweep, rows=rows):
                self._write(f"{table}: sweep {sweep} over {count(rows)} rows")
            case Waiting(reason=reason) if reason != self._reason:
                self._reason = reason
                self._write(f"waits: {reason}")
            case events.Progress() | Checked() if self._clock() - self._last >= HEARTBEAT:
                self._write(_far(event))
            case Warned(message=message) if message not in self._warned:
                self._warned.add(message)
                self._write(f"warning: {message}")
            case Told(message=message):
                self._write(message)
            case ChunkDone():
                self._reason = ""
                self._meter.add(event)
                if self._clock() - self._last >= HEARTBEAT:
                    self._write(str(self._meter))

    def _write(self, text: str) -> None:
        self._last = self._clock()
        if not self._open:
            return
        try:
            self._stream.write(f"{self._title}: {text}\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader is gone; the work goes on
            self._open = False


class Live:
    """A bar for each table, its rate and time left, and the step or the reason for waiting."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter = Meter(clock=clock)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._title = ""

    def start(self, title: str) -> None:
        """Open the display."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._title = title
        self._meter = Meter(clock=self._meter.clock)
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True, highlight=False),
            refresh_per_second=4,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=None, note="")
        self._progress.start()

    def stop(self) -> None:
        """Close the display and leave the terminal clean."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def __call__(self, event: Event) -> None:
        """Bring the display up to date."""
        if self._progress is None or self._task is None:
            return
        match event:
            case StepStarted(step=step):
                self._update(total=None, completed=0, note=step)
            case TableStarted(table=table, rows=rows):
                self._meter.begin(table, rows)
                self._update(total=self._meter.rows_expected or None, completed=0, note=str(self._meter))
            case SweepStarted(table=table, sweep=sweep, rows=rows):
                self._update(total=None, completed=0, note=f"{table}: sweep {sweep} over {count(rows)} rows")
            case events.Progress() | Checked():
                self._update(total=event.total or None, completed=event.done, note=_far(event))
            case Waiting(reason=reason):
                self._update(note=f"waits: {reason}")
            case Warned(message=message):  # the answer has it, too
                self._update(note=f"warning: {message}")
            case Told(message=message):
                self._update(note=message)
            case ChunkDone():
                self._meter.add(event)
                total = self._meter.rows_expected or None
                self._update(total=total, completed=self._meter.rows_done, note=str(self._meter))

    @property
    def note(self) -> str:
        """What stands behind the bar."""
        return str(self._progress.tasks[0].fields["note"]) if self._progress and self._progress.tasks else ""

    def _update(self, *, note: str, total: float | None = None, completed: float | None = None) -> None:
        assert self._progress is not None
        assert self._task is not None
        if completed is None:
            self._progress.update(self._task, description=self._title, note=note)
        else:
            self._progress.update(
                self._task, description=self._title, note=note, total=total, completed=completed
            )


def loading(reporter: Reporter, rows: Mapping[str, int]) -> Callable[[str, int, int], None]:
    """A callback for loading `rows` (by table) that tells `reporter`: all tables as one, then each phase."""
    done: dict[str, int] = {}
    reporter(TableStarted(table="all tables", rows=sum(rows.values())))

    def tell(what: str, now: int, _total: int) -> None:
        before = done.get(what)
        done[what] = now
        if what in rows:
            more = now - (before or 0)
            reporter(
                ChunkDone(
                    table="all tables",
                    changed=more,
                    skipped=0,
                    quarantined=0,
                    conflicts=0,
                    seconds=0,
                    next_size=0,
                )
            )
        elif before is None:
            reporter(StepStarted(step=what))

    return tell

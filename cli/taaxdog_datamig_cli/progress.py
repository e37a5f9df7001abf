"""Progress on stderr: a moving display at a terminal, a heartbeat line every few seconds elsewhere.

Reporters subscribe to the engine's events. A subscriber that raises would stop the run, so a reader that
went away (a closed pipe) only ends the reporting.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, TextIO

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
from taaxdog_datamig_cli.meter import Meter
from taaxdog_datamig_cli.units import count

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live as LiveDisplay
    from rich.spinner import Spinner

#: Seconds between two heartbeat lines.
HEARTBEAT = 5.0
#: Columns of a bar.
_BAR = 20
#: The colour of what is done: red would look like something wrong.
_DONE = "cyan"


class Reporter(Protocol):
    """Shows what the engine does between `start` and `stop`."""

    def start(self, title: str) -> None:
        """Begin to show work called `title`."""

    def stop(self) -> None:
        """End showing it."""

    def __call__(self, event: Event) -> None:
        """Take in what happened."""


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
        self._meter(event)
        match event:
            case StepStarted(step=step):
                self._write(step)
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
    """A bar for each table, the figures of the moment, and the step or the reason for waiting."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._meter = Meter(clock=clock)
        self._display: LiveDisplay | None = None
        self._title = ""
        self._note = ""
        #: How far one long statement is: done and total, in its own unit.
        self._statement: tuple[int, int] | None = None
        self._spinner: Spinner | None = None

    def start(self, title: str) -> None:
        """Open the display."""
        from rich.console import Console
        from rich.live import Live as LiveDisplay

        self._title, self._note, self._statement = title, "", None
        self._meter = Meter(clock=self._meter.clock)
        console = Console(stderr=True, highlight=False)
        self._display = LiveDisplay(
            console=console, get_renderable=self.picture, refresh_per_second=4, transient=True
        )
        self._display.start()

    def stop(self) -> None:
        """Close the display and leave the terminal clean."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    def __call__(self, event: Event) -> None:
        """Take in what happened; the display draws itself."""
        self._meter(event)
        match event:
            case StepStarted(step=step):
                self._note, self._statement = step, None
            case SweepStarted(table=table, sweep=sweep, rows=rows):
                self._note = f"{table}: sweep {sweep} over {count(rows)} rows"
            case events.Progress() | Checked():
                self._note, self._statement = _far(event), (event.done, event.total)
            case Waiting(reason=reason):
                self._note = f"waits: {reason}"
            case Warned(message=message):  # the answer has it, too
                self._note = f"warning: {message}"
            case Told(message=message):
                self._note = message
            case ChunkDone():
                self._note, self._statement = "", None

    @property
    def note(self) -> str:
        """What is said at the moment."""
        return self._note or str(self._meter)

    def picture(self) -> RenderableType:
        """What is on the screen now: at most as wide as it is."""
        from rich.console import Group
        from rich.padding import Padding
        from rich.progress_bar import ProgressBar
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        meter = self._meter
        if self._spinner is None:
            self._spinner = Spinner("dots")
        head = Table.grid(padding=(0, 1))
        head.add_row(self._spinner, Text(f"{self._title}  {self._note}", overflow="ellipsis", no_wrap=True))
        parts: list[RenderableType] = [head]
        if self._statement is not None and self._statement[1]:
            done, total = self._statement
            done = min(done, total)
            parts.append(ProgressBar(total=total, completed=done, width=_BAR, complete_style=_DONE))
        if any(meter.expected.values()):
            bars = Table.grid(padding=(0, 2, 0, 0))
            bars.add_column(no_wrap=True)
            bars.add_column(width=_BAR)
            bars.add_column(justify="right", no_wrap=True)
            for table, expected in meter.expected.items():
                done = meter.done.get(table, 0)
                if not (expected or done):
                    continue
                bar = ProgressBar(total=max(expected, done, 1), completed=done, complete_style=_DONE)
                share = f"{min(done / expected, 1):.0%}" if expected else ""
                bars.add_row(Text(f"  {table}"), bar, Text(f"{count(done)} of {count(expected)}  {share:>4}"))
            parts.append(bars)
        # What does not fit goes on below, behind the same margin.
        parts += [Padding(Text(" · ".join(line)), (0, 0, 0, 2)) for line in meter.figures()]
        return Group(*parts)


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

"""What the engine tells the world while it works.

Events are plain values. They name tables, counts and reasons, never a row's values. Whoever shows
progress, logs or measures subscribes; a subscriber that raises stops the run, so it should not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import attrs


@attrs.frozen(kw_only=True)
class StepStarted:
    """A step of the run begins."""

    #: One of plan, preflight, validate-before, backup, execute, prove, validate-after, record, rollback.
    step: str


@attrs.frozen(kw_only=True)
class StepFinished:
    """A step of the run is over."""

    step: str
    seconds: float


@attrs.frozen(kw_only=True)
class TableStarted:
    """Rows of a table are about to be worked on."""

    table: str
    #: Rows expected to change; an estimate.
    rows: int


@attrs.frozen(kw_only=True)
class ChunkDone:
    """One transaction was committed (in a dry run: rolled back after it had succeeded)."""

    table: str
    changed: int
    skipped: int
    quarantined: int
    conflicts: int
    seconds: float
    #: Rows the next chunk will take.
    next_size: int
    #: Updates among `changed` that were heap-only; 0 where the server's counters do not tell.
    hot: int = 0


@attrs.frozen(kw_only=True)
class SweepStarted:
    """A closing sweep over rows that are still pending begins."""

    table: str
    sweep: int
    rows: int


@attrs.frozen(kw_only=True)
class Progress:
    """How far the server is with one long statement."""

    table: str
    #: What is being done: first in one word, then as the server calls it, such as "scanning heap".
    phase: str
    #: In blocks; both 0 in a phase that the server does not count.
    done: int
    total: int


@attrs.frozen(kw_only=True)
class Checked:
    """A validation is done with a table, or with a check that has a statement of its own."""

    #: The table's qualified name, or the check's id.
    what: str
    #: How many of them are done.
    done: int
    total: int


@attrs.frozen(kw_only=True)
class Waiting:
    """The engine waits; `reason` is fit to be shown to a person."""

    reason: str
    seconds: float


@attrs.frozen(kw_only=True)
class WalRead:
    """Where the server's write-ahead log was just now, everybody's writes included."""

    #: Bytes since the server was made.
    position: int


@attrs.frozen(kw_only=True)
class Warned:
    """Something a person should read; also kept in the report."""

    message: str


@attrs.frozen(kw_only=True)
class Told:
    """A migration says how it goes; see `Migration.log`."""

    message: str


Event: TypeAlias = (
    StepStarted
    | StepFinished
    | TableStarted
    | ChunkDone
    | SweepStarted
    | Progress
    | Checked
    | Waiting
    | WalRead
    | Warned
    | Told
)
Subscriber: TypeAlias = Callable[[Event], None]


_log = logging.getLogger("taaxdog_datamig")

_LEVELS: dict[type, int] = {
    Warned: logging.WARNING,
    ChunkDone: logging.DEBUG,
    Progress: logging.DEBUG,
    Checked: logging.DEBUG,
    WalRead: logging.DEBUG,
    Waiting: logging.INFO,
}


def log(event: Event) -> None:
    """A subscriber that hands events to `logging`.

    Chunks and progress at DEBUG, steps at INFO, warnings at WARNING.
    """
    level = _LEVELS.get(type(event), logging.INFO)
    if _log.isEnabledFor(level):
        details = " ".join(f"{name}={_shown(value)}" for name, value in attrs.asdict(event).items())
        _log.log(level, "%s %s", type(event).__name__, details)


def _shown(value: object) -> str:
    # With separators, since the redacting filter takes long runs of digits for somebody's number.
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if isinstance(value, float) else str(value)
    )


@attrs.define
class EventBus:
    """Hands each event to every subscriber, in the order they subscribed."""

    _subscribers: list[Subscriber] = attrs.field(factory=list)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with every event from now on."""
        self._subscribers.append(subscriber)

    def emit(self, event: Event) -> None:
        """Hand `event` to everyone."""
        for subscriber in self._subscribers:
            subscriber(event)

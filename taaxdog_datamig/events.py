"""What the engine tells the world while it works.

Events are plain values. They name tables, counts and reasons, never a row's values. Whoever shows
progress, logs or measures subscribes; a subscriber that raises stops the run, so it should not.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Literal, TypeAlias

import attrs

_log = logging.getLogger(__name__)

#: What can be asked for: see `RunStarted`.
Action: TypeAlias = Literal["run", "rollback", "retry"]


@attrs.frozen(kw_only=True)
class RunStarted:
    """A run was asked for, or that one be rolled back, or that its refused rows be tried again."""

    action: Action
    migration: str
    #: The database's name.
    database: str
    dry_run: bool


@attrs.frozen(kw_only=True)
class RunStatus:
    """The ledger has a new status for a run. Nothing is heard of a dry run, which has no record."""

    run_id: str
    #: See `engine.reports.RunStatus`.
    status: str


@attrs.frozen(kw_only=True)
class RunFinished:
    """What `RunStarted` told of is over, well or badly. Nothing more is heard of it."""

    action: Action
    migration: str
    database: str
    dry_run: bool
    #: None where no run was recorded: a dry run, nothing to do, refused before it began.
    run_id: str | None
    #: The run's status now, as in a run report; where a run did not get so far "refused" or "failed", and
    #: "abandoned" where this process can work on it no longer, so that another must.
    status: str
    #: Whether people should look. What somebody asked for, a pause or a cancellation, is no failure.
    failed: bool
    seconds: float
    estimated_rows: int = 0
    #: Of a rollback: rows restored.
    changed_rows: int = 0
    quarantined_rows: int = 0
    left_rows: int = 0
    conflicts: int = 0
    chunks: int = 0
    rows_per_second: float = 0.0
    #: The error's class; None where there was none.
    error: str | None = None
    #: What happened, and what to do about it; empty where the error is not one of ours.
    reason: str = ""
    hint: str = ""


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
    #: Rows the next chunk may take. Fewer, where a page may not give as many yet.
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


@attrs.frozen
class Finding:
    """Rows that break a rule."""

    check: str
    severity: str
    #: Qualified name.
    table: str
    rows: int


@attrs.frozen(kw_only=True)
class Validated:
    """A validation is over."""

    #: The database's name.
    database: str
    #: What was looked at: all of it, a part or one user's rows, or what a run changes, before it or after it.
    scope: Literal["database", "part", "before", "after"]
    #: Checks that were made, and that apply but could not be.
    made: int
    unmade: int
    #: The worst first.
    findings: tuple[Finding, ...]
    seconds: float


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
class WorkersSet:
    """So many workers may be at work from now on, of so many at the most. Not heard of a dry run."""

    working: int
    most: int


@attrs.frozen(kw_only=True)
class Warned:
    """Something a person should read; also kept in the report."""

    message: str


@attrs.frozen(kw_only=True)
class Told:
    """A migration says how it goes; see `Migration.log`."""

    message: str


Event: TypeAlias = (
    RunStarted
    | RunStatus
    | RunFinished
    | StepStarted
    | StepFinished
    | TableStarted
    | ChunkDone
    | SweepStarted
    | Progress
    | Checked
    | Validated
    | Waiting
    | WalRead
    | WorkersSet
    | Warned
    | Told
)
Subscriber: TypeAlias = Callable[[Event], None]


@attrs.define
class EventBus:
    """Hands each event to every subscriber, in the order they subscribed."""

    _subscribers: list[Subscriber] = attrs.field(factory=list)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with every event from now on."""
        self._subscribers.append(subscriber)

    @contextlib.contextmanager
    def hearing(self, subscriber: Subscriber) -> Iterator[None]:
        """Call `subscriber` with every event of the block."""
        self._subscribers.append(subscriber)
        try:
            yield
        finally:
            self._subscribers.remove(subscriber)

    def emit(self, event: Event) -> None:
        """Hand `event` to everyone."""
        for subscriber in self._subscribers:
            subscriber(event)

    def announce(self, event: Event) -> None:
        """Hand `event` to everyone, also where it can stop nothing any more: what they raise is logged."""
        for subscriber in list(self._subscribers):
            try:
                subscriber(event)
            except Exception as error:  # noqa: BLE001 - a settled run is not spoilt by who watches it
                _log.warning("a subscriber failed at %s: %s", type(event).__name__, type(error).__name__)

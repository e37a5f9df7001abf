"""What a run's events add up to: rows by table, rate, time left, and how the server bears it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.events import ChunkDone, TableStarted, WalRead, WorkersSet
from taaxdog_datamig_cli.units import count, duration, size

if TYPE_CHECKING:
    from taaxdog_datamig.events import Event

#: Seconds that the rate of the moment looks back, and those of one of its parts.
_WINDOW, _PART = 60.0, 2.0
#: Parts that are needed to say how much the rate varies.
_PARTS = 5
#: Chunks whose size is averaged.
_CHUNKS = 20
#: An interval narrower than this is one number.
_NARROW = 1.15


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
    conflicts: int = 0
    #: Workers at work, and at the most; 0 before that is known.
    workers: int = 0
    most_workers: int = 0
    #: Bytes of WAL a second, of the whole server; None where it does not tell.
    wal_rate: float | None = None
    since: float = 0.0
    _changed: int = 0
    _hot: int = 0
    #: Moments and rows done by then, one for each part of the window.
    _marks: deque[tuple[float, int]] = attrs.field(factory=deque)
    _wal: tuple[float, int] | None = None
    _sizes: deque[int] = attrs.field(factory=lambda: deque(maxlen=_CHUNKS))

    def __call__(self, event: Event) -> None:
        """Take in what happened, as far as it counts."""
        match event:
            case TableStarted():
                self._begin(event.table, event.rows)
            case ChunkDone():
                self._add(event)
            case WalRead():
                self._read(event)
            case WorkersSet():
                self.workers, self.most_workers = event.working, event.most

    def _begin(self, table: str, rows: int) -> None:
        """Expect `rows` rows of `table` to change."""
        if not self.expected:
            self._start()
        self.table = self.table or table
        self.expected[table] = rows

    def _start(self) -> None:
        self.since = self.clock()
        self._marks.append((self.since, 0))

    def _add(self, chunk: ChunkDone) -> None:
        """Count a finished chunk."""
        if not self.since:
            self._start()
        self.table = chunk.table
        self.quarantined += chunk.quarantined
        self.conflicts += chunk.conflicts
        # An event may stand for several chunks, whose average it then tells as the size.
        if size := min(chunk.changed + chunk.quarantined + chunk.conflicts, chunk.next_size):
            self._sizes.append(size)
        self._changed += chunk.changed
        self._hot += chunk.hot
        self.done[chunk.table] = self.done.get(chunk.table, 0) + chunk.changed + chunk.quarantined
        now = self.clock()
        if now - self._marks[-1][0] >= _PART:
            self._marks.append((now, self.rows_done))
            while now - self._marks[0][0] > _WINDOW:
                self._marks.popleft()

    def _read(self, wal: WalRead) -> None:
        """Take in where the server's log is."""
        now = self.clock()
        if self._wal is not None and now > self._wal[0]:
            self.wal_rate = max(0.0, (wal.position - self._wal[1]) / (now - self._wal[0]))
        self._wal = (now, wal.position)

    @property
    def rows_done(self) -> int:
        """Rows done in all."""
        return sum(self.done.values())

    @property
    def rows_expected(self) -> int:
        """Rows expected in all; never fewer than are done."""
        return max(sum(self.expected.values()), self.rows_done)

    @property
    def hot_ratio(self) -> float | None:
        """Share of heap-only updates; None before the first change."""
        return self._hot / self._changed if self._changed and self._hot else None

    @property
    def rate(self) -> float:
        """Rows a second of late: over the window, or since the first table was named."""
        began, before = self._marks[0] if self._marks else (self.since, 0)
        seconds = self.clock() - began
        return (self.rows_done - before) / seconds if seconds > 0 else 0.0

    @property
    def left(self) -> tuple[float, float] | None:
        """Seconds left, at the better and at the worse rates of late; None where nobody knows."""
        rows, rate = self.rows_expected - self.rows_done, self.rate
        if not rows or not rate:
            return None
        marks = list(self._marks)
        rates = sorted(
            (after - before) / (then - first) for (first, before), (then, after) in pairwise(marks)
        )
        if len(rates) < _PARTS:
            return rows / rate, rows / rate
        low, high = rates[len(rates) // 10], rates[-1 - len(rates) // 10]
        # A part that was spent waiting says nothing of how long the rest takes.
        return rows / max(high, rate), rows / (min(low, rate) or rate)

    def time_left(self) -> str:
        """The time left as a person says it; empty where nobody knows."""
        if (left := self.left) is None:
            return ""
        shortest, longest = left
        if longest < _NARROW * shortest or duration(shortest) == duration(longest):
            return f"about {duration(sum(left) / 2)} left"
        return f"{duration(shortest)} to {duration(longest)} left"

    def figures(self) -> list[list[str]]:
        """Rate, time left and chunks; who works, and how the server bears it. What is unknown is left out."""
        parts = []
        if rate := self.rate:
            parts.append(f"{count(round(rate))} rows/s")
            if told := self.time_left():
                parts.append(told)
        if self._sizes:
            parts.append(f"chunks of {count(round(sum(self._sizes) / len(self._sizes)))}")
        return [line for line in (parts, self._load()) if line]

    def _load(self) -> list[str]:
        parts = self._staff()
        if self.hot_ratio is not None:
            parts.append(f"{self.hot_ratio:.0%} heap-only")
        if self.wal_rate is not None:
            parts.append(f"WAL {size(round(self.wal_rate))}/s")
        if self.conflicts:
            parts.append(f"{count(self.conflicts)} read again")
        if self.quarantined:
            parts.append(f"{count(self.quarantined)} quarantined")
        return parts

    def _staff(self) -> list[str]:
        """How many workers are at work, where there may be several."""
        if self.most_workers <= 1:
            return []
        of = "" if self.workers == self.most_workers else f"{self.workers} of "
        return [f"{of}{self.most_workers} workers"]

    def __str__(self) -> str:
        """One line: the table being worked on, all of them, rate and time left."""
        done, expected = self.done.get(self.table, 0), self.expected.get(self.table, 0)
        of = f" of {count(expected)} rows ({min(done / expected, 1):.0%})" if expected else " rows"
        parts = [f"{self.table} {count(done)}{of}"]
        if len(self.expected) > 1:
            parts.append(f"in all {self.rows_done / max(self.rows_expected, 1):.0%}")
        parts += self._staff()
        if self.quarantined:
            parts.append(f"{count(self.quarantined)} quarantined")
        if rate := self.rate:
            parts.append(f"{count(round(rate))} rows/s")
            if told := self.time_left():
                parts.append(told)
        return ", ".join(parts)

"""How large a chunk may be, and how many workers may work.

The clock is the caller's: controllers are told how long chunks took, and what time it is.
"""

from __future__ import annotations

from collections import deque

import attrs

#: Bytes one transaction may rewrite: time alone misleads under write pressure.
CHUNK_BYTES = 4 << 20
#: Chunks looked back at. Few, and forgotten at each change: an average that reaches back before the
#: last change keeps pushing the wrong way.
_HISTORY = 11
_GROWTH = 1.5
_SETTLED = 4
#: A chunk this many times over target is an accident, and the answer is immediate.
_ACCIDENT = 5


@attrs.define
class ChunkSize:
    """Steers the rows of a chunk towards a target time; `fixed` sets them by hand.

    Args:
        target: seconds a chunk should take.
        fixed: rows, from `--batch-size`.
    """

    target: float
    fixed: int | None = None
    least: int = 10
    most: int = 20_000
    _rows: int = 1000
    _rates: deque[float] = attrs.field(factory=lambda: deque(maxlen=_HISTORY))

    @property
    def rows(self) -> int:
        """Rows the next chunk may have."""
        return self.fixed or self._rows

    def learn(self, rows: int, seconds: float, size: int = 0) -> None:
        """Take in that a chunk of `rows` rows and `size` bytes took `seconds`."""
        if self.fixed or rows == 0:
            return
        if seconds > _ACCIDENT * self.target:
            # From the size that was too large: several chunks in flight meet the same stall, and each
            # cutting down what the one before left would end at the bottom.
            self._set(min(rows // 10, self._rows))
            return
        self._rates.append(seconds / rows)
        if len(self._rates) < _SETTLED:
            return
        slow = sorted(self._rates)[int(0.9 * (len(self._rates) - 1) + 0.5)]
        wanted = self.target / max(slow, 1e-9)
        if size:
            wanted = min(wanted, CHUNK_BYTES * rows / size)
        self._set(int(min(max(wanted, self._rows / 2), self._rows * _GROWTH)))

    def _set(self, rows: int) -> None:
        rows = max(self.least, min(rows, self.most))
        if rows != self._rows:
            self._rows = rows
            self._rates.clear()


#: Seconds between two moves of the number of workers: what the last one did must show first.
SETTLING = 15.0
#: How near a limit pressure is low, so that one worker more is tried; and high, so that one goes.
LOW, HIGH, OVER = 0.5, 0.8, 1.0


@attrs.define
class WorkerCount:
    """Steers how many workers work by how near its limits the server is.

    Args:
        most: workers at the most.
        fixed: always that many.
    """

    most: int
    fixed: bool = True
    _now: int = 1
    _moved: float | None = None

    @property
    def now(self) -> int:
        """Workers that may work."""
        return self.most if self.fixed else self._now

    def learn(self, now: float, level: float) -> None:
        """Take in that at `now` seconds the server is at `level` of the limit that it is nearest to."""
        if self._moved is None:  # the first worker, too, must show what it does
            self._moved = now
        if now - self._moved < SETTLING:
            return
        wanted = self._now
        if level >= OVER:
            wanted //= 2
        elif level >= HIGH:
            wanted -= 1
        elif level < LOW:
            wanted += 1
        wanted = max(1, min(wanted, self.most))
        if wanted != self._now:
            self._now, self._moved = wanted, now

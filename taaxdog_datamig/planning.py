"""Windows, waves and chunks: which rows are read together and which change together. Pure arithmetic.

A *window* is a range of heap blocks, read at once. A *wave* takes about one row in WAVES of each of its
pages: a page that is full has no room for new row versions, so changing all its rows in one transaction
moves every row elsewhere and writes every index. The first wave moves its rows away; once it has
committed, the next one finds that room and its updates are heap-only. A *chunk* is what one transaction
changes: a wave, or a part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import attrs

T = TypeVar("T")

#: Blocks a window. With WAVES a chunk then has about 700 rows of the size of `users`.
WINDOW_BLOCKS = 700
#: About one row of each page of `users` a wave: 16 moved 2 % more of the rows, 24 no fewer.
WAVES = 20
#: Writers of a worker: while the server changes rows of one, the other commits and prepares its next chunk.
WRITERS = 2
#: Parts of windows whose waves a writer writes in turn, so that a page rests between its waves; and how many
#: where its only worker's two statements may overlap: 2 % less growth for 17 MB.
PARTS_IN_TURN = 2
PARTS_ALONE = 3
#: Connections of a worker: it reads ahead over one more.
CONNECTIONS = WRITERS + 1
#: Rows that a wave should have at least.
WAVE_ROWS = 200
#: Rows held in memory of one window; a window with more is read in parts.
WINDOW_ROWS = 20_000
#: Bytes of one read; the number of rows follows from the size of the rows seen so far.
READ_BYTES = 4 << 20


@attrs.frozen
class Window:
    """Heap blocks `start` to `end` - 1 of a relation."""

    relation: str
    start: int
    end: int


def windows(relation: str, pages: int, size: int = WINDOW_BLOCKS) -> Iterator[Window]:
    """Cover `pages` blocks. What is written beyond them meanwhile is for the closing sweep."""
    for start in range(0, pages, size):
        yield Window(relation, start, min(start + size, pages))


def waves(tids: Sequence[tuple[int, int]], count: int = WAVES) -> list[list[int]]:
    """Distribute rows, given by (block, line pointer), over at most `count` waves.

    Returns positions, in heap order. A few rows make fewer waves: a transaction has a cost of its own.
    """
    count = max(1, min(count, len(tids) // WAVE_ROWS))
    result: list[list[int]] = [[] for _ in range(count)]
    for position, (_, line) in enumerate(tids):
        result[line % count].append(position)
    return [wave for wave in result if wave]


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut into parts of `size` that differ by one at the most, so that no tail is nearly empty."""
    if not items:
        return
    parts = -(-len(items) // size)
    for part in range(parts):
        yield items[len(items) * part // parts : len(items) * (part + 1) // parts]


@attrs.define
class ReadSize:
    """How many rows to read at once, so that a read stays near READ_BYTES whatever the rows' size."""

    rows: int = 64

    def learn(self, rows: int, size: int) -> None:
        """Take in that `rows` rows were `size` bytes."""
        if rows:
            wanted = READ_BYTES * rows // max(size, 1)
            self.rows = max(1, min(wanted, self.rows * 8, WINDOW_ROWS))

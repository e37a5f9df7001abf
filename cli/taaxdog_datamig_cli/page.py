"""A page: what a person reads, before it is known whether a terminal or a pipe will show it.

A terminal gets colour and tables that fit its width; a pipe gets plain lines that nothing wraps or cuts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

import attrs

if TYPE_CHECKING:
    from rich.console import RenderableType

Tone: TypeAlias = Literal["plain", "head", "good", "warn", "bad", "dim"]

_STYLES: dict[Tone, str] = {
    "plain": "",
    "head": "bold",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
    "dim": "dim",
}

#: Columns of the screen between two of a table, and the longest word for which one is made wider.
_GAP, _WORD = 2, 18
_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@attrs.frozen
class Line:
    """One line of text."""

    text: str
    tone: Tone = "plain"


@attrs.frozen
class Facts:
    """Names and what they are."""

    pairs: Sequence[tuple[str, str]]


@attrs.frozen
class Table:
    """Rows under headings; columns named in `numbers` are set flush right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()


Block: TypeAlias = Line | Facts | Table
Page: TypeAlias = Sequence[Block]


def write_plain(page: Page, stream: TextIO) -> None:
    """Write `page` as lines without colour, however wide they are."""
    for block in page:
        stream.writelines(f"{line.rstrip()}\n" for line in _plain_lines(block))


def write_rich(page: Page, stream: TextIO) -> None:
    """Write `page` for a terminal. NO_COLOR is respected."""
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for block in page:
        console.print(_renderable(block, console.width))


def _plain_lines(block: Block) -> Iterator[str]:
    match block:
        case Line(text=text):
            yield _inert(text)
        case Facts(pairs=pairs):
            width = max((len(name) for name, _ in pairs), default=0)
            for name, value in pairs:
                yield f"  {name.ljust(width)}  {_inert(value)}"
        case Table():
            widths = [
                max(len(row[place]) for row in (block.columns, *block.rows))
                for place in range(len(block.columns))
            ]
            for row in (block.columns, *block.rows):
                yield "  " + "  ".join(
                    _inert(cell.rjust(width) if column in block.numbers else cell.ljust(width))
                    for column, cell, width in zip(block.columns, row, widths, strict=True)
                )


def _inert(text: str) -> str:
    """Without characters that steer a terminal: a row's key or a table's name may hold them."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def _renderable(block: Block, width: int) -> RenderableType:
    from rich.table import Table as RichTable
    from rich.text import Text

    match block:
        case Line(text=text, tone=tone):
            return Text(_inert(text), style=_STYLES[tone])
        case Facts(pairs=pairs):
            grid = RichTable.grid(padding=(0, 2, 0, 0))
            grid.add_column(style="dim", no_wrap=True)
            grid.add_column(overflow="fold")
            for name, value in pairs:
                grid.add_row(f"  {name}", Text(_inert(value)))
            return grid
        case Table():
            return _table(block, width) or _stack(block)


def _table(block: Table, width: int) -> RenderableType | None:
    """The rows under their headings, wrapped between words; None where there is no room for that."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    if (widths := _widths(block, width)) is None:
        return None
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, _GAP - 1, 0, 0), header_style="bold")
    for column, wide in zip(block.columns, widths, strict=True):
        justify: Literal["left", "right"] = "right" if column in block.numbers else "left"
        table.add_column(column, justify=justify, overflow="fold", width=wide)
    for row in block.rows:
        table.add_row(*(Text(_inert(cell)) for cell in row))
    return table


def _widths(block: Table, width: int) -> list[int] | None:
    """How wide each column is, so that no word is broken which need not be; None where they do not fit."""
    columns = list(zip(block.columns, *block.rows, strict=True))
    most = [max(map(len, cells)) for cells in columns]
    widths = [max(len(word) for cell in cells for word in cell.split() or ("",)) for cells in columns]
    # The first column names the row, so that it can be copied whole.
    widths = [most[0], *(min(wide, _WORD) for wide in widths[1:])]
    room = width - sum(widths) - _GAP * (len(widths) + 1)
    if room < 0:
        return None
    for place in sorted(range(len(widths)), key=lambda place: most[place] - widths[place]):
        more = min(most[place] - widths[place], room)
        widths[place] += more
        room -= more
    return widths


def _stack(block: Table) -> RenderableType:
    """The rows one under the other: what names each, then what is known of it."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = []
    for first, *others in block.rows:
        pairs = [pair for pair in zip(block.columns[1:], others, strict=True) if pair[1]]
        parts += [Text(_inert(first), style="bold"), _renderable(Facts(pairs), 0)]
    return Group(*parts)

"""Charts as inline SVG: bars, lines over time, and lines small enough for a table.

Colours are classes of the page's style sheet, so that they follow its dark and light forms. Each chart says
in words what it shows; each line has its own dashes, since not everybody can tell colours apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from taaxdog_datamig.pages.words import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Units of the drawing; it is scaled to the room there is.
_WIDTH: Final = 480
_ROW: Final = 24
_LABEL: Final = 170
_VALUE: Final = 150
#: Longest label in characters.
_LETTERS: Final = 25
_HEIGHT: Final = 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 10, 24
_DASHES: Final = ("", "6 3", "2 3", "8 3 2 3", "1 5")
_SPARK: Final = (72, 18)


@attrs.frozen
class Bar:
    """A bar."""

    label: str
    value: float
    #: What stands behind it.
    text: str
    #: A class of the style sheet.
    tone: str = "plain"


@attrs.frozen
class Series:
    """A line: a value for each moment, or None where there is none; the line goes past it."""

    label: str
    values: Sequence[int | None]
    tone: str = "plain"


def bars(title: str, rows: Sequence[Bar]) -> str:
    """A bar for each row, one under the other."""
    top = max((row.value for row in rows), default=0) or 1
    room = _WIDTH - _LABEL - _VALUE
    parts = []
    for place, row in enumerate(rows):
        y, high = place * _ROW, _ROW - 8
        width = max(room * row.value / top, 1.5 if row.value else 0)
        parts.append(
            f"<g><title>{escaped(row.label)}: {escaped(row.text)}</title>"
            f'<text x="{_LABEL - 8}" y="{y + 16}" text-anchor="end">{escaped(_short(row.label))}</text>'
            f'<rect class="fill-{row.tone}" x="{_LABEL}" y="{y + 4}" width="{width:.1f}" height="{high}"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 16}">{escaped(row.text)}</text></g>'
        )
    told = "; ".join(f"{row.label}: {row.text}" for row in rows)
    return _svg(title, told, _WIDTH, max(len(rows), 1) * _ROW, "".join(parts))


def lines(title: str, series: Sequence[Series], moments: Sequence[str]) -> str:
    """A line for each series over the same moments, two at least, with a legend."""
    top = _ceiling(max((value for line in series for value in line.values if value), default=0))
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    parts = []
    for share in (0, 0.5, 1):
        y = bottom - share * (bottom - _TOP)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:,.10g}</text>'
        )
    parts += [
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{escaped(moments[0])}</text>',
        f'<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end">{escaped(moments[-1])}</text>',
    ]
    legend, told = [], []
    for place, line in enumerate(series):
        dashes = f' stroke-dasharray="{_DASHES[place % len(_DASHES)]}"' if place else ""
        points = _points(line.values, top, (_LEFT, _TOP, right, bottom))
        parts.append(f'<polyline class="line-{line.tone}"{dashes} points="{points}"/>')
        known = [value for value in line.values if value is not None] or [0]
        told.append(f"{line.label} from {known[0]:,} to {known[-1]:,}")
        legend.append(
            f'<li><svg width="28" height="8" aria-hidden="true">'
            f'<line class="line-{line.tone}"{dashes} x1="0" x2="28" y1="4" y2="4"/></svg> '
            f"{escaped(line.label)} {known[-1]:,}</li>"
        )
    drawing = _svg(title, "; ".join(told), _WIDTH, _HEIGHT, "".join(parts))
    return f'{drawing}<ul class="legend">{"".join(legend)}</ul>'


def spark(values: Sequence[int]) -> str:
    """A line that fits a cell."""
    width, height = _SPARK
    points = _points(values, max(values) or 1, (2, 2, width - 2, height - 2))
    told = f"from {values[0]:,} to {values[-1]:,} over {len(values)} validations"
    inner = f'<polyline class="line-plain" points="{points}"/>'
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{told}</title>{inner}</svg>"
    )


def _svg(title: str, told: str, width: int, height: int, inner: str) -> str:
    label = escaped(f"{title}. {told}")
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{inner}</svg>'


def _points(values: Sequence[int | None], top: float, box: tuple[float, float, float, float]) -> str:
    left, upper, right, lower = box
    step = (right - left) / max(len(values) - 1, 1)
    return " ".join(
        f"{left + place * step:.1f},{lower - (lower - upper) * value / top:.1f}"
        for place, value in enumerate(values)
        if value is not None
    )


def _ceiling(value: float) -> float:
    """The next round number, even so that its half is whole."""
    size = 1
    while True:
        for step in (2, 4, 6, 10):
            if value <= step * size:
                return step * size
        size *= 10


def _short(label: str) -> str:
    return label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}…"

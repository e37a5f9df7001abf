"""What archives and backups tell of tables that have changed since."""

from __future__ import annotations

from collections.abc import Sequence

from taaxdog_datamig.pg.drift import Drift
from taaxdog_datamig_cli.page import Line


def drift_lines(drift: Sequence[Drift]) -> list[Line]:
    """One line a column, under a heading; none where nothing has changed."""
    if not drift:
        return []
    lines = [Line("The tables have changed since:", "warn")]
    for each in drift:
        change = f"{each.was or 'absent'} is {each.now or 'gone'}"
        lines.append(Line(f"  {each.table}.{each.column}: {change}: {each.effect}"))
    return lines

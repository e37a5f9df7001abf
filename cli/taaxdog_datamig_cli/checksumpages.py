"""Pages of checksums, and of how two databases differ."""

from __future__ import annotations

from taaxdog_datamig.checksum.reports import ChecksumReport, DiffReport, TableDiff
from taaxdog_datamig_cli.page import Block, Line, Page, Table
from taaxdog_datamig_cli.units import count, duration

#: Rows of a table that are named; all are counted.
_SHOWN = 20


def checksums_page(report: ChecksumReport) -> Page:
    """Rows and checksum of each table."""
    if not report.tables:
        return [Line("No table.")]
    return [
        Table(
            ("table", "rows", "checksum"),
            [(name, count(table.rows), table.checksum) for name, table in report.tables.items()],
            numbers=frozenset({"rows"}),
        )
    ]


def diff_page(report: DiffReport) -> Page:
    """What differs, table by table."""
    numbers = ("rows here", "rows there", "only here", "only there", "differing")
    blocks: list[Block] = [
        Table(
            ("table", "status", *numbers),
            [
                (
                    name,
                    table.status,
                    *(
                        "" if number is None else count(number)
                        for number in (
                            table.rows_here,
                            table.rows_there,
                            table.only_here,
                            table.only_there,
                            table.differing,
                        )
                    ),
                )
                for name, table in report.tables.items()
            ],
            numbers=frozenset(numbers),
        )
    ]
    for name, table in report.tables.items():
        blocks += _details(name, table)
    differing = sum(table.status != "same" for table in report.tables.values())
    verdict = f"{count(differing)} of {count(len(report.tables))} tables differ" if differing else "Equal"
    blocks.append(Line(f"{verdict} ({duration(report.seconds)}).", "warn" if differing else "good"))
    return blocks


def _details(name: str, table: TableDiff) -> Page:
    lines = []
    if table.note:
        lines.append(f"{name}: {table.note}")
    for side, columns in (("here", table.columns_only_here), ("there", table.columns_only_there)):
        if columns:
            lines.append(f"{name}: columns only {side}: {', '.join(columns)}")
    if table.rows:
        lines.append(f"{name}, by {', '.join(table.key)}:")
        lines += [f"  {row.status:10}  {', '.join(row.key)}" for row in table.rows[:_SHOWN]]
        found = (table.only_here or 0) + (table.only_there or 0) + (table.differing or 0)
        if found > _SHOWN:
            lines.append(f"  and {count(found - _SHOWN)} more")
    return [Line(line) for line in lines]

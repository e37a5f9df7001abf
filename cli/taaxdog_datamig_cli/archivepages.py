"""Pages of what is told of archives: list, details, restore."""

from __future__ import annotations

from taaxdog_datamig.engine.archive_reports import ArchiveDetails, ArchiveRecord, ArchiveRestore
from taaxdog_datamig_cli.answers import Archives
from taaxdog_datamig_cli.driftpages import drift_lines
from taaxdog_datamig_cli.page import Block, Facts, Line, Page, Table, Tone
from taaxdog_datamig_cli.units import count, duration, moment, size

#: The beginning of an id is enough for every command, and leaves room in a table.
_ID_SHOWN = 8
_TO_THE_MINUTE = len("2026-03-01 12:00")
_REFUSED_SHOWN = 20

_TONES: dict[str, Tone] = {"complete": "good", "incomplete": "warn", "damaged": "bad"}
_VERIFIED = {
    "rows": "every part opened, its rows counted",
    "checksums": "checksums only: the key that sealed it is not configured",
    "nothing": "no",
}


def archives_page(answer: Archives) -> Page:
    """The archives of a folder."""
    if not answer.archives:
        return [Line(f"No archive in {answer.folder}.")]
    return [
        Table(
            ("archive", "state", "migration", "made", "rows", "size", "sealed", "problem"),
            [
                (
                    record.id[:_ID_SHOWN],
                    record.state,
                    f"{record.migration} {record.version}" if record.migration else "",
                    moment(record.created_at)[:_TO_THE_MINUTE] if record.created_at else "",
                    "" if record.rows is None else count(record.rows),
                    "" if record.bytes is None else size(record.bytes),
                    _sealed(record),
                    record.problem,
                )
                for record in answer.archives
            ],
            numbers=frozenset({"rows", "size"}),
        )
    ]


def _sealed(record: ArchiveRecord) -> str:
    if record.migration is None:
        return ""
    return "no" if record.kid is None else f"key {record.kid}"


def archive_page(archive: ArchiveDetails) -> Page:
    """What an archive holds."""
    blocks: list[Block] = [Line(f"archive {archive.id}: {archive.state}", _TONES[archive.state])]
    if archive.problem:
        blocks.append(Line(archive.problem, "bad"))
    pairs = [("folder", archive.path)]
    if archive.created_at is not None:
        pairs += [
            ("migration", f"{archive.migration} {archive.version}"),
            ("database", str(archive.database)),
            ("made", moment(archive.created_at)),
            ("rows", count(archive.rows or 0)),
            ("parts", f"{count(archive.parts)} of {archive.format}, {size(archive.bytes or 0)}"),
            ("sealed", _sealed(archive)),
            ("manifest signed", "yes" if archive.signed else "no"),
            ("verified", _VERIFIED[archive.verified]),
        ]
    blocks.append(Facts(pairs))
    if archive.tables:
        blocks.append(
            Table(
                ("table", "rows", "was", "key", "columns"),
                [
                    (
                        table.table,
                        count(table.rows),
                        table.relation.replace('"', ""),
                        ", ".join(table.key),
                        ", ".join(table.columns),
                    )
                    for table in archive.tables
                ],
                numbers=frozenset({"rows"}),
            )
        )
    return blocks


def unarchive_page(report: ArchiveRestore) -> Page:
    """What a restore put back."""
    ending = "would be restored" if report.dry_run else "restored"
    tone: Tone = "warn" if report.refused_rows else "good"
    verb = "would be inserted" if report.dry_run else "inserted"
    blocks: list[Block] = [
        Line(f"archive {report.archive_id} of {report.migration}: {ending}", tone),
        Table(
            ("table", "archived", verb, "already there", "refused"),
            [
                (
                    table.table,
                    count(table.archived_rows),
                    count(table.inserted_rows),
                    count(table.present_rows),
                    count(table.refused_rows),
                )
                for table in report.tables
            ],
            numbers=frozenset({"archived", verb, "already there", "refused"}),
        ),
        Facts([("time", duration(report.seconds))]),
    ]
    blocks += drift_lines(report.drift)
    if report.refused:
        shown = report.refused[:_REFUSED_SHOWN]
        more = report.refused_rows - len(shown)
        blocks.append(Line("Refused by the server:", "warn"))
        blocks += [Line(f"  {row.table} {', '.join(row.key)}: {row.reason}") for row in shown]
        if more > 0:
            blocks.append(Line(f"  and {count(more)} more"))
    return [*blocks, *(Line(f"warning: {text}", "warn") for text in report.warnings)]

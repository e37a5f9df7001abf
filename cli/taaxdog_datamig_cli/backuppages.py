"""Pages of what is told of backups: list, details, cleaning."""

from __future__ import annotations

from datetime import UTC, datetime

from taaxdog_datamig.backup import BackupDetails, BackupRecord, Certificate, RestoreReport
from taaxdog_datamig_cli.answers import Backups, Cleaning
from taaxdog_datamig_cli.driftpages import drift_lines
from taaxdog_datamig_cli.page import Block, Facts, Line, Page, Table
from taaxdog_datamig_cli.units import count, duration, moment, size

_PROOFS = {"parts": "every part read and compared", "restore": "restored and compared"}


def backups_page(answer: Backups) -> Page:
    """The backups of a store."""
    if not answer.backups:
        return [Line(f"No backup in {answer.store}.")]
    rows = [
        (
            record.id,
            record.state if not record.hold else f"{record.state}, on hold",
            record.name,
            _age(record),
            size(record.size),
            "" if record.tables is None else count(record.tables),
            "" if record.rows is None else count(record.rows),
            "" if record.encrypted is None else "yes" if record.encrypted else "no",
            _verified(record.verified),
        )
        for record in answer.backups
    ]
    columns = ("backup", "state", "name", "age", "size", "tables", "rows", "sealed", "verified")
    blocks: list[Block] = [Table(columns, rows, numbers=frozenset({"age", "size", "tables", "rows"}))]
    return [*blocks, *(Line(record.problem, "bad") for record in answer.backups if record.problem)]


def _age(record: BackupRecord) -> str:
    if record.created_at is None:
        return ""
    days, rest = divmod((datetime.now(UTC) - record.created_at).total_seconds(), 86_400)
    return f"{days:.0f} d" if days else duration(rest)


def _verified(certificate: Certificate | None) -> str:
    return "" if certificate is None else f"{moment(certificate.at)}, {_PROOFS[certificate.proof]}"


def backup_page(backup: BackupDetails) -> Page:
    """What a backup holds."""
    ratio = f", {size(backup.plain_size)} before compression"
    blocks: list[Block] = [
        Line(f"backup {backup.id}" + (f", {backup.name}" if backup.name else ""), "good"),
        Facts(
            [
                ("folder", backup.path),
                ("database", f"{backup.database}, PostgreSQL {backup.server_version // 10_000}"),
                ("made", f"{moment(backup.created_at)}, in {duration(backup.seconds)}"),
                ("tables", f"{count(len(backup.tables))}{'' if backup.whole else ', not all of them'}"),
                ("schema", "yes" if backup.with_schema else "no: restorable into existing tables only"),
                ("rows", count(backup.rows)),
                *([("large objects", count(backup.large_objects))] if backup.large_objects else []),
                ("size", size(backup.size) + ratio),
                ("sealed", f"key {backup.kid}" if backup.encrypted else "no"),
                ("verified", _verified(backup.verified) or "not yet"),
            ]
        ),
        Table(
            ("table", "rows", "size"),
            [(name, count(table.rows), size(table.bytes)) for name, table in backup.tables.items()],
            numbers=frozenset({"rows", "size"}),
        ),
    ]
    return [*blocks, *(Line(f"warning: {text}", "warn") for text in backup.warnings)]


def restore_page(report: RestoreReport) -> Page:
    """What a restore did to each table."""
    ending = "would be restored" if report.dry_run else "restored"
    where = " into an empty database, with its schema" if report.mode == "empty" else ""
    verbs = ("inserted", "updated", "deleted", "kept")
    changed = [
        (table.table, count(table.inserted), count(table.updated), count(table.deleted), count(table.kept))
        for table in report.tables
        if table.inserted or table.updated or table.deleted or table.kept
    ]
    blocks: list[Block] = [Line(f"backup {report.backup_id}: {ending}{where}", "good")]
    if changed:
        blocks.append(Table(("table", *verbs), changed, numbers=frozenset(verbs)))
    if same := len(report.tables) - len(changed):
        blocks.append(Line(f"tables that are as the backup has them: {count(same)}"))
    blocks += [
        Line(f"{name}: {count(rows)} rows that referred to deleted ones", "warn")
        for name, rows in report.cascaded.items()
    ]
    blocks.append(Facts([("time", duration(report.seconds))]))
    blocks += drift_lines(report.drift)
    return [*blocks, *(Line(f"warning: {text}", "warn") for text in report.warnings)]


def cleaning_page(answer: Cleaning) -> Page:
    """What becomes of each backup."""
    if not answer.backups:
        return [Line("There is no backup.")]
    gone = "gone" if answer.applied else "would go"
    going = [verdict for verdict in answer.backups if verdict.goes]
    total = size(sum(verdict.size for verdict in going))
    told = f"{count(len(going))} of {count(len(answer.backups))} backups {gone}, {total}."
    return [
        Table(
            ("backup", "size", "", "why"),
            [
                (verdict.id, size(verdict.size), gone if verdict.goes else "stays", verdict.reason)
                for verdict in answer.backups
            ],
            numbers=frozenset({"size"}),
        ),
        Line(told, "warn" if going else "good"),
        *([] if answer.applied or not going else [Line("--apply does it.", "dim")]),
    ]

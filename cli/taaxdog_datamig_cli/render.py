"""Answers as pages for people. Numbers have thousands separators, times are local, values never appear."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taaxdog_datamig.backup import BackupDetails, RestoreReport
from taaxdog_datamig.checksum.reports import ChecksumReport, DiffReport
from taaxdog_datamig.engine.archive_reports import ArchiveDetails, ArchiveRestore
from taaxdog_datamig.engine.reports import (
    KeyRotation,
    MigrationState,
    Plan,
    RollbackReport,
    RunDetails,
    RunRecord,
    RunReport,
)
from taaxdog_datamig.engine.retry_reports import RetryReport
from taaxdog_datamig.validation import ValidationReport
from taaxdog_datamig_cli import answers
from taaxdog_datamig_cli.archivepages import archive_page, archives_page, unarchive_page
from taaxdog_datamig_cli.backuppages import backup_page, backups_page, cleaning_page, restore_page
from taaxdog_datamig_cli.checksumpages import checksums_page, diff_page
from taaxdog_datamig_cli.evidencepages import (
    export_page,
    keys_page,
    purged_page,
    rotation_page,
    verdict_page,
)
from taaxdog_datamig_cli.page import Block, Facts, Line, Page, Table, Tone
from taaxdog_datamig_cli.runpages import (
    details_page,
    plan_page,
    record_page,
    retry_page,
    rollback_page,
    run_page,
)
from taaxdog_datamig_cli.units import count, duration, moment
from taaxdog_datamig_cli.validationpages import rules_page, validation_page

#: The beginning of a run's id is enough for every command, and leaves room in a table.
_ID_SHOWN = 8
_TO_THE_MINUTE = len("2026-03-01 12:00")

_TONES: dict[str, Tone] = {"problem": "bad", "warning": "warn", "ok": "good"}


def page(answer: Any) -> Page:
    """The page of an answer that a command returned."""
    return _PAGES[type(answer)](answer)


def _status(answer: answers.Status) -> Page:
    if not answer.runs:
        return [Line("No run yet.")]
    return [block for run in answer.runs for block in record_page(run)]


def _history(answer: answers.History) -> Page:
    if not answer.runs:
        return [Line("No run yet.")]
    return [
        Table(
            ("run", "migration", "status", "started", "took", "rows", "error"),
            [
                (
                    run.run_id[:_ID_SHOWN],
                    f"{run.migration} {run.version}",
                    run.status,
                    moment(run.started_at)[:_TO_THE_MINUTE],
                    _took(run),
                    count(run.affected_rows),
                    run.error or "",
                )
                for run in answer.runs
            ],
            numbers=frozenset({"took", "rows"}),
        )
    ]


def _took(run: RunRecord) -> str:
    return duration((run.completed_at - run.started_at).total_seconds()) if run.completed_at else ""


def pending(state: MigrationState) -> str:
    """How much waits for it: rows, or tasks; empty when that is not known."""
    if state.tasks is not None:
        return f"{count(state.tasks)} tasks"
    return "" if state.pending is None else count(state.pending)


def _described(state: MigrationState) -> str:
    if not state.reason:
        return state.description
    why = "cannot be counted" if state.applicable else "not here"
    return f"{state.description} ({why}: {state.reason})"


def _migrations(answer: answers.Migrations) -> Page:
    return [
        Table(
            ("migration", "category", "version", "pending rows", "description"),
            [
                (
                    state.name,
                    state.category,
                    state.version,
                    pending(state),
                    _described(state),
                )
                for state in answer.migrations
            ],
            numbers=frozenset({"pending rows"}),
        )
    ]


def _quarantine(answer: answers.Quarantine) -> Page:
    if not answer.rows:
        return [Line(f"Run {answer.run} refused no row.", "good")]
    return [
        Table(
            ("table", "key", "what", "code", "reason", "at"),
            [
                (
                    row.table,
                    ", ".join(row.key),
                    "left" if row.left else "refused",
                    row.code,
                    row.reason,
                    moment(row.at),
                )
                for row in answer.rows
            ],
        )
    ]


def _diagnosis(answer: answers.Diagnosis) -> Page:
    blocks: list[Block] = []
    for finding in answer.findings:
        blocks.append(Line(f"{finding.status:8} {finding.name}: {finding.detail}", _TONES[finding.status]))
        if finding.todo and finding.status != "ok":
            blocks.append(Line(f"         {finding.todo}"))
    return blocks


def _sample(answer: answers.Sample) -> Page:
    return [
        Line(f"Loaded the sample database (seed {answer.seed}).", "good"),
        Facts(
            [
                ("users", count(answer.users)),
                ("rows", count(sum(answer.rows.values()))),
                ("rows with a fault", count(sum(answer.faults.values()))),
                ("time", duration(answer.seconds)),
            ]
        ),
    ]


def _new_key(answer: answers.NewKey) -> Page:
    if answer.file is not None:
        return [
            Line(f"Wrote a new key to {answer.file}, readable by you alone.", "good"),
            Line(f"Use it: export FIELD_ENCRYPTION_KEY_FILE={answer.file}"),
        ]
    # Nothing but the key, so that KEY=$(datamig keys generate) works.
    return [Line(str(answer.key))]


def _new_migration(answer: answers.NewMigration) -> Page:
    return [
        *(Line(f"Wrote {file}", "good") for file in answer.files),
        Line("Make it known, in datamig.toml:"),
        Line(f'  migrations = ["{answer.module}"]'),
        Line("or, in the pyproject.toml of a package that is installed:"),
        Line('  [project.entry-points."taaxdog_datamig.migrations"]'),
        Line(f'  {answer.name} = "{answer.module}"'),
        Line(f"Test it: python -m pytest {answer.files[-1]}"),
    ]


def _demo(answer: answers.Demo) -> Page:
    if answer.database is None:
        return [Line("Nothing was left behind. `datamig demo --keep PATH` keeps the database.", "dim")]
    return [
        Line("Kept:", "head"),
        Facts(
            [
                ("look", f"datamig history --database {answer.database}"),
                ("key", f"export FIELD_ENCRYPTION_KEY_FILE={answer.key_file}"),
                ("undo", f"datamig rollback encrypt-user-data --database {answer.database}"),
            ]
        ),
    ]


def cells(row: list[answers.Cell]) -> Page:
    """One row before and after."""
    return [Table(("column", "before", "after"), [(cell.column, cell.before, cell.after) for cell in row])]


_PAGES: dict[type, Callable[[Any], Page]] = {
    RunReport: run_page,
    answers.RunReports: lambda answer: [block for report in answer.reports for block in run_page(report)],
    Plan: plan_page,
    answers.Plans: lambda answer: [block for plan in answer.plans for block in plan_page(plan)],
    RollbackReport: rollback_page,
    RetryReport: retry_page,
    RunRecord: record_page,
    RunDetails: details_page,
    answers.Migrations: _migrations,
    answers.Status: _status,
    answers.History: _history,
    answers.Quarantine: _quarantine,
    answers.Archives: archives_page,
    ArchiveDetails: archive_page,
    ArchiveRestore: unarchive_page,
    ValidationReport: validation_page,
    ChecksumReport: checksums_page,
    DiffReport: diff_page,
    answers.Rules: rules_page,
    answers.Backups: backups_page,
    BackupDetails: backup_page,
    answers.Cleaning: cleaning_page,
    RestoreReport: restore_page,
    answers.Diagnosis: _diagnosis,
    answers.Sample: _sample,
    answers.NewKey: _new_key,
    answers.Keys: keys_page,
    KeyRotation: rotation_page,
    answers.AuditVerdict: verdict_page,
    answers.AuditExport: export_page,
    answers.Purged: purged_page,
    answers.NewMigration: _new_migration,
    answers.Demo: _demo,
}

"""Answers as pages for people. Numbers have thousands separators, times are local, values never appear."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from taaxdog_datamig_cli.page import Block, Facts, Line, Page, Table, Tone
from taaxdog_datamig_cli.units import count, duration, moment

if TYPE_CHECKING:
    from taaxdog_datamig.engine.reports import MigrationState, RunRecord
    from taaxdog_datamig_cli import answers

#: The beginning of a run's id is enough for every command, and leaves room in a table.
_ID_SHOWN = 8
_TO_THE_MINUTE = len("2026-03-01 12:00")

_TONES: dict[str, Tone] = {"problem": "bad", "warning": "warn", "ok": "good"}


def page(answer: Any) -> Page:
    """The page of an answer that a command returned."""
    made = _PAGES[type(answer).__name__]
    if isinstance(made, str):
        module, _, name = made.partition(":")
        made = getattr(import_module(f"{__package__}.{module}"), name)
    return made(answer)


def _status(answer: answers.Status) -> Page:
    if not answer.runs:
        return [Line("No run yet.")]
    return [block for run in answer.runs for block in page(run)]


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


#: By the name of the answer's class: what makes its page, here or in another module, which is then imported.
_PAGES: dict[str, Callable[[Any], Page] | str] = {
    "RunReport": "runpages:run_page",
    "RunReports": lambda answer: [block for report in answer.reports for block in page(report)],
    "Plan": "runpages:plan_page",
    "Plans": lambda answer: [block for plan in answer.plans for block in page(plan)],
    "RollbackReport": "runpages:rollback_page",
    "RetryReport": "runpages:retry_page",
    "RunRecord": "runpages:record_page",
    "RunDetails": "runpages:details_page",
    "Migrations": _migrations,
    "Status": _status,
    "History": _history,
    "Quarantine": _quarantine,
    "Archives": "archivepages:archives_page",
    "ArchiveDetails": "archivepages:archive_page",
    "ArchiveRestore": "archivepages:unarchive_page",
    "ValidationReport": "validationpages:validation_page",
    "ChecksumReport": "checksumpages:checksums_page",
    "DiffReport": "checksumpages:diff_page",
    "Rules": "validationpages:rules_page",
    "Backups": "backuppages:backups_page",
    "BackupDetails": "backuppages:backup_page",
    "Cleaning": "backuppages:cleaning_page",
    "RestoreReport": "backuppages:restore_page",
    "Keys": "evidencepages:keys_page",
    "KeyRotation": "evidencepages:rotation_page",
    "AuditVerdict": "evidencepages:verdict_page",
    "AuditExport": "evidencepages:export_page",
    "Purged": "evidencepages:purged_page",
    "Diagnosis": _diagnosis,
    "Sample": _sample,
    "NewKey": _new_key,
    "NewMigration": _new_migration,
    "Demo": _demo,
}

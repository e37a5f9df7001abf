"""JSON documents: every answer's schema name, and how values are written.

A field may be added to a shape at any time; renaming or removing one, or changing its meaning, raises
the number. The shapes are described in docs/reference/json.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from taaxdog_datamig.backup import BackupDetails, RestoreReport
from taaxdog_datamig.checksum.reports import ChecksumReport, DiffReport
from taaxdog_datamig.engine.archive_reports import ArchiveDetails, ArchiveRestore
from taaxdog_datamig.engine.reports import KeyRotation, Plan, RollbackReport, RunDetails, RunRecord, RunReport
from taaxdog_datamig.engine.retry_reports import RetryReport
from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.validation import ValidationReport, formats
from taaxdog_datamig_cli import answers, exits

ERROR = "datamig/error/1"

SCHEMAS: dict[type, str] = {
    RunReport: "datamig/run-report/1",
    answers.RunReports: "datamig/run-reports/1",
    Plan: "datamig/plan/1",
    answers.Plans: "datamig/plans/1",
    RollbackReport: "datamig/rollback-report/1",
    RunRecord: "datamig/run-record/1",
    RunDetails: "datamig/run-details/1",
    answers.Migrations: "datamig/migrations/1",
    answers.Status: "datamig/status/1",
    answers.History: "datamig/history/1",
    answers.Quarantine: "datamig/quarantine/1",
    RetryReport: "datamig/quarantine-retry/1",
    answers.Archives: "datamig/archives/1",
    ArchiveDetails: "datamig/archive-details/1",
    ArchiveRestore: "datamig/archive-restore/1",
    ValidationReport: formats.SCHEMA,
    answers.Rules: "datamig/rules/1",
    ChecksumReport: "datamig/checksum/1",
    DiffReport: "datamig/checksum-diff/1",
    answers.Backups: "datamig/backups/1",
    BackupDetails: "datamig/backup/1",
    answers.Cleaning: "datamig/backup-cleaning/1",
    RestoreReport: "datamig/restore/1",
    answers.Diagnosis: "datamig/doctor/1",
    answers.Sample: "datamig/sample/1",
    answers.NewKey: "datamig/key/1",
    answers.Keys: "datamig/keys/1",
    KeyRotation: "datamig/key-rotation/1",
    answers.AuditVerdict: "datamig/audit-verdict/1",
    answers.AuditExport: "datamig/audit-export/1",
    answers.Purged: "datamig/purged-runs/1",
    answers.NewMigration: "datamig/new-migration/1",
    answers.Demo: "datamig/demo/1",
}


def document(answer: Any) -> dict[str, Any]:
    """The JSON document of an answer, as plain values."""
    return {"schema": SCHEMAS[type(answer)], **_plain(answer)}


def error_document(error: BaseException, *, finished: Iterable[Any] = ()) -> dict[str, Any]:
    """The JSON document of a command that failed, with what had finished before."""
    if isinstance(error, DatamigError):
        what, todo = error.what, error.todo
    elif isinstance(error, KeyboardInterrupt):
        what, todo = "interrupted", ""
    else:
        what, todo = f"unexpected {type(error).__name__}", "Add --verbose for the traceback"
    report = getattr(error, "report", None)
    return {
        "schema": ERROR,
        "error": {"type": type(error).__name__, "what": what, "todo": todo},
        "exit_code": exits.of_error(error),
        "report": None if report is None else document(report),
        "finished": [document(answer) for answer in finished],
    }


def encode(value: dict[str, Any]) -> str:
    """`value` as JSON text, indented, with a line end."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, option=options, default=str).decode()


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        plain = {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
        if isinstance(value, Plan):
            plain["pending_rows"] = value.pending_rows
        return plain
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value

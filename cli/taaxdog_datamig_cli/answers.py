"""What commands return where the library's own reports are not enough: lists, and the demo's story.

Each class is one JSON shape (see `shapes`): its fields are the document's fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:  # a help page that names an answer needs none of them
    from taaxdog_datamig.backup import BackupRecord, Verdict
    from taaxdog_datamig.engine.archive_reports import ArchiveRecord
    from taaxdog_datamig.engine.reports import (
        KeyUse,
        MigrationState,
        Plan,
        PurgedRun,
        RunRecord,
        RunReport,
    )
    from taaxdog_datamig.validation import Rule, ValidationReport


@attrs.frozen
class Migrations:
    """`list`."""

    migrations: list[MigrationState]


@attrs.frozen
class Plans:
    """`plan` of several migrations, in the order they would run."""

    plans: list[Plan]


@attrs.frozen
class RunReports:
    """`run` of several migrations, in the order they ran."""

    reports: list[RunReport]


@attrs.frozen
class Status:
    """`status`."""

    runs: list[RunRecord]


@attrs.frozen
class History:
    """`history`."""

    runs: list[RunRecord]


@attrs.frozen
class Quarantine:
    """`quarantine list`: rows a run refused, by key and reason, never by value."""

    run: str
    rows: list[Any]


@attrs.frozen
class Archives:
    """`archive list`."""

    folder: str
    archives: list[ArchiveRecord]


@attrs.frozen
class Rules:
    """`validate --list`: what is checked for, without a look at a database."""

    rules: list[Rule]


@attrs.frozen
class Backups:
    """`backup list`."""

    store: str
    backups: list[BackupRecord]


@attrs.frozen
class Cleaning:
    """`backup clean`: what becomes of each backup, or became of it."""

    applied: bool
    backups: Sequence[Verdict]


@attrs.frozen
class Diagnosis:
    """`doctor`."""

    findings: list[Any]
    healthy: bool


@attrs.frozen
class Sample:
    """`sample load`: what was loaded. All counts are exact."""

    users: int
    seed: int
    #: Rows by table.
    rows: Mapping[str, int]
    #: Rows that carry each fault; all zero with `--no-faults`.
    faults: Mapping[str, int]
    #: What each sensitive column holds.
    sensitive: Mapping[str, Any]
    seconds: float


@attrs.frozen
class NewKey:
    """`keys generate`: the key itself, or the file it was written to, never both."""

    key: str | None = attrs.field(repr=False)
    file: str | None


@attrs.frozen
class Keys:
    """`keys list`: ids and what needs them, never material."""

    keys: list[KeyUse]


@attrs.frozen
class AuditVerdict:
    """`audit verify`: whether the chain is whole."""

    entries: int
    #: Number of the first entry that does not fit.
    broken: int | None


@attrs.frozen
class AuditExport:
    """`audit export` into a file."""

    file: str
    entries: int


@attrs.frozen
class Purged:
    """`runs purge`: whose before-images go, or went."""

    applied: bool
    shred: bool
    runs: list[PurgedRun]


@attrs.frozen
class NewMigration:
    """`new-migration`: what was written, and how the module is imported."""

    name: str
    module: str
    files: list[str]


@attrs.frozen
class Cell:
    """One value of a row before and after, described and never shown."""

    column: str
    before: str
    after: str


@attrs.frozen
class Demo:
    """`demo`: what each step said."""

    users: int
    #: What was wrong at first, and at the end.
    validation: tuple[ValidationReport, ValidationReport]
    plan: Plan
    dry_run: RunReport
    run: RunReport
    row: list[Cell]
    history: list[RunRecord]
    #: How to reach what `--keep` kept, else None.
    database: str | None
    key_file: str | None

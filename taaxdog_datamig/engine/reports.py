"""What plans and runs tell their caller. Commands return these; rendering happens at the edge."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Literal, TypeAlias

import attrs

RunStatus: TypeAlias = Literal[
    "running", "paused", "succeeded", "failed", "rolling_back", "rolled_back", "nothing_to_do", "already_run"
]


@attrs.frozen(kw_only=True)
class RunOptions:
    """How a run is to be done."""

    dry_run: bool = False
    skip_backup: bool = False
    skip_validation: bool = False
    #: Run although the migration succeeded before.
    force: bool = False
    #: Rows a transaction; None lets the controller choose.
    batch_size: int | None = attrs.field(default=None)
    #: Workers that change rows at once; "auto": as many as the server bears. None: the setting.
    workers: int | Literal["auto"] | None = None
    #: Seconds of rest for each second that a chunk took. None: the setting.
    nice: float | None = None
    executor: str = "local"
    #: What the migration's own arguments are set to.
    arguments: dict[str, str] = attrs.field(factory=dict)
    on_failure: Literal["rollback", "pause"] = "rollback"
    #: Rows that may be refused before the run fails.
    max_quarantine: int = 0
    #: A plan written by `plan --out`, as parsed JSON; the run refuses when it no longer holds.
    pinned_plan: dict[str, Any] | None = None


@attrs.frozen(kw_only=True)
class TablePlan:
    """What a run would do to one table."""

    #: Logical name, as in the profile.
    table: str
    #: Physical name, quoted where needed.
    relation: str
    columns: tuple[str, ...]
    pending_rows: int
    #: How `pending_rows` was made: "counted", "sampled", or "stated" by the migration's own code.
    estimate: str
    total_rows: int
    heap_bytes: int
    windows: int
    #: Statements that change the table's definition before the rows.
    ddl: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    #: Indexes on the changed columns.
    indexes: tuple[str, ...] = ()
    #: Rows that will be left as they are on purpose and listed, by code; where a plan can tell.
    left: dict[str, int] = attrs.field(factory=dict)
    #: In which order rows are changed, and why; empty where the migration's own code decides.
    order: str = ""


TaskOutcome: TypeAlias = Literal[
    "pending", "done", "not-needed", "locked", "not-permitted", "gone", "interrupted", "refused"
]


@attrs.frozen(kw_only=True)
class TaskReport:
    """What maintenance would do, or did, to one table or index."""

    #: Qualified name of the table or index.
    relation: str
    #: vacuum, freeze, analyze or reindex; the first two analyse, too.
    action: str
    reason: str
    #: "pending" is still to be done; all but that, "done" and "not-needed" were skipped, and `note` says why.
    outcome: TaskOutcome
    note: str = ""
    seconds: float = 0.0
    #: Figures before and after: bytes, rows, dead_rows, changed_rows, all_visible, statistics_age,
    #: freeze_share, bloat_bytes.
    before: dict[str, Any]
    after: dict[str, Any] | None = None


@attrs.frozen(kw_only=True)
class Plan:
    """What a run would do, without doing it."""

    migration: str
    version: str
    description: str
    #: False when this installation has nothing the migration could work on; `reason` says why.
    applicable: bool
    reason: str = ""
    tables: tuple[TablePlan, ...] = ()
    #: What maintenance would do; it changes no row.
    tasks: tuple[TaskReport, ...] = ()
    #: Bytes of table growth and of WAL, roughly.
    growth_bytes: int = 0
    wal_bytes: int = 0
    #: Shortest and longest time expected, in seconds, and where the rates come from.
    seconds: tuple[float, float] = (0.0, 0.0)
    seconds_from: str = ""
    warnings: tuple[str, ...] = ()
    #: Changes whenever code, arguments or predicates change; `run --plan` compares it.
    fingerprint: str = ""

    @property
    def pending_rows(self) -> int:
        """Rows expected to change, all tables together."""
        return sum(table.pending_rows for table in self.tables)

    def pending_by_table(self) -> dict[str, int]:
        """The same by logical table; a table may have several targets."""
        rows: Counter[str] = Counter()
        for table in self.tables:
            rows[table.table] += table.pending_rows
        return dict(rows)


@attrs.frozen(kw_only=True)
class TableReport:
    """What a run did to one table."""

    table: str
    changed_rows: int = 0
    skipped_rows: int = 0
    quarantined_rows: int = 0
    #: Rows left as they are on purpose; `quarantine list` names them, too.
    left_rows: int = 0
    conflicts: int = 0
    chunks: int = 0


@attrs.frozen(kw_only=True)
class ValidatedCheck:
    """A check that was made around a run, and found something or could not be made."""

    id: str
    title: str
    severity: str
    #: Qualified name.
    table: str
    #: The migration that mends such rows.
    fix: str | None
    #: Rows that broke the rule; None where that is not known, as after a dry run.
    before: int | None
    after: int | None
    error: str | None = None
    #: Whether one of them was counted in a sample: they say nothing of each other then.
    sampled: bool = False


@attrs.frozen(kw_only=True)
class RunValidation:
    """Validation of what a run changes, before it and after it as of the same moment."""

    checks_made: int
    seconds_before: float
    #: None after a dry run.
    seconds_after: float | None = None
    checks: tuple[ValidatedCheck, ...] = ()


Happening: TypeAlias = Literal["change", "delete"]


@attrs.frozen
class Sight:
    """A value before and after, masked to its shape."""

    column: str
    before: str
    after: str


@attrs.frozen(kw_only=True)
class PreviewRow:
    """A row that a dry run would change or delete."""

    table: str
    #: Its primary key, as text.
    key: tuple[str | None, ...]
    happening: Happening
    #: Columns that would change.
    values: tuple[Sight, ...] = ()


@attrs.frozen(kw_only=True)
class RunReport:
    """How a run ended. The shape of `run --json`, `datamig/run-report/1`."""

    #: None for a dry run and where nothing was to be done: those leave no record.
    run_id: str | None
    migration: str
    version: str
    status: RunStatus
    dry_run: bool
    started_at: datetime
    finished_at: datetime
    estimated_rows: int = 0
    changed_rows: int = 0
    skipped_rows: int = 0
    quarantined_rows: int = 0
    #: Rows left as they are on purpose; `quarantine list` names them, too.
    left_rows: int = 0
    #: Rows deleted by logical table, those that referred to the pending rows included.
    deleted_rows: dict[str, int] = attrs.field(factory=dict)
    #: Where the deleted rows went first.
    archive_id: str | None = None
    #: Compare-and-set misses: rows the application changed between reading and writing; each was read again.
    conflicts: int = 0
    chunks: int = 0
    #: The backup of the touched tables that was made before anything was changed.
    backup_id: str | None = None
    rows_per_second: float = 0.0
    #: Share of the updates that were heap-only (HOT); None where the server's counters do not tell.
    hot_ratio: float | None = None
    wal_bytes: int = 0
    #: What the proof of completion looked at and found.
    proof: dict[str, Any] = attrs.field(factory=dict)
    #: None where validation was skipped.
    validation: RunValidation | None = None
    warnings: tuple[str, ...] = ()
    tables: tuple[TableReport, ...] = ()
    #: Of a dry run: some of the rows it would change or delete.
    preview: tuple[PreviewRow, ...] = ()
    #: Of a dry run: rows in which each column would change, by table and column.
    columns: dict[str, dict[str, int]] = attrs.field(factory=dict)
    #: Of a dry run: statements that would change definitions before the rows.
    ddl: tuple[str, ...] = ()
    #: What maintenance did, over all processes that worked on the run.
    tasks: tuple[TaskReport, ...] = ()
    #: True when this process continued a run that another one had left.
    resumed: bool = False
    error: str | None = None


@attrs.frozen(kw_only=True)
class RollbackReport:
    """How a rollback ended. `datamig/rollback-report/1`."""

    run_id: str
    migration: str
    dry_run: bool
    restored_rows: int
    #: Rows left alone because they no longer hold what the run wrote, by table: primary keys.
    conflicts: int
    conflict_keys: dict[str, list[str]]
    chunks: int
    seconds: float
    warnings: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class RunRecord:
    """A run as the ledger keeps it: `history` and `status`."""

    run_id: str
    migration: str
    version: str
    status: RunStatus
    started_at: datetime
    completed_at: datetime | None
    affected_rows: int
    estimated_rows: int
    quarantined_rows: int
    error: str | None
    #: Where the before-images are and how they are sealed, or why there is no rollback.
    rollback: str
    #: The backup that was made before it.
    backup_id: str | None = None
    #: Database role, operating-system user, host, version of this package.
    actor: dict[str, str]
    #: A request seen between chunks: "pause", "cancel" or None.
    control: str | None = None
    #: Who holds the run, as host:pid, and whether that process still lives; None when nobody does.
    owner: str | None = None
    alive: bool = False
    #: Why the run waits at the moment.
    waiting: str | None = None
    #: Workers at work, and at the most; None while no process works on it, or none has begun a chunk.
    workers: int | None = None
    most_workers: int | None = None


@attrs.frozen(kw_only=True)
class Pulse:
    """What a run committed within a short time."""

    #: When it began and how long it is, in seconds since the first chunk.
    second: float
    seconds: float
    rows: int
    chunks: int
    #: Rows whose update was heap-only (HOT).
    hot: int
    #: Seconds that the slowest chunk took.
    slowest: float


@attrs.frozen(kw_only=True)
class RunDetails:
    """A run as it is reported afterwards: `datamig/run-details/1`."""

    run: RunRecord
    #: What it reported when it succeeded, see `RunReport`; None where it did not.
    report: dict[str, Any] | None
    #: In order, without gaps: where it waited or was paused nothing was committed.
    timeline: tuple[Pulse, ...] = ()
    #: Rows that are listed with it, refused or left on purpose, by code.
    listed: dict[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class QuarantineRecord:
    """A row that a run refused."""

    table: str
    key: tuple[str, ...]
    code: str
    reason: str
    at: datetime
    #: On purpose: not counted against the error budget.
    left: bool = False


@attrs.frozen(kw_only=True)
class MigrationState:
    """A migration as `list` shows it."""

    name: str
    category: str
    version: str
    description: str
    #: None when not counted (no database given) or not applicable.
    pending: int | None
    applicable: bool
    reason: str
    #: What maintenance would do, counted by task; None for any other migration.
    tasks: int | None = None


@attrs.frozen(kw_only=True)
class KeyUse:
    """A key by its id, and what needs it. Never any material."""

    kid: str
    configured: bool
    #: Whether it is the one that seals.
    primary: bool
    #: Whether the configured key is the one that this database knows under that id; None: it knows none yet.
    right: bool | None
    #: Tokens by `table.column`, by logical names.
    tokens: dict[str, int]
    #: Runs whose before-images are sealed under it.
    runs: int


@attrs.frozen(kw_only=True)
class KeyRotation:
    """A change to the primary key. `datamig/key-rotation/1`."""

    run: RunReport
    #: The key that seals.
    primary: str
    #: Earlier runs whose before-images the primary key opens now.
    rewrapped_runs: int = 0
    #: Keys that nothing in this database needs any more; archives and backups made under them still do.
    retired: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PurgedRun:
    """A run whose before-images were deleted, or would be."""

    run_id: str
    migration: str
    completed_at: datetime
    images: int
    #: Bytes of the images.
    size: int
    #: Whether its data key is forgotten, too.
    shredded: bool

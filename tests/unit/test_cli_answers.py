"""Answers: as pages, as JSON documents, as exit codes. Fed with reports made by hand."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime

import attrs
import orjson
import pytest

from taaxdog_datamig import errors
from taaxdog_datamig.backup import (
    BackupDetails,
    BackupRecord,
    Certificate,
    RestoreReport,
    TableInBackup,
    Verdict,
)
from taaxdog_datamig.backup import RestoredTable as BroughtBack
from taaxdog_datamig.checksum.reports import (
    ChecksumReport,
    DiffReport,
    RowDifference,
    TableChecksum,
    TableDiff,
)
from taaxdog_datamig.engine.archive_reports import (
    ArchiveDetails,
    ArchiveRecord,
    ArchiveRestore,
    Drift,
    RefusedRow,
    RestoredTable,
    TableInArchive,
)
from taaxdog_datamig.engine.reports import (
    KeyRotation,
    KeyUse,
    MigrationState,
    Plan,
    Pulse,
    PurgedRun,
    QuarantineRecord,
    RollbackReport,
    RunDetails,
    RunRecord,
    RunReport,
    TablePlan,
    TaskReport,
)
from taaxdog_datamig.engine.retry_reports import RetriedRow, RetryReport
from taaxdog_datamig.engine.runpage import run_html
from taaxdog_datamig.validation import CheckResult, Rule, ScannedTable, ValidationReport
from taaxdog_datamig_cli import answers, exits, page, render, shapes
from tests.pagereader import Page, readable_without_eyes, stands_alone

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

REPORT = RunReport(
    run_id="5b1c",
    migration="encrypt-user-data",
    version="1.0.0",
    status="succeeded",
    dry_run=False,
    started_at=NOON,
    finished_at=NOON.replace(minute=2),
    estimated_rows=1_000,
    changed_rows=1_234_567,
    rows_per_second=10_288.1,
    hot_ratio=0.81,
    wal_bytes=2_500_000,
    proof={"pending": 0, "read_back": 1_114},
    warnings=("look at this",),
)
PLAN = Plan(
    migration="encrypt-user-data",
    version="1.0.0",
    description="Seals",
    applicable=True,
    tables=(
        TablePlan(
            table="users",
            relation='"users"',
            columns=("tfn",),
            pending_rows=1_880,
            estimate="counted",
            total_rows=2_000,
            heap_bytes=795_000,
            windows=1,
            ddl=("ALTER TABLE x",),
        ),
    ),
    seconds=(0.1, 90),
)
FIGURES = {"bytes": 795_000, "dead_rows": 1_880, "bloat_bytes": None}
TASK = TaskReport(
    relation="public.users", action="vacuum", reason="1,880 dead rows", outcome="pending", before=FIGURES
)
MAINTENANCE_PLAN = attrs.evolve(PLAN, migration="optimize-database", tables=(), tasks=(TASK,))
MAINTENANCE = attrs.evolve(
    REPORT,
    migration="optimize-database",
    changed_rows=0,
    tasks=(
        attrs.evolve(TASK, outcome="done", after=FIGURES | {"dead_rows": 0}),
        attrs.evolve(TASK, relation="public.goals", outcome="locked", note="a lock"),
    ),
)
ROLLBACK = RollbackReport(
    run_id="5b1c",
    migration="encrypt-user-data",
    dry_run=False,
    restored_rows=10,
    conflicts=12,
    conflict_keys={"users": [f"u{number}" for number in range(12)]},
    chunks=1,
    seconds=1.5,
)
RECORD = RunRecord(
    run_id="5b1c",
    migration="encrypt-user-data",
    version="1.0.0",
    status="running",
    started_at=NOON,
    completed_at=None,
    affected_rows=5,
    estimated_rows=10,
    quarantined_rows=0,
    error=None,
    rollback="datamig.before_images",
    actor={"role": "app"},
    owner="host:77",
    alive=False,
    waiting="replica lag",
    workers=2,
    most_workers=4,
)
STATE = MigrationState(
    name="encrypt-user-data",
    category="core",
    version="1.0.0",
    description="Seals",
    pending=None,
    applicable=False,
    reason="no table users",
)
RETRY = RetryReport(
    run_id="5b1c",
    migration="encrypt-user-data",
    status="paused",
    outcomes={"changed": 1, "refused": 1},
    rows=(
        RetriedRow(table="users", key=("u1",), outcome="changed"),
        RetriedRow(table="users", key=("u2",), outcome="refused", code="malformed", reason="not a token"),
    ),
    chunks=1,
    proof={"read_back": 1},
    seconds=0.5,
)
REFUSED = QuarantineRecord(table="users", key=("u1",), code="malformed", reason="not a token", at=NOON)


@attrs.frozen
class Found:
    """As `doctor` finds it."""

    name: str
    status: str
    detail: str
    todo: str


PROBLEM = answers.Diagnosis([Found("key", "problem", "none is set", "datamig keys generate")], healthy=False)

ARCHIVE = {
    "id": "5b1c0000-0000-4000-8000-000000000000",
    "state": "complete",
    "path": "archives/5b1c",
    "migration": "cleanup-audit-logs",
    "version": "1.0.0",
    "database": "taaxdog",
    "created_at": NOON,
    "rows": 1_250,
    "bytes": 40_000,
    "format": "jsonl",
    "kid": "main",
}
DETAILS = ArchiveDetails(
    **ARCHIVE,
    parts=3,
    verified="rows",
    signed=True,
    tables=(
        TableInArchive(
            table="audit_logs",
            relation='"public"."audit_logs"',
            rows=1_250,
            key=("id",),
            columns={"id": "text", "createdAt": "timestamp without time zone"},
        ),
    ),
)
PUT_BACK = ArchiveRestore(
    archive_id=DETAILS.id,
    migration="cleanup-audit-logs",
    dry_run=False,
    inserted_rows=1_200,
    present_rows=20,
    refused_rows=30,
    tables=(
        RestoredTable(
            table="audit_logs",
            relation='"public"."audit_logs"',
            archived_rows=1_250,
            inserted_rows=1_200,
            present_rows=20,
            refused_rows=30,
        ),
    ),
    refused=tuple(
        RefusedRow(table="audit_logs", key=(f"key-{i}",), code="refused-23503", reason="on constraint x")
        for i in range(30)
    ),
    drift=(Drift(table="audit_logs", column="note", was="text", now=None, effect="left out"),),
    chunks=2,
    seconds=1.5,
    warnings=("the archive is not sealed",),
)

VALIDATION = ValidationReport(
    valid=False,
    fail_on="low",
    checks=(
        CheckResult(
            id="goal-over-target",
            rule="goal-over-target",
            title="Goal holds more than its target",
            category="data-consistency",
            severity="low",
            table="public.goals",
            columns=("current_amount",),
            violations=1_234,
            sample_keys=("a", "b"),
            fix=None,
        ),
    ),
    tables=(ScannedTable(name="public.goals", rows=5_000, seconds=0.1),),
    user_id=None,
    database="app",
    server_version=18,
    moment=NOON,
    seconds=0.2,
)

CHECKSUMS = ChecksumReport(tables={"users": TableChecksum(rows=1_250, checksum="ab" * 16)}, seconds=1.5)
DIFF = DiffReport(
    equal=False,
    tables={
        "users": TableDiff(
            status="different",
            rows_here=1_250,
            rows_there=1_200,
            only_here=50,
            only_there=0,
            differing=0,
            key=("id",),
            rows=tuple(RowDifference(status="only here", key=(f"key-{i}",)) for i in range(50)),
            columns_only_here=("nickname",),
            note="a note",
        ),
        "goals": TableDiff(status="only there"),
    },
    seconds=1.5,
)
RULE = Rule(
    id="goal-over-target",
    title="Goal holds more than its target",
    category="data-consistency",
    severity="low",
    meaning="It was never marked as completed.",
    remedy="Complete it.",
    fix="complete-goals",
)
CERTIFICATE = Certificate(at=NOON, proof="parts", rows=5)
BACKUP = BackupDetails(
    id="20260301T120000Z-5b1c5b1c",
    name="before",
    path="backups/20260301T120000Z-5b1c5b1c",
    created_at=NOON,
    seconds=2.5,
    database="app",
    server_version=180_000,
    whole=True,
    with_schema=False,
    encrypted=True,
    kid="k1",
    tables={"public.users": TableInBackup(rows=5, bytes=500, checksum="ab" * 32)},
    rows=5,
    size=100,
    plain_size=500,
    large_objects=0,
    verified=CERTIFICATE,
    warnings=("no pg_dump",),
)
BACKUPS = [
    BackupRecord(id="20260301T120000Z-5b1c5b1c", state="complete", path="x", size=1, created_at=NOON, rows=5),
    BackupRecord(id="20260228T120000Z-00000000", state="damaged", path="y", size=1, problem="damaged"),
]

BROUGHT_BACK = RestoreReport(
    backup_id=BACKUP.id,
    mode="converge",
    dry_run=True,
    exact=True,
    tables=(BroughtBack(table="public.users", inserted=1_200, deleted=3), BroughtBack(table="public.goals")),
    cascaded={"public.sessions": 7},
    drift=(Drift(table="public.users", column="fax", was="text", now=None, effect="left out"),),
    warnings=("something",),
)

PULSES = [
    Pulse(second=n / 10, seconds=0.1, rows=n * 100, chunks=n, hot=n * 80, slowest=0.2) for n in range(30)
]
RUN_DETAILS = RunDetails(
    run=RECORD,
    report=orjson.loads(orjson.dumps(attrs.asdict(REPORT))),
    timeline=tuple(PULSES),
    listed={"tfn-check-digit": 3},
)
HOSTILE_RUN = attrs.evolve(
    RUN_DETAILS,
    run=attrs.evolve(RECORD, status="failed", error="<script>alert(1)</script>", backup_id='"><b>x'),
    listed={"<i>code</i>": 1},
)


@pytest.mark.parametrize("details", [RUN_DETAILS, HOSTILE_RUN, attrs.evolve(RUN_DETAILS, report=None)])
def test_a_runs_page_stands_alone_and_can_be_read_without_eyes(details):
    text = run_html(details)
    stands_alone(text)
    readable_without_eyes(shown := Page(text))
    for word in (
        details.run.run_id,
        details.run.migration,
        "Timeline",
        *details.listed,
        details.run.error or "",
    ):
        assert word in shown.text
    if details.report is not None:
        assert "Rollback data" in shown.text
        assert "10,288" in shown.text


KEY_USE = KeyUse(kid="k1", configured=True, primary=True, right=True, tokens={"users.tfn": 1_234}, runs=2)
PURGED = PurgedRun(run_id="5b1c", migration="x", completed_at=NOON, images=3, size=1_234_567, shredded=False)
EVERY_ANSWER = [
    BROUGHT_BACK,
    answers.Backups("backups", BACKUPS),
    BACKUP,
    answers.Cleaning(applied=False, backups=[Verdict(id="x", size=1, goes=True, reason="no rule keeps it")]),
    VALIDATION,
    CHECKSUMS,
    DIFF,
    answers.Rules([RULE]),
    answers.Archives("archives", [ArchiveRecord(**ARCHIVE)]),
    DETAILS,
    PUT_BACK,
    REPORT,
    answers.RunReports([REPORT, REPORT]),
    PLAN,
    MAINTENANCE,
    MAINTENANCE_PLAN,
    answers.Plans([PLAN]),
    ROLLBACK,
    RECORD,
    RUN_DETAILS,
    answers.Migrations([STATE]),
    answers.Status([RECORD]),
    answers.History([RECORD]),
    answers.Quarantine("5b1c", [REFUSED]),
    RETRY,
    PROBLEM,
    answers.Sample(users=5, seed=1, rows={"users": 5}, faults={}, sensitive={}, seconds=0.5),
    answers.NewKey("ab" * 32, None),
    answers.Keys([KEY_USE, attrs.evolve(KEY_USE, kid="k2", configured=False, primary=False, right=None)]),
    KeyRotation(run=REPORT, primary="new", rewrapped_runs=2, retired=("old",)),
    answers.AuditVerdict(entries=1_234, broken=None),
    answers.AuditVerdict(entries=1_234, broken=7),
    answers.AuditExport("audit.jsonl", 1_234),
    answers.Purged(applied=False, shred=False, runs=[PURGED]),
    answers.Purged(applied=True, shred=True, runs=[PURGED]),
    answers.NewMigration(name="shout", module="app.shout", files=["app/shout.py", "app/test_shout.py"]),
    answers.Demo(
        users=5,
        plan=PLAN,
        dry_run=REPORT,
        run=REPORT,
        row=[answers.Cell("users.tfn", "•", "encrypted:v1:k1:")],
        validation=(VALIDATION, VALIDATION),
        history=[RECORD],
        database=None,
        key_file=None,
    ),
]


def test_maintenance_is_shown_by_task_with_figures_before_and_after() -> None:
    page = plain(MAINTENANCE)
    assert "1 of 2" in page
    assert "1,880 -> 0" in page
    assert "rows changed" not in page
    assert "1,880 dead rows" in plain(MAINTENANCE_PLAN)
    assert "Nothing needs it." in plain(attrs.evolve(MAINTENANCE_PLAN, tasks=()))
    assert "3 tasks" in plain(
        answers.Migrations([attrs.evolve(STATE, applicable=True, reason="", pending=0, tasks=3)])
    )


def test_a_diff_names_some_rows_and_counts_all() -> None:
    page = plain(DIFF)
    assert page.count("key-") == 20
    assert "and 30 more" in page
    assert "columns only here: nickname" in page
    assert "2 of 2 tables differ" in page
    assert "Equal" in plain(DiffReport(equal=True, tables={}, seconds=0))
    assert (exits.of_answer(DIFF), exits.of_answer(attrs.evolve(DIFF, equal=True))) == (3, 0)


def test_a_restore_is_told_by_table_with_what_it_reached_and_what_has_changed_since() -> None:
    page = plain(BROUGHT_BACK)
    assert "would be restored" in page
    assert re.search(r"public\.users +1,200 +0 +3 +0", page)
    assert "public.sessions: 7 rows" in page
    assert "tables that are as the backup has them: 1" in page
    assert "public.users.fax: text is gone: left out" in page


def plain(answer: object) -> str:
    stream = io.StringIO()
    page.write_plain(render.page(answer), stream)
    return stream.getvalue()


def test_every_answer_has_a_shape_and_is_tried_here() -> None:
    assert {type(answer) for answer in EVERY_ANSWER} == set(shapes.SCHEMAS)
    assert len(set(shapes.SCHEMAS.values())) == len(shapes.SCHEMAS)


@pytest.mark.parametrize("answer", EVERY_ANSWER, ids=lambda answer: type(answer).__name__)
def test_every_answer_is_a_page_and_a_document(answer: object) -> None:
    text = plain(answer)
    assert text.strip()
    assert "\x1b" not in text
    document = json.loads(shapes.encode(shapes.document(answer)))
    assert document["schema"] == shapes.SCHEMAS[type(answer)]


def test_a_terminal_gets_a_page_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    for answer in EVERY_ANSWER:
        stream = io.StringIO()
        page.write_rich(render.page(answer), stream)
        assert stream.getvalue().strip()


def test_archives_are_shown_with_their_counts_and_what_is_wrong() -> None:
    listed = plain(answers.Archives("archives", [ArchiveRecord(**ARCHIVE)]))
    assert "5b1c0000 " in listed
    assert "1,250" in listed
    assert plain(answers.Archives("archives", [])).strip() == "No archive in archives."
    incomplete = ArchiveDetails(id=DETAILS.id, state="incomplete", path="archives/5b1c")
    assert "incomplete" in plain(incomplete)
    damaged = plain(attrs.evolve(DETAILS, state="damaged", problem="part x is damaged"))
    assert "part x is damaged" in damaged
    done = plain(PUT_BACK)
    assert "key-19: on constraint x" in done
    assert "key-20" not in done
    assert "and 10 more" in done
    assert "audit_logs.note: text is gone: left out" in done
    assert "warning: the archive is not sealed" in done


def test_a_run_report_is_a_flat_document() -> None:
    document = json.loads(shapes.encode(shapes.document(REPORT)))
    assert document["started_at"] == "2026-03-01T12:00:00+00:00"
    assert document["changed_rows"] == 1_234_567
    assert document["proof"] == {"pending": 0, "read_back": 1_114}
    assert document["backup_id"] is None


def test_a_plan_tells_its_pending_rows() -> None:
    assert shapes.document(PLAN)["pending_rows"] == 1_880


def test_a_run_is_summed_up_for_people() -> None:
    text = plain(REPORT)
    assert text.startswith("encrypt-user-data 1.0.0: done\n")
    for fact in (
        "1,234,567",
        "2 min 00 s (10,288 rows/s)",
        "81%",
        "2.5 MB",
        "1,114",
        "warning: look at this",
    ):
        assert fact in text


def test_rows_that_were_left_are_counted_and_can_be_asked_for() -> None:
    text = plain(attrs.evolve(REPORT, left_rows=375, quarantined_rows=0, run_id="1f2c"))
    assert "375" in text
    assert "Rows left on purpose: datamig quarantine list 1f2c" in text
    assert "left on purpose" not in plain(attrs.evolve(REPORT, left_rows=0))


def test_a_dry_run_says_that_nothing_was_changed() -> None:
    text = plain(attrs.evolve(REPORT, run_id=None, dry_run=True))
    assert "dry run, nothing was changed" in text
    assert "rows that would change" in text


def test_a_pipe_never_wraps_lines() -> None:
    long = answers.History([attrs.evolve(RECORD, error="e" * 300)])
    assert "e" * 300 in plain(long)


def test_conflicts_are_listed_by_key_up_to_ten() -> None:
    text = plain(ROLLBACK)
    assert "users: u0, u1" in text
    assert "u9 and 2 more" in text


def test_a_run_nobody_works_on_says_how_to_go_on() -> None:
    text = plain(answers.Status([RECORD]))
    assert "host:77 (gone; `run` or `resume` goes on)" in text
    assert "replica lag" in text


def test_a_migration_that_does_not_apply_says_why() -> None:
    assert "no table users" in plain(answers.Migrations([STATE]))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SettingsError("x"), 2),
        (errors.UnknownName("x"), 2),
        (errors.KeyFormatError("x"), 2),
        (errors.KeyMissing("x"), 4),
        (errors.KeyWrong("x"), 4),
        (errors.LeaseHeld("x"), 4),
        (errors.PlanDrift("x"), 4),
        (errors.PreflightFailed("x"), 4),
        (errors.QuarantineExceeded("x"), 1),
        (errors.ProofFailed("x"), 1),
        (errors.RunPaused("x"), 1),
        (errors.RunCancelled("x"), 1),
        (errors.LeaseLost("x"), 1),
        (errors.DatabaseUnavailable("x"), 1),
        (errors.ServerRefused("x"), 1),
        (errors.TokenError("x"), 1),
        (errors.EmbeddedError("x"), 1),
        (exits.Declined("x"), 1),
        (exits.Interrupted("x"), 130),
        (RuntimeError("x"), 1),
    ],
)
def test_exit_codes_of_errors(error: Exception, code: int) -> None:
    assert exits.of_error(error) == code
    assert code in exits.MEANINGS


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (REPORT, 0),
        (attrs.evolve(REPORT, conflicts=3), 0),  # rows read again are no leftovers
        (attrs.evolve(REPORT, status="already_run"), 0),
        (attrs.evolve(REPORT, status="nothing_to_do"), 0),
        (attrs.evolve(REPORT, status="failed"), 1),
        (attrs.evolve(REPORT, quarantined_rows=1), 5),
        (RETRY, 5),
        (attrs.evolve(RETRY, outcomes={"busy": 1}), 5),
        (attrs.evolve(RETRY, outcomes={"changed": 1, "gone": 1, "left": 1, "unneeded": 1}), 0),
        (answers.RunReports([REPORT, attrs.evolve(REPORT, quarantined_rows=1)]), 5),
        (ROLLBACK, 5),
        (attrs.evolve(ROLLBACK, conflicts=0), 0),
        (PROBLEM, 1),
        (PLAN, 0),
        (DETAILS, 0),
        (attrs.evolve(DETAILS, state="damaged"), 1),
        (PUT_BACK, 5),
        (attrs.evolve(PUT_BACK, refused_rows=0), 0),
    ],
)
def test_exit_codes_of_answers(answer: object, code: int) -> None:
    assert exits.of_answer(answer) == code


def test_an_error_document_carries_the_report_and_what_had_finished() -> None:
    error = errors.QuarantineExceeded("3 rows were refused", "Look at them")
    error.report = attrs.evolve(REPORT, status="rolled_back")  # type: ignore[attr-defined]
    document = json.loads(shapes.encode(shapes.error_document(error, finished=[REPORT])))
    assert document["error"] == {
        "type": "QuarantineExceeded",
        "what": "3 rows were refused",
        "todo": "Look at them",
    }
    assert document["report"]["status"] == "rolled_back"
    assert [report["run_id"] for report in document["finished"]] == ["5b1c"]


def test_an_unexpected_error_keeps_its_words_to_itself() -> None:
    """Its message may hold anything, a row's values too."""
    document = shapes.error_document(ValueError("invalid input: 'secret'"))
    assert "secret" not in json.dumps(document)


def test_a_new_key_is_not_in_its_repr() -> None:
    assert "ab" * 32 not in repr(answers.NewKey("ab" * 32, None))


def test_the_list_says_why_rows_could_not_be_counted() -> None:
    state = attrs.evolve(STATE, applicable=True, pending=None, reason="no encryption key is configured")
    assert "(cannot be counted: no encryption key is configured)" in plain(answers.Migrations([state]))


def test_a_retry_tells_what_became_of_each_row_and_how_to_go_on() -> None:
    text = plain(RETRY)
    assert re.search(r"users +u1 +changed", text)
    assert re.search(r"users +u2 +refused again +malformed +not a token", text)
    assert "paused: datamig resume 5b1c" in text
    assert "refused no row" in plain(attrs.evolve(RETRY, outcomes={}, rows=()))


def test_a_quarantine_tells_refused_rows_from_those_that_were_left_on_purpose() -> None:
    left = attrs.evolve(REFUSED, key=("u2",), left=True)
    (table,) = render.page(answers.Quarantine("5b1c", [REFUSED, left]))
    assert isinstance(table, page.Table)
    assert table.columns[1:3] == ("key", "what")
    assert [row[1:3] for row in table.rows] == [("u1", "refused"), ("u2", "left")]


def test_few_rules_are_told_whole_and_many_in_a_table() -> None:
    told = plain(answers.Rules([RULE]))
    assert "Complete it." in told
    assert "datamig run complete-goals" in told
    listed = plain(answers.Rules([attrs.evolve(RULE, id=f"rule-{number}") for number in range(9)]))
    assert "Complete it." not in listed
    assert len(listed.splitlines()) == 11


def validation(*found: CheckResult, **values: object) -> str:
    return plain(attrs.evolve(VALIDATION, checks=found, **values))


def test_a_validation_tells_the_worst_first_and_what_mends_it() -> None:
    (low,) = VALIDATION.checks
    worse = attrs.evolve(low, id="worse", severity="critical", fix="merge-duplicates", note="of a sample")
    page = validation(worse, low)
    order = ["CRITICAL", "  1,234  Goal", "worse in public.goals: a, b, ...", "of a sample", "LOW"]
    order += ["datamig run merge-duplicates  1 finding", "By hand: 1 finding", "2 of 2 checks"]
    places = [page.index(words) for words in order]
    assert places == sorted(places)


def test_a_validation_of_sixty_checks_is_no_wall_of_text() -> None:
    (low,) = VALIDATION.checks
    keys = tuple(f"5b1c0000-0000-4000-8000-{number:012}" for number in range(10))
    found = [attrs.evolve(low, id=f"rule-{n}:goals.column", sample_keys=keys) for n in range(20)]
    fine = [attrs.evolve(low, id=f"fine-{n}", violations=0, sample_keys=()) for n in range(20)]
    skipped = [attrs.evolve(each, skipped=f"there is no table {each.id} here") for each in fine]
    lines = validation(*found, *fine, *skipped).splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 80


def test_a_validation_next_to_a_baseline_counts_what_it_does_not_show() -> None:
    (low,) = VALIDATION.checks
    known, gone = attrs.evolve(low, before=1_234), attrs.evolve(low, id="gone", violations=0, before=5)
    page = validation(known, gone, attrs.evolve(low, id="grown", before=1_000), baseline=NOON)
    assert "1,234  Goal holds more than its target (234 new)" in page
    assert "1 finding (1,234 rows) known since the baseline of" in page
    assert "1 finding of the baseline of" in page
    assert "goal-over-target" not in page
    assert "Nothing new is wrong" in validation(known, baseline=NOON)


def test_words_of_a_database_cannot_steer_the_terminal() -> None:
    (low,) = VALIDATION.checks
    hostile = validation(attrs.evolve(low, title="a\x1b[2Jb\x9bc\rd", sample_keys=("\x07",)))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", hostile)

"""Answers as pages for people. Numbers have thousands separators, times are local, values never appear."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from taaxdog_datamig.engine.reports import Plan, RollbackReport, RunRecord, RunReport
from taaxdog_datamig_cli import answers
from taaxdog_datamig_cli.page import Block, Facts, Line, Page, Table, Tone

_TONES: dict[str, Tone] = {
    "succeeded": "good",
    "nothing_to_do": "good",
    "already_run": "good",
    "failed": "bad",
    "paused": "warn",
    "rolling_back": "warn",
    "rolled_back": "warn",
    "problem": "bad",
    "warning": "warn",
    "ok": "good",
}

_ENDINGS: dict[str, str] = {
    "succeeded": "done",
    "nothing_to_do": "nothing to do",
    "already_run": "already run",
    "rolled_back": "rolled back",
}

_CONFLICT_KEYS_SHOWN = 10

#: The beginning of a run's id is enough for every command, and leaves room in a table.
_ID_SHOWN = 8
_TO_THE_MINUTE = len("2026-03-01 12:00")


def page(answer: Any) -> Page:
    """The page of an answer that a command returned."""
    return _PAGES[type(answer)](answer)


def count(number: int) -> str:
    """`number` with thousands separators."""
    return f"{number:,}"


def size(number: int) -> str:
    """Bytes in the unit that leaves one to four digits."""
    value, units = float(number), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:  # noqa: PLR2004  a kilobyte has 1000 bytes
        value, units = value / 1000, units[1:]
    return f"{value:,.0f} {units[0]}" if value >= 10 or units[0] == "bytes" else f"{value:.1f} {units[0]}"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 10:  # noqa: PLR2004  below, tenths tell something
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def moment(when: datetime | None) -> str:
    """A time of day, in this machine's zone, to the second."""
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M:%S}"


def _run_report(report: RunReport) -> Page:
    ending = _ENDINGS.get(report.status, report.status)
    title = f"{report.migration} {report.version}: {ending}"
    if report.dry_run:
        title += " (dry run, nothing was changed)"
    blocks: list[Block] = [Line(title, _TONES.get(report.status, "plain"))]
    if report.status == "already_run":
        return [*blocks, *(Line(text) for text in report.warnings)]
    blocks.append(Facts(_run_facts(report)))
    if report.quarantined_rows and report.run_id:
        blocks.append(Line(f"Refused rows: datamig quarantine list {report.run_id}", "warn"))
    if report.error:
        blocks.append(Line(report.error, "bad"))
    return [*blocks, *_warnings(report.warnings)]


def _run_facts(report: RunReport) -> list[tuple[str, str]]:
    verb = "rows that would change" if report.dry_run else "rows changed"
    pairs = [("run", report.run_id)] if report.run_id else []
    pairs.append((verb, count(report.changed_rows)))
    for name, number in (
        ("rows skipped", report.skipped_rows),
        ("rows quarantined", report.quarantined_rows),
        ("rows read again", report.conflicts),
    ):
        if number:
            pairs.append((name, count(number)))
    seconds = (report.finished_at - report.started_at).total_seconds()
    pairs.append(("time", f"{duration(seconds)} ({count(round(report.rows_per_second))} rows/s)"))
    if report.hot_ratio is not None:
        pairs.append(("heap-only updates", f"{report.hot_ratio:.0%}"))
    if report.wal_bytes:
        pairs.append(("WAL", size(report.wal_bytes)))
    if report.backup_id:
        pairs.append(("backup", report.backup_id))
    pairs += [(f"proof: {name}", _fact(value)) for name, value in report.proof.items()]
    if report.resumed:
        pairs.append(("resumed", "this process went on where another had stopped"))
    return pairs


def _fact(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return count(value)
        case dict():
            return ", ".join(f"{key}: {_fact(item)}" for key, item in value.items())
        case list() | tuple():
            return ", ".join(_fact(item) for item in value)
    return str(value)


def _plan(plan: Plan) -> Page:
    blocks: list[Block] = [Line(f"{plan.migration} {plan.version}: {plan.description}", "head")]
    if not plan.applicable:
        return [*blocks, Line(f"Not applicable here: {plan.reason}", "warn")]
    blocks.append(
        Table(
            ("table", "columns", "pending rows", "of", "size", "estimate"),
            [
                (
                    table.table,
                    ", ".join(table.columns),
                    count(table.pending_rows),
                    count(table.total_rows),
                    size(table.heap_bytes),
                    table.estimate,
                )
                for table in plan.tables
            ],
            numbers=frozenset({"pending rows", "of", "size"}),
        )
    )
    shortest, longest = plan.seconds
    pairs = [("pending rows", count(plan.pending_rows))]
    if longest:
        source = f" ({plan.seconds_from})" if plan.seconds_from else ""
        pairs.append(("time", f"{duration(shortest)} to {duration(longest)}{source}"))
    if plan.growth_bytes or plan.wal_bytes:
        pairs.append(("growth", f"{size(plan.growth_bytes)} of table, {size(plan.wal_bytes)} of WAL"))
    for table in plan.tables:
        pairs += [("definition", statement) for statement in table.ddl]
        pairs += [("trigger fires", f"{table.table}: {name}") for name in table.triggers]
        pairs += [("index affected", f"{table.table}: {name}") for name in table.indexes]
    return [*blocks, Facts(pairs), *_warnings(plan.warnings)]


def _rollback(report: RollbackReport) -> Page:
    verb = "would be rolled back" if report.dry_run else "rolled back"
    blocks: list[Block] = [
        Line(f"{report.migration}, run {report.run_id}: {verb}", "warn" if report.conflicts else "good"),
        Facts(
            [
                ("rows restored", count(report.restored_rows)),
                ("rows left alone", count(report.conflicts)),
                ("time", duration(report.seconds)),
            ]
        ),
    ]
    if report.conflicts:
        blocks.append(Line("Left alone, because they were changed after the run:", "warn"))
        for table, keys in report.conflict_keys.items():
            more = len(keys) - _CONFLICT_KEYS_SHOWN
            shown = ", ".join(keys[:_CONFLICT_KEYS_SHOWN]) + (f" and {count(more)} more" if more > 0 else "")
            blocks.append(Line(f"  {table}: {shown}"))
    return [*blocks, *_warnings(report.warnings)]


def _record(run: RunRecord) -> Page:
    pairs = [
        ("run", run.run_id),
        ("started", moment(run.started_at)),
        ("rows changed", f"{count(run.affected_rows)} of about {count(run.estimated_rows)}"),
    ]
    if run.completed_at:
        pairs.insert(2, ("completed", moment(run.completed_at)))
    if run.quarantined_rows:
        pairs.append(("rows quarantined", count(run.quarantined_rows)))
    if run.owner:
        pairs.append(
            ("held by", f"{run.owner} ({'alive' if run.alive else 'gone; `run` or `resume` goes on'})")
        )
    for name, text in (
        ("requested", run.control),
        ("waits for", run.waiting),
        ("error", run.error),
        ("rollback", run.rollback),
        ("by", ", ".join(f"{name} {value}" for name, value in run.actor.items())),
    ):
        if text:
            pairs.append((name, text))
    title = f"{run.migration} {run.version}: {_ENDINGS.get(run.status, run.status)}"
    return [Line(title, _TONES.get(run.status, "plain")), Facts(pairs)]


def _status(answer: answers.Status) -> Page:
    if not answer.runs:
        return [Line("No run yet.")]
    return [block for run in answer.runs for block in _record(run)]


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


def _migrations(answer: answers.Migrations) -> Page:
    return [
        Table(
            ("migration", "category", "version", "pending rows", "description"),
            [
                (
                    state.name,
                    state.category,
                    state.version,
                    "" if state.pending is None else count(state.pending),
                    state.description
                    if state.applicable
                    else f"{state.description} (not here: {state.reason})",
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
            ("table", "key", "code", "reason", "at"),
            [(row.table, ", ".join(row.key), row.code, row.reason, moment(row.at)) for row in answer.rows],
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


def _warnings(warnings: tuple[str, ...]) -> list[Line]:
    return [Line(f"warning: {text}", "warn") for text in warnings]


_PAGES: dict[type, Callable[[Any], Page]] = {
    RunReport: _run_report,
    answers.RunReports: lambda answer: [block for report in answer.reports for block in _run_report(report)],
    Plan: _plan,
    answers.Plans: lambda answer: [block for plan in answer.plans for block in _plan(plan)],
    RollbackReport: _rollback,
    RunRecord: _record,
    answers.Migrations: _migrations,
    answers.Status: _status,
    answers.History: _history,
    answers.Quarantine: _quarantine,
    answers.Diagnosis: _diagnosis,
    answers.Sample: _sample,
    answers.NewKey: _new_key,
    answers.Demo: _demo,
}

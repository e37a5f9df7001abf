"""Pages of what plans and runs tell: plan, run report, rollback report, run record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taaxdog_datamig.engine.reports import (
    Plan,
    Pulse,
    RollbackReport,
    RunDetails,
    RunRecord,
    RunReport,
    RunValidation,
    TaskReport,
)
from taaxdog_datamig.engine.retry_reports import RetryReport
from taaxdog_datamig_cli.page import Block, Facts, Line, Page, Table, Tone
from taaxdog_datamig_cli.units import count, duration, moment, size

_TONES: dict[str, Tone] = {
    "succeeded": "good",
    "nothing_to_do": "good",
    "already_run": "good",
    "failed": "bad",
    "paused": "warn",
    "rolling_back": "warn",
    "rolled_back": "warn",
}

_ENDINGS: dict[str, str] = {
    "succeeded": "done",
    "nothing_to_do": "nothing to do",
    "already_run": "already run",
    "rolled_back": "rolled back",
}

_CONFLICT_KEYS_SHOWN = 10

_OUTCOMES: dict[str, str] = {
    "changed": "changed",
    "refused": "refused again",
    "left": "left on purpose",
    "unneeded": "needs nothing any more",
    "gone": "gone",
    "busy": "in use, still refused",
}
_RETRIED_SHOWN = 100


def ending(status: str) -> str:
    """A run's status in words."""
    return _ENDINGS.get(status, status.replace("_", " "))


def run_page(report: RunReport) -> Page:
    """What a run did, or a dry run would have done."""
    title = f"{report.migration} {report.version}: {ending(report.status)}"
    if report.dry_run:
        title += " (dry run, nothing was changed)"
    blocks: list[Block] = [Line(title, _TONES.get(report.status, "plain"))]
    if report.status == "already_run":
        return [*blocks, *(Line(text) for text in report.warnings)]
    blocks.append(Facts(_run_facts(report)))
    blocks += _preview(report)
    if report.tasks:
        blocks.append(_tasks_table(report.tasks))
    if report.quarantined_rows and report.run_id:
        blocks.append(Line(f"Refused rows: datamig quarantine list {report.run_id}", "warn"))
    elif report.left_rows and report.run_id:
        blocks.append(Line(f"Rows left on purpose: datamig quarantine list {report.run_id}"))
    if report.error:
        blocks.append(Line(report.error, "bad"))
    return [*blocks, *_warnings(report.warnings)]


def _preview(report: RunReport) -> list[Block]:
    """Of a dry run: what would change in which columns, and some rows, masked."""
    blocks: list[Block] = []
    counted = [
        (table, column, count(rows))
        for table, columns in report.columns.items()
        for column, rows in columns.items()
    ]
    if counted:
        blocks.append(
            Table(
                ("table", "column", "rows that would change"), counted, frozenset({"rows that would change"})
            )
        )
    changed = [
        (", ".join(part or "" for part in row.key), f"{row.table}.{sight.column}", sight.before, sight.after)
        for row in report.preview
        for sight in row.values
    ]
    if changed:
        blocks.append(Line("Such as, with values masked to their shape:", "head"))
        blocks.append(Table(("row", "column", "before", "after"), changed))
    deleted: dict[str, list[str]] = {}
    for row in report.preview:
        if row.happening == "delete":
            deleted.setdefault(row.table, []).append(", ".join(part or "" for part in row.key))
    if deleted:
        blocks.append(Line("Rows that would be deleted, such as:", "head"))
        blocks.append(Facts([(table, "; ".join(keys)) for table, keys in deleted.items()]))
    return blocks


def _run_facts(report: RunReport) -> list[tuple[str, str]]:
    verb = "rows that would change" if report.dry_run else "rows changed"
    pairs = [("run", report.run_id)] if report.run_id else []
    if report.tasks:
        done = sum(task.outcome == "done" for task in report.tasks)
        pairs.append(("tasks done", f"{count(done)} of {count(len(report.tasks))}"))
    else:
        pairs.append((verb, count(report.changed_rows)))
    for name, number in (
        ("rows skipped", report.skipped_rows),
        ("rows left as they are", report.left_rows),
        ("rows quarantined", report.quarantined_rows),
        ("rows read again", report.conflicts),
    ):
        if number:
            pairs.append((name, count(number)))
    if report.deleted_rows:
        deleted = ", ".join(f"{count(rows)} {table}" for table, rows in report.deleted_rows.items())
        pairs.append(("rows deleted", deleted))
    if report.archive_id is not None:
        pairs.append(("archived first", f"datamig archive show {report.archive_id}"))
    seconds = (report.finished_at - report.started_at).total_seconds()
    rate = "" if report.tasks else f" ({count(round(report.rows_per_second))} rows/s)"
    pairs.append(("time", duration(seconds) + rate))
    if report.hot_ratio is not None:
        pairs.append(("heap-only updates", f"{report.hot_ratio:.0%}"))
    if report.wal_bytes:
        pairs.append(("WAL", size(report.wal_bytes)))
    if report.backup_id:
        pairs.append(("backup", report.backup_id))
    pairs += [
        (f"proof: {name.replace('_', ' ')}", _fact(value))
        for name, value in report.proof.items()
        if value or name == "pending"
    ]
    pairs += [("definition", statement) for statement in report.ddl]
    pairs += _validation_facts(report.validation)
    if report.resumed:
        pairs.append(("resumed", "this process went on where another had stopped"))
    return pairs


def _validation_facts(validation: RunValidation | None) -> list[tuple[str, str]]:
    """Checks and findings, before and after."""
    if validation is None:
        return []
    before = sum(check.before or 0 for check in validation.checks)
    said = f"{count(validation.checks_made)} checks, {count(before)} findings before"
    if validation.seconds_after is None:
        return [("validation", said)]
    return [("validation", f"{said}, {count(sum(check.after or 0 for check in validation.checks))} after")]


def _tasks_table(tasks: Sequence[TaskReport]) -> Table:
    """What was done to tables and indexes, with dead rows and size before and after."""
    return Table(
        ("table or index", "task", "why", "outcome", "dead rows", "size", "bloat"),
        [
            (
                task.relation,
                task.action,
                task.reason,
                task.outcome,
                _before_after(task, "dead_rows", count),
                _before_after(task, "bytes", size),
                _before_after(task, "bloat_bytes", size),
            )
            for task in tasks
        ],
        numbers=frozenset({"dead rows", "size", "bloat"}),
    )


def _before_after(task: TaskReport, figure: str, shown: Callable[[int], str]) -> str:
    values = [figures[figure] for figures in (task.before, task.after) if figures is not None]
    return " -> ".join(dict.fromkeys(shown(value) for value in values if value is not None))


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


def plan_page(plan: Plan) -> Page:
    """What a run would do."""
    blocks: list[Block] = [Line(f"{plan.migration} {plan.version}: {plan.description}", "head")]
    if not plan.applicable:
        return [*blocks, Line(f"Not applicable here: {plan.reason}", "warn")]
    if plan.tasks or not (plan.tables or plan.pending_rows):
        tasks: list[Block] = [_tasks_table(plan.tasks)] if plan.tasks else [Line("Nothing needs it.", "good")]
        return [*blocks, *tasks, *_warnings(plan.warnings)]
    shown = [table for table in plan.tables if table.pending_rows] or plan.tables
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
                for table in shown
            ],
            numbers=frozenset({"pending rows", "of", "size"}),
        )
    )
    if idle := len(plan.tables) - len(shown):
        blocks.append(Line(f"  {idle} more have nothing pending"))
    shortest, longest = plan.seconds
    pairs = [("pending rows", count(plan.pending_rows))]
    if longest:
        source = f" ({plan.seconds_from})" if plan.seconds_from else ""
        pairs.append(("time", f"{duration(shortest)} to {duration(longest)}{source}"))
    if plan.growth_bytes or plan.wal_bytes:
        pairs.append(("growth", f"{size(plan.growth_bytes)} of table, {size(plan.wal_bytes)} of WAL"))
    for table in shown:
        pairs += [("definition", statement) for statement in table.ddl]
        pairs += [("trigger fires", f"{table.table}: {name}") for name in table.triggers]
        pairs += [("index affected", f"{table.table}: {name}") for name in table.indexes]
    orders: dict[str, list[str]] = {
        table.order: [] for table in shown if table.order
    }  # said once for all tables
    for table in shown:
        if table.order:
            orders[table.order].append(table.table)
    pairs += [("order", f"{', '.join(tables)}: {why}") for why, tables in orders.items()]
    return [*blocks, Facts(pairs), *_warnings(plan.warnings)]


def rollback_page(report: RollbackReport) -> Page:
    """What a rollback restored, and what it left alone."""
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


def retry_page(report: RetryReport) -> Page:
    """What became of rows that had been refused."""
    title = f"{report.migration}, run {report.run_id}"
    if not report.outcomes:
        return [Line(f"{title} has refused no row.", "good")]
    pairs = [(_OUTCOMES[outcome], count(rows)) for outcome, rows in report.outcomes.items()]
    pairs.append(("time", duration(report.seconds)))
    blocks: list[Block] = [
        Line(f"{title}: refused rows done again", "warn" if report.still_refused else "good"),
        Facts(pairs),
        Table(
            ("table", "key", "what", "code", "reason"),
            [
                (row.table, ", ".join(row.key), _OUTCOMES[row.outcome], row.code, row.reason)
                for row in report.rows[:_RETRIED_SHOWN]
            ],
        ),
    ]
    if (more := sum(report.outcomes.values()) - _RETRIED_SHOWN) > 0:
        blocks.append(Line(f"  and {count(more)} more"))
    if report.status == "paused":
        blocks.append(Line(f"The run is paused: datamig resume {report.run_id}"))
    return blocks


def record_page(run: RunRecord) -> Page:
    """How a run stands."""
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
        ("workers", f"{run.workers} of {run.most_workers}" if run.workers else ""),
        ("waits for", run.waiting),
        ("error", run.error),
        ("rollback", run.rollback),
        ("by", ", ".join(f"{name} {value}" for name, value in run.actor.items())),
    ):
        if text:
            pairs.append((name, text))
    title = f"{run.migration} {run.version}: {ending(run.status)}"
    return [Line(title, _TONES.get(run.status, "plain")), Facts(pairs)]


def details_page(details: RunDetails) -> Page:
    """Everything about a run: how it stands, what it reported, how fast it was."""
    blocks: list[Block] = [*record_page(details.run)]
    report = details.report or {}
    pairs = [
        (f"proof: {name.replace('_', ' ')}", _fact(value)) for name, value in report.get("proof", {}).items()
    ]
    if report.get("hot_ratio") is not None:
        pairs.insert(0, ("heap-only updates", f"{report['hot_ratio']:.0%}"))
    if details.run.backup_id:
        pairs.append(("backup", details.run.backup_id))
    pairs += [(f"listed: {code}", count(rows)) for code, rows in details.listed.items()]
    if pairs:
        blocks.append(Facts(pairs))
    if points := _coarse(details.timeline):
        rows = [
            (
                duration(point.second),
                count(point.rows),
                count(round(point.rows / (point.seconds or 1))),
                count(round(point.rows / point.chunks)) if point.chunks else "",
                f"{1000 * point.slowest:,.0f} ms" if point.chunks else "",
                f"{point.hot / point.rows:.0%}" if point.rows else "",
            )
            for point in points
        ]
        heads = ("since", "rows", "rows/s", "rows a chunk", "slowest chunk", "heap-only")
        blocks.append(Table(heads, rows, frozenset(heads)))
    return [*blocks, *_warnings(tuple(report.get("warnings", ())))]


def _coarse(timeline: Sequence[Pulse], most: int = 12) -> list[Pulse]:
    """A timeline with fewer points, which fits a screen."""
    step = -(-len(timeline) // most) or 1
    return [
        Pulse(
            second=part[0].second,
            seconds=sum(point.seconds for point in part),
            rows=sum(point.rows for point in part),
            chunks=sum(point.chunks for point in part),
            hot=sum(point.hot for point in part),
            slowest=max(point.slowest for point in part),
        )
        for part in (timeline[start : start + step] for start in range(0, len(timeline), step))
    ]


def _warnings(warnings: tuple[str, ...]) -> list[Line]:
    return [Line(f"warning: {text}", "warn") for text in warnings]

"""A run's report as one page of HTML: what changed and how fast, proof, validation, and the way back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from taaxdog_datamig.pages import Series, escaped, figure, framed, lines, section, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from taaxdog_datamig.engine.reports import RunDetails, RunRecord
    from taaxdog_datamig.pages import Tone

_ENDINGS: dict[str, tuple[Tone, str]] = {
    "succeeded": ("good", "✓ Done, and proven"),
    "rolled_back": ("warn", "! Rolled back"),
    "rolling_back": ("warn", "! Being rolled back"),
    "paused": ("warn", "! Paused"),
    "running": ("warn", "! Not over yet"),
    "failed": ("bad", "✗ Failed"),
}


def run_html(details: RunDetails) -> str:
    """The page.

    Args:
        details: of the run, from `Runner.details`.
    """
    run, report = details.run, details.report or {}
    tone, words = _ENDINGS.get(run.status, ("warn", run.status))
    if run.status == "running" and not run.alive:
        words = "! Left by its process"
    verdict = f"{words}: {run.error}" if run.error else words
    return framed(
        f"{run.migration} {run.version}",
        (tone, verdict),
        _facts(run, report),
        (
            _next(run),
            _timeline(details),
            _changed(report),
            _proof(report),
            _validation(report),
            _listed(details),
            _warnings(report),
        ),
    )


def _facts(run: RunRecord, report: Mapping[str, Any]) -> list[tuple[str, str]]:
    pairs = [
        ("Run", run.run_id),
        ("Began", _moment(run.started_at)),
        ("Ended", _moment(run.completed_at) if run.completed_at else "not yet"),
        ("By", ", ".join(f"{name} {value}" for name, value in run.actor.items())),
        ("Rows changed", f"{run.affected_rows:,} of about {run.estimated_rows:,}"),
    ]
    if run.quarantined_rows:
        pairs.append(("Rows refused", f"{run.quarantined_rows:,}"))
    if run.waiting and run.alive:
        pairs.append(("Waits", run.waiting))
    for name, key, form in (
        ("Rows a second", "rows_per_second", "{:,.0f}"),
        ("Heap-only updates", "hot_ratio", "{:.0%}"),
        ("WAL, MB", "wal_bytes", "{:,.1f}"),
        ("Chunks", "chunks", "{:,}"),
        ("Rows read again", "conflicts", "{:,}"),
    ):
        if (value := report.get(key)) is not None:
            pairs.append((name, form.format(value / 1e6 if key == "wal_bytes" else value)))
    pairs.append(("Backup", run.backup_id or "none"))
    if archive := report.get("archive_id"):
        pairs.append(("Archive", archive))
    return pairs


def _next(run: RunRecord) -> str:
    """What can be done about it, as it is typed."""
    commands: list[tuple[str, str]] = []
    if run.status in {"running", "paused"}:
        commands += [("Go on", f"datamig resume {run.run_id}"), ("Give up", f"datamig cancel {run.run_id}")]
    if run.status == "succeeded" and run.affected_rows:
        commands += [
            ("See what a rollback would do", f"datamig rollback {run.run_id} --dry-run"),
            ("Roll back", f"datamig rollback {run.run_id}"),
        ]
    if run.status == "rolling_back":
        commands.append(("Go on rolling back", f"datamig rollback {run.run_id}"))
    if run.backup_id:
        commands.append(("What the backup holds", f"datamig backup show {run.backup_id}"))
    if run.quarantined_rows:
        commands.append(("Which rows were refused, and why", f"datamig quarantine list {run.run_id}"))
    rows = "".join(
        f'<tr><th scope="row">{escaped(what)}</th><td><code>{escaped(typed)}</code></td></tr>'
        for what, typed in commands
    )
    told = f"<p>Rollback data: {escaped(run.rollback)}.</p>"
    shown = f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>' if rows else ""
    return f"<section><h2>What to do next</h2>{told}{shown}</section>"


def _timeline(details: RunDetails) -> str:
    points = details.timeline
    if len(points) < 2:  # noqa: PLR2004  a line has two ends
        return ""
    began = points[0].second
    moments = [f"{point.second - began:,.1f} s" for point in points]
    drawn = [
        ("Rows a second", [Series("rows/s", [round(p.rows / (p.seconds or 1)) for p in points])]),
        ("Rows a chunk", [Series("rows", [round(p.rows / p.chunks) if p.chunks else None for p in points])]),
        (
            "Slowest chunk, milliseconds",
            [Series("ms", [round(1000 * p.slowest) if p.chunks else None for p in points])],
        ),
        (
            "Heap-only updates, percent",
            [Series("%", [round(100 * p.hot / p.rows) if p.rows else None for p in points])],
        ),
    ]
    figures = "".join(figure(title, lines(title, series, moments)) for title, series in drawn)
    rows = [
        (
            moment,
            f"{p.rows:,}",
            f"{p.chunks:,}",
            f"{p.rows / (p.seconds or 1):,.0f}",
            f"{1000 * p.slowest:,.0f}",
            f"{p.hot:,}",
        )
        for moment, p in zip(moments, points, strict=True)
    ]
    heads = ("Since the first chunk", "Rows", "Chunks", "Rows/s", "Slowest chunk, ms", "Heap-only")
    numbers = table(heads, rows, numbers=range(1, len(heads)))
    return (
        f'<section><h2>Timeline</h2><div class="charts">{figures}</div>'
        f"<details><summary>As numbers</summary>{numbers}</details></section>"
    )


def _changed(report: Mapping[str, Any]) -> str:
    names = ("changed_rows", "skipped_rows", "left_rows", "quarantined_rows", "conflicts", "chunks")
    heads = ("Table", "Changed", "Skipped", "Left on purpose", "Refused", "Read again", "Chunks")
    rows = [
        (each["table"], *(f"{each.get(name, 0):,}" for name in names)) for each in report.get("tables", ())
    ]
    told = table(heads, rows, numbers=range(1, len(heads))) if rows else ""
    deleted = report.get("deleted_rows") or {}
    gone = table(("Table", "Rows deleted"), [(t, f"{n:,}") for t, n in deleted.items()], numbers=(1,))
    return f"<section><h2>What changed</h2>{told}{gone if deleted else ''}</section>" if told else ""


def _proof(report: Mapping[str, Any]) -> str:
    rows = [(name.replace("_", " "), _told(value)) for name, value in (report.get("proof") or {}).items()]
    return f"<section><h2>Proof</h2>{table(('What was looked at', 'Found'), rows)}</section>" if rows else ""


def _told(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case dict():
            return ", ".join(f"{name}: {_told(item)}" for name, item in value.items())
        case list():
            return ", ".join(_told(item) for item in value)
    return str(value)


def _validation(report: Mapping[str, Any]) -> str:
    validation = report.get("validation")
    if validation is None:
        return "<section><h2>Validation</h2><p>None was made.</p></section>" if report else ""
    rows = [
        (
            check["title"],
            check["table"],
            check["severity"],
            _number(check["before"]),
            check.get("error") or _number(check["after"]),
        )
        for check in validation["checks"]
    ]
    told = f"<p>{validation['checks_made']:,} checks before and after.</p>"
    found = table(("Check", "Table", "Severity", "Rows before", "Rows after"), rows, numbers=(3, 4))
    return f"<section><h2>Validation</h2>{told}{found if rows else '<p>Nothing was found.</p>'}</section>"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _listed(details: RunDetails) -> str:
    rows = [(code, f"{number:,}") for code, number in details.listed.items()]
    return section(
        "Rows refused or left on purpose",
        sum(details.listed.values()),
        table(("Code", "Rows"), rows, numbers=(1,)),
        open_=True,
    )


def _warnings(report: Mapping[str, Any]) -> str:
    told = "".join(f"<li>{escaped(warning)}</li>" for warning in report.get("warnings", ()))
    return f"<section><h2>Warnings</h2><ul>{told}</ul></section>" if told else ""


def _moment(when: datetime) -> str:
    utc = (when - (when.utcoffset() or timedelta())).replace(tzinfo=None)
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC"

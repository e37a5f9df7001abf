"""A validation as one page of HTML; `findings.js` filters and sorts what was found."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from taaxdog_datamig.pages import Bar, Series, bars, escaped, figure, framed, lines, section, spark, table
from taaxdog_datamig.validation.formats.words import command, keys, known_since
from taaxdog_datamig.validation.model import CATEGORIES, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.pages import Tone
    from taaxdog_datamig.validation.report import CheckResult, ValidationReport

#: Tables drawn; all are listed.
_TABLES: Final = 12
#: Keys in a row of the findings; the others are a click away.
_KEYS: Final = 2


def page(report: ValidationReport, history: Sequence[ValidationReport] = ()) -> str:
    """The page.

    Args:
        report: what was found.
        history: earlier reports, the oldest first.
    """
    runs = [*history, report]
    sections = (
        _charts(report),
        _trend(runs) if history else "",
        _findings(report, runs),
        _unmade(report),
        _known(report),
        _passed(report),
        _skipped(report),
        _tables(report),
    )
    script = files(__package__).joinpath("findings.js").read_text("utf-8")
    return framed(f"Validation of {report.database}", _verdict(report), _facts(report), sections, script)


def _verdict(report: ValidationReport) -> tuple[Tone, str]:
    new = "new " if report.baseline is not None else ""
    found = len(report.failed)
    if report.errors:
        return (
            "bad",
            f"✗ {_checks(found)} found something {new}and {_checks(len(report.errors))} could not be made",
        )
    if not found:
        return "good", f"✓ Nothing {new}is wrong"
    what = f"{_checks(found)} found something {new}".rstrip()
    if report.valid:
        return "warn", f"! {what}, none of it as severe as {report.fail_on}"
    return "bad", f"✗ {what}"


def _checks(number: int) -> str:
    return f"{number:,} {'check' if number == 1 else 'checks'}"


def _facts(report: ValidationReport) -> list[tuple[str, str]]:
    made = sum(check.made for check in report.checks)
    pairs = [
        ("When", f"{report.moment:%Y-%m-%d %H:%M:%S} UTC"),
        ("Took", f"{report.seconds:,.1f} s"),
        ("Checks made", f"{made:,} of {len(report.checks):,}"),
        ("Rows read", f"{sum(table.rows for table in report.tables):,}"),
        ("Server", f"PostgreSQL {report.server_version}"),
        ("Fails on", f"{report.fail_on} or worse"),
    ]
    if report.user_id is not None:
        pairs.append(("User", report.user_id))
    if report.baseline is not None:
        pairs.append(("Baseline", f"{report.baseline:%Y-%m-%d %H:%M:%S} UTC"))
    return pairs


def _charts(report: ValidationReport) -> str:
    severities = Counter(check.severity for check in report.failed)
    categories = Counter(check.category for check in report.failed)
    slowest = sorted(report.tables, key=lambda table: table.rows, reverse=True)[:_TABLES]
    drawn = [
        (
            "Failing checks by severity",
            [Bar(name, severities[name], f"{severities[name]:,}", name) for name in SEVERITIES],
        ),
        (
            "Failing checks by category",
            [Bar(name, categories[name], f"{categories[name]:,}") for name in CATEGORIES],
        ),
        (
            "Rows read, and time",
            [Bar(table.name, table.rows, f"{table.rows:,} in {table.seconds:.1f} s") for table in slowest],
        ),
    ]
    figures = "".join(figure(title, bars(title, rows)) for title, rows in drawn if rows)
    return f'<section aria-label="Charts"><h2>At a glance</h2><div class="charts">{figures}</div></section>'


def _trend(runs: Sequence[ValidationReport]) -> str:
    """How it was before: every finding counts here, also what a baseline hides."""
    moments = [f"{run.moment:%Y-%m-%d %H:%M}" for run in runs]
    found = [[check for check in run.checks if check.violations] for run in runs]
    by_severity = [
        Series(name, [sum(check.severity == name for check in checks) for checks in found], name)
        for name in SEVERITIES
    ]
    seen = [line for line in by_severity if any(line.values)]
    rows = Series("rows", [sum(check.violations for check in checks) for checks in found])
    figures = figure("Failing checks", lines("Failing checks", seen or by_severity[:1], moments)) + figure(
        "Rows that break a rule", lines("Rows that break a rule", [rows], moments)
    )
    numbers = table(
        ("When (UTC)", *SEVERITIES, "rows"),
        [
            (moment, *(f"{line.values[place]:,}" for line in by_severity), f"{rows.values[place]:,}")
            for place, moment in reversed(list(enumerate(moments)))
        ],
        numbers=range(1, len(SEVERITIES) + 2),
    )
    return (
        f'<section><h2>Trend over {len(runs)} validations</h2><div class="charts">{figures}</div>'
        f"<details><summary>As numbers</summary>{numbers}</details></section>"
    )


def _findings(report: ValidationReport, runs: Sequence[ValidationReport]) -> str:
    if not report.failed:
        return ""
    past = [{check.id: check.violations for check in run.checks if check.made} for run in runs]
    options = "".join(f"<option>{name}</option>" for name in SEVERITIES)
    heads = [
        '<th scope="col" data-sort="number">Severity</th>',
        '<th scope="col" data-sort="text">What</th>',
        '<th scope="col" data-sort="text">Table</th>',
        '<th scope="col" data-sort="number" class="number">Rows</th>',
        '<th scope="col">Such as</th>',
        '<th scope="col">Mended by</th>',
    ]
    if len(runs) > 1:
        heads.append('<th scope="col">Trend</th>')
    rows = "".join(
        _finding(
            report,
            check,
            [counts[check.id] for counts in past if check.id in counts] if len(runs) > 1 else None,
        )
        for check in report.failed
    )
    return (
        '<section id="findings"><h2>Findings, the worst first</h2><form class="filter" hidden>'
        '<label>Filter <input type="search"></label><label>Severity <select><option value="">all</option>'
        f'{options}</select></label></form><div class="scroll"><table><thead><tr>{"".join(heads)}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div></section>"
    )


def _finding(report: ValidationReport, check: CheckResult, past: Sequence[int] | None) -> str:
    new = f"<br>{check.new:,} new" if check.known else ""
    rank, severity, title = SEVERITIES.index(check.severity), check.severity, escaped(check.title)
    told = f'{title}<code class="id">{escaped(check.id)}</code>{_more(report, check)}'
    cells = [
        f'<td class="severity {severity}" data-value="{rank}">{severity}</td>',
        f'<th scope="row" data-value="{title}">{told}</th>',
        f'<td class="table" data-value="{escaped(check.table)}"><code>{escaped(check.table)}</code></td>',
        f'<td class="number" data-value="{check.violations}">{check.violations:,}{new}</td>',
        f'<td class="keys"><code>{escaped(keys(check, _KEYS)) if check.sample_keys else ""}</code></td>',
        f"<td>{f'<code>{escaped(command(check.fix))}</code>' if check.fix else ''}</td>",
    ]
    if past is not None:
        cells.append(f"<td>{spark(past)}</td>")
    return f'<tr data-severity="{check.severity}">{"".join(cells)}</tr>'


def _more(report: ValidationReport, check: CheckResult) -> str:
    rule = report.rule(check)
    told = [
        ("Meaning", rule.meaning if rule else ""),
        ("To mend", rule.remedy if rule else ""),
        ("Columns", ", ".join(check.columns)),
        ("Keys", keys(check) if len(check.sample_keys) > _KEYS else ""),
        ("Note", check.note),
    ]
    lines_ = "".join(f"<p>{name}: {escaped(words)}</p>" for name, words in told if words)
    return f'<details class="more"><summary>More</summary>{lines_}</details>' if lines_ else ""


def _unmade(report: ValidationReport) -> str:
    return _listed(
        "Could not be made",
        [(check.id, check.table, check.error or "") for check in report.errors],
        open_=True,
    )


def _known(report: ValidationReport) -> str:
    if report.baseline is None:
        return ""
    gone = [check for check in report.checks if check.before and not check.violations and check.made]
    return _listed(
        f"Not new, {known_since(report)}",
        [(check.id, check.table, f"{check.violations:,}, then {check.before:,}") for check in report.known],
    ) + _listed(
        "Gone since the baseline", [(check.id, check.table, f"0, then {check.before:,}") for check in gone]
    )


def _passed(report: ValidationReport) -> str:
    passed = [check for check in report.checks if check.made and not check.violations]
    return _listed("Nothing found", [(check.id, check.table, check.note) for check in passed])


def _skipped(report: ValidationReport) -> str:
    skipped = [(check.id, check.table, check.skipped) for check in report.checks if check.skipped]
    return _listed("Do not apply here", skipped)


def _tables(report: ValidationReport) -> str:
    rows = [(table.name, f"{table.rows:,}", f"{table.seconds:.2f}") for table in report.tables]
    return section("Tables read", len(rows), table(("Table", "Rows", "Seconds"), rows, numbers=(1, 2)))


def _listed(title: str, rows: Sequence[tuple[str, str, str]], *, open_: bool = False) -> str:
    return section(title, len(rows), table(("Check", "Table", "What"), rows), open_=open_)

"""A validation for people: what was found, the worst first, and what was not looked at."""

from __future__ import annotations

from collections import Counter

from taaxdog_datamig.validation import SEVERITIES, CheckResult, Severity, ValidationReport
from taaxdog_datamig_cli.page import Block, Line, Page, Table, Tone
from taaxdog_datamig_cli.units import count, duration

_TONES: dict[Severity, Tone] = {
    "critical": "bad",
    "high": "bad",
    "medium": "warn",
    "low": "warn",
    "warning": "dim",
}
#: Keys shown of each finding; the JSON document has more.
_KEYS = 3


def validation_page(report: ValidationReport) -> Page:
    """The page of a validation."""
    blocks: list[Block] = []
    for severity in SEVERITIES:
        if findings := [check for check in report.failed if check.severity == severity]:
            blocks += [Line(severity.upper(), _TONES[severity]), _findings(findings)]
    blocks += [
        Line(f"not checked: {check.id}: {check.error}", "bad") for check in report.checks if check.error
    ]
    blocks += [Line(f"{check.id}: {check.note}", "dim") for check in report.checks if check.note]
    if skipped := [check for check in report.checks if check.skipped]:
        reasons = Counter(check.skipped for check in skipped)
        blocks.append(Line(f"{len(skipped)} checks do not apply here:", "dim"))
        blocks += [Line(f"  {reason} ({number})", "dim") for reason, number in sorted(reasons.items())]
    return [*blocks, _verdict(report)]


def in_short(report: ValidationReport, *, fixed_by: str) -> Page:
    """The verdict, and what of it one migration mends."""
    mended = [check for check in report.failed if check.fix == fixed_by]
    rows = sum(check.violations for check in mended)
    share = f"{fixed_by} mends {count(rows)} rows found by {len(mended)} of these checks."
    return [_verdict(report), Line(share if mended else f"Nothing is left that {fixed_by} would mend.")]


def _findings(findings: list[CheckResult]) -> Table:
    return Table(
        ("check", "table", "rows", "what", "such as", "mended by"),
        [
            (
                check.id,
                check.table,
                count(check.violations),
                check.title,
                ", ".join(check.sample_keys[:_KEYS]),
                check.fix or "",
            )
            for check in findings
        ],
        numbers=frozenset({"rows"}),
    )


def _verdict(report: ValidationReport) -> Line:
    made = sum(check.skipped is None and check.error is None for check in report.checks)
    rows = sum(table.rows for table in report.tables)
    scale = f"{count(made)} checks, {count(rows)} rows of {len(report.tables)} tables"
    time = duration(report.seconds)
    whose = f" of user {report.user_id}" if report.user_id is not None else ""
    if not report.failed and not report.errors:
        return Line(f"Nothing is wrong{whose}: {scale} in {time}.", "good")
    found = f"{len(report.failed)} of {scale} in {time} found something{whose}"
    errors = f"; {len(report.errors)} could not be made" if report.errors else ""
    return Line(f"{found}{errors}.", "warn" if report.valid else "bad")

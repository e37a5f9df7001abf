"""What the formats say alike of a check."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taaxdog_datamig.validation.report import CheckResult, ValidationReport


def amount(check: CheckResult, number: int | None = None) -> str:
    """How much breaks it: `12 rows of public.users`; without a table `12 found`."""
    number = check.violations if number is None else number
    if not check.table:
        return f"{number:,} found"
    return f"{number:,} {'row' if number == 1 else 'rows'} of {check.table}"


def headline(check: CheckResult) -> str:
    """What is wrong, and how much of it."""
    new = f", {check.new:,} of them new" if check.before and check.new else ""
    return f"{check.title}: {amount(check)}{new}"


def command(fix: str) -> str:
    """What mends it, as it is typed."""
    return f"datamig run {fix}"


def keys(check: CheckResult, most: int | None = None) -> str:
    """Rows that break it, `most` of them, and whether there are more."""
    shown = check.sample_keys[:most]
    return f"{', '.join(shown)}{'' if len(shown) >= check.violations else ', ...'}"


def details(report: ValidationReport, check: CheckResult) -> Iterator[str]:
    """Lines about a finding: what it means, where, and how to mend it."""
    rule = report.rule(check)
    if rule is not None:
        yield rule.meaning
    if check.columns:
        yield f"Columns: {', '.join(check.columns)}"
    if check.sample_keys:
        yield f"Keys: {keys(check)}"
    if check.note:
        yield f"Note: {check.note}"
    if rule is not None:
        yield f"To mend: {rule.remedy}"
    if check.fix is not None:
        yield f"Fix: {command(check.fix)}"


def known_since(report: ValidationReport) -> str:
    """What a baseline hides."""
    assert report.baseline is not None
    return f"known since the baseline of {report.baseline:%Y-%m-%d %H:%M} UTC"

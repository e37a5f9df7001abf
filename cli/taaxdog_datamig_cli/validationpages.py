"""A validation for people: what was found, the worst first, what mends it, and what was not looked at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from taaxdog_datamig.validation import CATEGORIES, SEVERITIES, CheckResult, Rule, Severity, ValidationReport
from taaxdog_datamig_cli.answers import Rules
from taaxdog_datamig_cli.page import Block, Facts, Line, Page, Table, Tone
from taaxdog_datamig_cli.units import count, duration, moment, some

_TONES: dict[Severity, Tone] = {
    "critical": "bad",
    "high": "bad",
    "medium": "warn",
    "low": "warn",
    "warning": "dim",
}
#: Of a terminal; what fits on one line stands on one.
_WIDTH = 80
#: Room for the number of rows.
_MARGIN = 11
#: Room for a finding's keys, in characters; the JSON document has more of them.
_KEYS = 40
#: Reasons shown for checks that do not apply.
_REASONS = 3
#: Rules that are told whole.
_TOLD = 3


def validation_page(report: ValidationReport) -> Page:
    """The page of a validation."""
    blocks: list[Block] = []
    for severity in SEVERITIES:
        if findings := [check for check in report.failed if check.severity == severity]:
            blocks.append(Line(severity.upper(), _TONES[severity]))
            blocks += [line for check in findings for line in _finding(check)]
    blocks += [Line(f"not checked: {check.id}: {check.error}", "bad") for check in report.errors]
    notes = [check for check in report.checks if check.note and not check.failed]
    blocks += [Line(f"{check.id}: {check.note}", "dim") for check in notes]
    return [*blocks, *_mending(report), *_skipped(report), *_known(report), _verdict(report)]


def in_short(report: ValidationReport, *, fixed_by: str) -> Page:
    """The verdict, and what of it one migration mends."""
    mended = [check for check in report.failed if check.fix == fixed_by]
    rows = sum(check.violations for check in mended)
    share = f"{fixed_by} mends {count(rows)} rows found by {len(mended)} of these checks."
    return [_verdict(report), Line(share if mended else f"Nothing is left that {fixed_by} would mend.")]


def _finding(check: CheckResult) -> Iterator[Line]:
    new = f" ({count(check.new)} new)" if check.known else ""
    yield Line(f"{count(check.violations):>{_MARGIN - 2}}  {check.title}{new}")
    # The part of an id names the table.
    told = [check.id if ":" in check.id or not check.table else f"{check.id} in {check.table}"]
    if check.sample_keys:
        told.append(_keys(check))
    together = ": ".join(told)
    for text in [together] if _MARGIN + len(together) <= _WIDTH else told:
        yield Line(f"{' ' * _MARGIN}{text}", "dim")
    if check.note:
        yield Line(f"{' ' * _MARGIN}{check.note}", "dim")


def _keys(check: CheckResult) -> str:
    """As many keys as there is room for, one at least."""
    lengths = accumulate(len(key) + 2 for key in check.sample_keys)
    shown = max(sum(length <= _KEYS for length in lengths), 1)
    more = ", ..." if shown < check.violations else ""
    return f"{', '.join(check.sample_keys[:shown])}{more}"


def _mending(report: ValidationReport) -> Iterator[Block]:
    mended = Counter(check.fix for check in report.failed)
    by_hand = mended.pop(None, 0)
    if mended:
        yield Line("To mend:", "head")
        yield Facts(
            [
                (f"datamig run {fix}", some(number, "finding"))
                for fix, number in mended.most_common()
                if fix is not None
            ]
        )
    if by_hand:
        yield Line(f"By hand: {some(by_hand, 'finding')}; `datamig validate --list --check ID` tells how.")


def _skipped(report: ValidationReport) -> Iterator[Line]:
    reasons = Counter(check.skipped for check in report.checks if check.skipped)
    if not reasons:
        return
    number = reasons.total()
    yield Line(f"{some(number, 'check')} not applicable here:", "dim")
    for reason, number in reasons.most_common(_REASONS):
        yield Line(f"{count(number):>{_MARGIN - 2}}  {reason}", "dim")
    if (more := len(reasons) - _REASONS) > 0:
        yield Line(f"{' ' * _MARGIN}and {more} other reasons; --json has all", "dim")


def _known(report: ValidationReport) -> Iterator[Line]:
    if report.baseline is None:
        return
    rows = sum(check.violations for check in report.known)
    since = f"the baseline of {moment(report.baseline)}"
    if report.known:
        yield Line(
            f"{some(len(report.known), 'finding')} ({some(rows, 'row')}) known since {since}: not shown.",
            "dim",
        )
    gone = [check for check in report.checks if check.before and check.made and not check.violations]
    if gone:
        yield Line(f"{some(len(gone), 'finding')} of {since} gone.", "good")


def _verdict(report: ValidationReport) -> Line:
    made = sum(check.made for check in report.checks)
    rows = sum(table.rows for table in report.tables)
    scale = f"{some(made, 'check')}, {some(rows, 'row')} of {some(len(report.tables), 'table')}"
    time = duration(report.seconds)
    whose = f" of user {report.user_id}" if report.user_id is not None else ""
    new = "new " if report.baseline is not None else ""
    if not report.failed and not report.errors:
        return Line(f"Nothing {new}is wrong{whose}: {scale} in {time}.", "good")
    found = f"{len(report.failed)} of {scale} in {time} found something {new}".rstrip() + whose
    errors = f"; {len(report.errors)} could not be made" if report.errors else ""
    return Line(f"{found}{errors}.", "warn" if report.valid else "bad")


def rules_page(answer: Rules) -> Page:
    """The page of `validate --list`: few rules are told whole, many in a table for each category."""
    if len(answer.rules) <= _TOLD:
        return [block for rule in answer.rules for block in _told(rule)]
    by_category: dict[str, list[Rule]] = defaultdict(list)
    for rule in answer.rules:
        by_category[rule.category].append(rule)
    return [
        block
        for category in CATEGORIES
        if by_category[category]
        for block in (Line(category, "head"), _table(by_category[category]))
    ]


def _table(rules: Sequence[Rule]) -> Table:
    return Table(
        ("rule", "severity", "what", "mended by"),
        [(rule.id, rule.severity, rule.title, rule.fix or "") for rule in rules],
    )


def _told(rule: Rule) -> Iterator[Block]:
    yield Line(f"{rule.id}: {rule.title}", "head")
    yield Facts(
        [
            ("category", rule.category),
            ("severity", rule.severity),
            ("meaning", rule.meaning),
            ("to mend", rule.remedy),
            *([("fix", f"datamig run {rule.fix}")] if rule.fix else []),
        ]
    )

"""JUnit XML: a suite for each category, a test case for each check.

A check fails here exactly if it makes the report invalid, so that what a CI system shows in red is what the
exit code says. Milder findings, and those of the baseline, pass and tell in `system-out`. Checks share scans,
so none has a time of its own: the time of all stands at the root.

The dialect is that of the xUnit plugin's junit-10.xsd (Jenkins), which pytest's `xunit2` follows, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from taaxdog_datamig.pages import legal
from taaxdog_datamig.validation.formats.words import details, headline, known_since
from taaxdog_datamig.validation.model import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.validation.report import CheckResult, ValidationReport


def junit(report: ValidationReport) -> str:
    """The document."""
    root = Element(
        "testsuites",
        {"name": "datamig validate", "time": f"{report.seconds:.3f}"} | _counts(report, report.checks),
    )
    for category in CATEGORIES:
        checks = [check for check in report.checks if check.category == category]
        if checks:
            _suite(root, report, category, checks)
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _counts(report: ValidationReport, checks: Sequence[CheckResult]) -> dict[str, str]:
    return {
        "tests": str(len(checks)),
        "failures": str(sum(check.error is None and report.condemns(check) for check in checks)),
        "errors": str(sum(check.error is not None for check in checks)),
    }


def _suite(root: Element, report: ValidationReport, category: str, checks: Sequence[CheckResult]) -> None:
    attributes = {
        "name": category,
        "skipped": str(sum(check.skipped is not None for check in checks)),
        "time": "0",
        "timestamp": f"{report.moment:%Y-%m-%dT%H:%M:%S}",
    }
    suite = SubElement(root, "testsuite", attributes | _counts(report, checks))
    properties = SubElement(suite, "properties")
    facts = {"database": report.database, "fail-on": report.fail_on, "user-id": report.user_id}
    for name, value in facts.items():
        if value is not None:
            SubElement(properties, "property", {"name": name, "value": legal(value)})
    for check in sorted(checks, key=lambda check: check.id):
        _case(suite, report, check)


def _case(suite: Element, report: ValidationReport, check: CheckResult) -> None:
    case = SubElement(suite, "testcase", {"classname": check.category, "name": legal(check.id), "time": "0"})
    if check.skipped is not None:
        SubElement(case, "skipped", {"message": legal(check.skipped)})
    elif check.error is not None:
        error = {"type": check.severity, "message": legal(f"not checked: {check.error}")}
        SubElement(case, "error", error).text = legal(check.title)
    elif check.violations:
        story = legal("\n".join(details(report, check)))
        if report.condemns(check):
            failure = {"type": check.severity, "message": legal(headline(check))}
            SubElement(case, "failure", failure).text = story
        else:
            why = check.severity if check.failed else known_since(report)
            SubElement(case, "system-out").text = legal(f"{headline(check)} ({why})\n{story}")

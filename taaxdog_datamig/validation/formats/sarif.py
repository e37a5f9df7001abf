"""SARIF 2.1.0 (OASIS, errata 01): one result for each check that rows break.

A result is about a check, not about a row: its fingerprint stays the same while the rows change. Next to a
baseline, results that are not new are there, too, with their `baselineState`; known ones are suppressed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import uuid
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias
from urllib.parse import quote

from taaxdog_datamig.validation.formats.words import command, headline, keys, known_since

if TYPE_CHECKING:
    from taaxdog_datamig.validation.model import Rule, Severity
    from taaxdog_datamig.validation.report import CheckResult, ValidationReport

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

Level: TypeAlias = Literal["error", "warning", "note"]
_LEVELS: Final[dict[Severity, Level]] = {
    "critical": "error",
    "high": "error",
    "medium": "warning",
    "low": "warning",
    "warning": "note",
}
#: As code scanning reads them: above 9 critical, from 7 high, from 4 medium.
_SECURITY_SEVERITIES: Final[dict[Severity, str]] = {
    "critical": "9.5",
    "high": "8.0",
    "medium": "5.5",
    "low": "3.0",
    "warning": "1.0",
}
_PROBLEM_SEVERITIES: Final[dict[Level, str]] = {
    "error": "error",
    "warning": "warning",
    "note": "recommendation",
}
#: What makes a link, an image or HTML of somebody's words in Markdown.
_MARKDOWN = re.compile(r"([\\\[\]<>!])")


def sarif(report: ValidationReport) -> dict[str, Any]:
    """The document, as plain values."""
    places = {rule.id: place for place, rule in enumerate(report.rules)}
    run: dict[str, Any] = {
        "tool": {"driver": _driver(report)},
        "automationDetails": {
            "id": f"datamig/validate/{report.database}/",
            "guid": _guid(report.moment),
        },
        "invocations": [_invocation(report, places)],
        "results": [
            _result(report, check, places) for check in report.checks if check.violations or check.before
        ],
        "properties": {"database": report.database, "failOn": report.fail_on, "userId": report.user_id},
    }
    if report.baseline is not None:
        run["baselineGuid"] = _guid(report.baseline)
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _driver(report: ValidationReport) -> dict[str, Any]:
    driver: dict[str, Any] = {"name": "taaxdog_datamig", "rules": [_rule(rule) for rule in report.rules]}
    with contextlib.suppress(PackageNotFoundError):  # a source tree, not installed
        driver["version"] = version("taaxdog-datamig")
    return driver


def _rule(rule: Rule) -> dict[str, Any]:
    level = _LEVELS[rule.severity]
    properties = {
        "category": rule.category,
        "severity": rule.severity,
        "problem.severity": _PROBLEM_SEVERITIES[level],
        "tags": [rule.category],
        "fix": rule.fix,
    }
    if rule.category == "security":  # elsewhere it would make a security alert of untidy data
        properties["security-severity"] = _SECURITY_SEVERITIES[rule.severity]
    fix = [f"Fix: {command(rule.fix)}"] if rule.fix else []
    return {
        "id": rule.id,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.meaning},
        "help": {
            "text": "\n\n".join([rule.meaning, rule.remedy, *fix]),
            "markdown": "\n\n".join(map(_inert, [rule.meaning, rule.remedy, *fix])),
        },
        "defaultConfiguration": {"level": level},
        "properties": properties,
    }


def _invocation(report: ValidationReport, places: dict[str, int]) -> dict[str, Any]:
    told = [
        *(("error", check, f"not checked: {check.error}") for check in report.errors),
        *(("note", check, f"does not apply: {check.skipped}") for check in report.checks if check.skipped),
    ]
    return {
        "executionSuccessful": not report.errors,
        "startTimeUtc": _utc(report.moment),
        "endTimeUtc": _utc(report.moment + timedelta(seconds=report.seconds)),
        "toolExecutionNotifications": [
            {
                "level": level,
                "message": {"text": _escaped(f"{check.id}: {what}")},
                "associatedRule": _reference(check, places),
            }
            for level, check, what in told
        ],
    }


def _result(report: ValidationReport, check: CheckResult, places: dict[str, int]) -> dict[str, Any]:
    words = [f"{headline(check)}."]
    if check.sample_keys:
        words.append(f"Keys: {keys(check)}.")
    if check.note:
        words.append(f"{check.note}.")
    if check.fix is not None:
        words.append(f"Fix: {command(check.fix)}")
    fingerprint = hashlib.sha256(f"{check.id}\0{check.table}".encode()).hexdigest()
    result: dict[str, Any] = {
        "ruleId": check.rule,
        "level": _LEVELS[check.severity],
        "message": {"text": _escaped(" ".join(words))},
        "locations": [_location(check)],
        # The second is the name under which code scanning looks for it.
        "partialFingerprints": {"check/v1": fingerprint, "primaryLocationLineHash": f"{fingerprint[:16]}:1"},
        "properties": {
            "check": check.id,
            "violations": check.violations,
            "sampleKeys": list(check.sample_keys),
            "fix": check.fix,
        },
    }
    if check.rule in places:
        result["ruleIndex"] = places[check.rule]
    if report.baseline is not None:
        result["properties"]["before"] = check.before
        result["baselineState"] = _state(check)
        if check.known and not check.failed:
            result["suppressions"] = [{"kind": "external", "justification": known_since(report)}]
    return result


def _location(check: CheckResult) -> dict[str, Any]:
    where = check.table or "database"
    places = [{"fullyQualifiedName": f"{where}.{column}", "kind": "column"} for column in check.columns]
    kind = "table" if check.table else "database"
    return {
        # Code scanning refuses results without a file: the table stands for one.
        "physicalLocation": {
            "artifactLocation": {"uri": f"database/{quote(where, safe='')}"},
            "region": {"startLine": 1},
        },
        "logicalLocations": places or [{"fullyQualifiedName": where, "kind": kind}],
    }


def _state(check: CheckResult) -> Literal["new", "unchanged", "updated", "absent"]:
    if not check.before:
        return "new"
    if not check.violations:
        return "absent"
    return "unchanged" if check.violations == check.before else "updated"


def _reference(check: CheckResult, places: dict[str, int]) -> dict[str, Any]:
    index = {"index": places[check.rule]} if check.rule in places else {}
    return {"id": check.rule, **index}


def _guid(moment: datetime) -> str:
    """A run's name, made of its moment, so that a later run can tell which its baseline was."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"datamig validate {_utc(moment)}"))


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _escaped(text: str) -> str:
    """Words as a SARIF message takes them: braces are placeholders there, brackets links (3.11.5, 3.11.6)."""
    links = re.sub(r"([\\\[\]])", r"\\\1", text)
    return links.replace("{", "{{").replace("}", "}}")


def _inert(text: str) -> str:
    return _MARKDOWN.sub(r"\\\1", text)

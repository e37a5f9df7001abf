"""Reports made by hand: rich ones, and ones whose every word is hostile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

from taaxdog_datamig.validation import (
    CATEGORIES,
    SEVERITIES,
    CheckResult,
    Rule,
    ScannedTable,
    ValidationReport,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, 250, tzinfo=UTC)

TABLES = (
    ScannedTable(name="public.bank_transactions", rows=1_250_000, seconds=2.31),
    ScannedTable(name="public.users", rows=100_000, seconds=0.42),
    ScannedTable(name="public.goals", rows=45_000, seconds=0.08),
    ScannedTable(name="public.audit_logs", rows=0, seconds=0.0),
)


def check(name: str = "goal-over-target", **values: object) -> CheckResult:
    """A check that found nothing."""
    return attrs.evolve(
        CheckResult(
            id=name,
            rule=name.partition(":")[0],
            title="Goal holds more than its target and is not completed",
            category="data-consistency",
            severity="low",
            table="public.goals",
            columns=("current_amount", "target_amount"),
            violations=0,
            sample_keys=(),
            fix=None,
        ),
        **values,
    )


def rule_of(result: CheckResult) -> Rule:
    return Rule(
        id=result.rule,
        title=result.title,
        category=result.category,
        severity=result.severity,
        meaning="What rows say here cannot be true, so that sums made of them are wrong.",
        remedy="Look at the rows, and correct the amount that is wrong.",
        fix=result.fix,
    )


def report(*checks: CheckResult, **values: object) -> ValidationReport:
    """A report of these checks, judged as the validator does."""
    made = ValidationReport(
        valid=True,
        fail_on="low",
        checks=checks,
        tables=TABLES,
        user_id=None,
        database="taaxdog",
        server_version=18,
        moment=NOON,
        seconds=3.25,
        rules=tuple({each.rule: rule_of(each) for each in checks}.values()),
    )
    made = attrs.evolve(made, **values)
    return attrs.evolve(made, valid=not any(made.condemns(each) for each in checks))


def rich(scale: int = 1, days: int = 0) -> ValidationReport:
    """Sixty checks: twenty found something, two could not be made, ten do not apply."""
    checks = []
    for number in range(60):
        fix = ("encrypt-user-data", "normalize-phones", None)[number % 3] if number < 20 else None
        result = check(
            f"rule-{number:02}:users.column_{number:02}",
            title=f"What is wrong in the {number}th way there is",
            category=CATEGORIES[number % 5],
            severity=SEVERITIES[number // 4] if number < 20 else SEVERITIES[number % 5],
            table="public.users" if number % 2 else "public.bank_transactions",
            columns=(f"column_{number:02}",),
            fix=fix,
        )
        if number < 20:
            found = (number * 613 % 9_000 + 1) * scale
            keys = tuple(f"5b1c{number:04}-0000-4000-8000-00000000000{i}" for i in range(min(found, 9)))
            result = attrs.evolve(result, violations=found, sample_keys=keys)
        elif number < 22:
            result = attrs.evolve(result, error="it was not done within the time for one statement")
        elif number < 32:
            result = attrs.evolve(result, skipped=f"there is no table t{number % 7} here")
        elif number == 32:
            result = attrs.evolve(result, note="about 100,000 of 900,000 rows were examined")
        checks.append(result)
    return report(*checks, moment=NOON + timedelta(days=days))


#: Ends whatever a word of a report may be put into: elements, attributes, scripts, entities, links, escapes.
EVIL = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"' onload='alert(3)' --> ]]> "
    "&amp; &bogus; $title ${tone} {0} [a](http://evil.example) ![b](//evil.example) `c` "
    "\x00\x08\x1b[2J\x7f\u2028 \ufffe é \U0001f600"
)


def hostile() -> ValidationReport:
    """A report in which everything that is not ours alone is hostile."""
    words = {"title": EVIL, "table": EVIL, "columns": (EVIL,), "sample_keys": (EVIL, "k2"), "note": EVIL}
    checks = (
        check(f"found:{EVIL}", violations=2, fix=EVIL, severity="critical", category="security", **words),
        check(f"found-mild:{EVIL}", violations=7, severity="warning", **words),
        check(f"broken:{EVIL}", error=EVIL, **{**words, "sample_keys": ()}),
        check(f"skipped:{EVIL}", skipped=EVIL, **{**words, "sample_keys": ()}),
        check(f"fine:{EVIL}", **{**words, "sample_keys": ()}),
    )
    made = report(
        *checks,
        fail_on="high",
        database=EVIL,
        user_id=EVIL,
        tables=(ScannedTable(name=EVIL, rows=1, seconds=1.0),),
    )
    rules = tuple(attrs.evolve(rule, meaning=EVIL, remedy=EVIL) for rule in made.rules)
    return attrs.evolve(made, rules=rules)

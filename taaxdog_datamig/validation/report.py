"""What a validation found."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import attrs

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.events import Finding, Validated
from taaxdog_datamig.validation.model import CATEGORIES, SEALED, SEVERITIES, Category, Rule, Severity


@attrs.frozen(kw_only=True)
class CheckResult:
    """One check, and how many rows break it."""

    id: str
    rule: str
    title: str
    category: Category
    severity: Severity
    #: Qualified name here; the logical one where it is not here; empty for the whole database.
    table: str
    columns: tuple[str, ...]
    violations: int
    #: Keys of rows that break it, some of them; a key of several columns is joined by commas.
    sample_keys: tuple[str, ...]
    #: The migration that mends them.
    fix: str | None
    #: Why it was not looked at; None when it was.
    skipped: str | None = None
    #: Why it could not be looked at: then nothing is known.
    error: str | None = None
    #: What must be known of the count, such as that a sample was examined.
    note: str = ""
    #: Whether only a sample of the rows in question was examined: the count is that of the sample.
    sampled: bool = False
    #: Rows that broke it at the time of the baseline; None without one, or where it does not know.
    before: int | None = None

    @property
    def new(self) -> int:
        """Rows that break it, less those that did at the time of the baseline."""
        return max(self.violations - (self.before or 0), 0)

    @property
    def known(self) -> int:
        """Rows that break it, as many as did at the time of the baseline."""
        return self.violations - self.new

    @property
    def failed(self) -> bool:
        """Whether rows break it; next to a baseline: more rows than then."""
        return self.new > 0

    @property
    def made(self) -> bool:
        """Whether it was looked at."""
        return self.skipped is None and self.error is None


@attrs.frozen(kw_only=True)
class ScannedTable:
    """A table that was read."""

    name: str
    rows: int
    #: Time of its scan, seconds.
    seconds: float


@attrs.frozen(kw_only=True)
class ValidationReport:
    """All checks, the worst findings first."""

    #: Nothing as severe as `fail_on`, or worse, was found, and every check that applies could be made.
    valid: bool
    fail_on: Severity
    checks: tuple[CheckResult, ...]
    tables: tuple[ScannedTable, ...]
    #: The key of the user whose rows alone were looked at.
    user_id: str | None
    database: str
    server_version: int
    #: The moment of the snapshot, UTC.
    moment: datetime
    seconds: float
    #: The rules of the checks.
    rules: tuple[Rule, ...] = ()
    #: The moment of the report it is compared with, UTC; None: with none.
    baseline: datetime | None = None

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that rows break."""
        return tuple(check for check in self.checks if check.failed)

    @property
    def errors(self) -> tuple[CheckResult, ...]:
        """The checks that could not be made."""
        return tuple(check for check in self.checks if check.error is not None)

    @property
    def known(self) -> tuple[CheckResult, ...]:
        """The checks that rows break, and no more of them than at the time of the baseline."""
        return tuple(check for check in self.checks if check.known and not check.failed)

    def told(self, scope: Literal["database", "part", "before", "after"]) -> Validated:
        """The event that tells of it."""
        return Validated(
            database=self.database,
            scope=scope,
            made=sum(check.made for check in self.checks),
            unmade=len(self.errors),
            findings=tuple(
                Finding(check.id, check.severity, check.table, check.violations) for check in self.failed
            ),
            seconds=self.seconds,
        )

    def rule(self, check: CheckResult) -> Rule | None:
        """The rule of a check; None where the report was written without it."""
        return next((rule for rule in self.rules if rule.id == check.rule), None)

    def condemns(self, check: CheckResult) -> bool:
        """Whether this check alone makes the database invalid."""
        return condemned(check, self.fail_on)

    def must_be_about(self, user_id: str | None) -> None:
        """Make sure that this report can be the baseline of one about that user's rows, or all.

        Raises:
            UsageError: it is about others, so that counts tell nothing.
        """
        if self.user_id != user_id:
            whose = "all rows" if self.user_id is None else f"the rows of user {self.user_id}"
            raise UsageError(f"the baseline is about {whose}", "Compare with a report made the same way")

    def since(self, baseline: ValidationReport) -> ValidationReport:
        """This report next to an earlier one: only what is new fails.

        Counts are compared. A check that the earlier report does not have, or could not make, is new; what
        was found in the clear and is found in sealed values now, or the other way round, is not. Keys that
        the earlier report did not name come first.

        Raises:
            UsageError: see `must_be_about`.
        """
        baseline.must_be_about(self.user_id)
        then = {check.id: check for check in baseline.checks if check.made}
        now = {check.id: check for check in self.checks if check.made}
        checks = [_next_to(check, now, then) for check in self.checks]
        return attrs.evolve(
            self,
            valid=not any(condemned(check, self.fail_on) for check in checks),
            checks=tuple(sorted(checks, key=worst_first)),
            baseline=baseline.moment,
        )


def condemned(check: CheckResult, fail_on: Severity) -> bool:
    """Whether a check makes a database invalid."""
    severe = SEVERITIES.index(check.severity) <= SEVERITIES.index(fail_on)
    return check.error is not None or (check.failed and severe)


def worst_first(check: CheckResult) -> Any:
    """The order of checks in a report."""
    return (
        not (check.failed or check.error),
        SEVERITIES.index(check.severity),
        CATEGORIES.index(check.category),
        check.id,
    )


_ById: TypeAlias = Mapping[str, CheckResult]


def _next_to(check: CheckResult, now: _ById, then: _ById) -> CheckResult:
    if check.id not in then or not check.made:
        return check
    twin = check.id.removesuffix(SEALED) if check.id.endswith(SEALED) else check.id + SEALED
    before = then[check.id].violations + _moved(twin, check.id, now, then) - _moved(check.id, twin, now, then)
    named = {key for name in (check.id, twin) if name in then for key in then[name].sample_keys}
    keys = sorted(check.sample_keys, key=lambda key: key in named)
    return attrs.evolve(check, before=before, sample_keys=tuple(keys))


def _moved(source: str, to: str, now: _ById, then: _ById) -> int:
    """Rows that one check found then, and the other finds now."""
    if not {source, to} <= now.keys() & then.keys():
        return 0
    gone = then[source].violations - now[source].violations
    come = now[to].violations - then[to].violations
    return max(0, min(gone, come))

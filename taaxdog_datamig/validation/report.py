"""What a validation found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from datetime import datetime

    from taaxdog_datamig.validation.model import Category, Severity


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

    @property
    def failed(self) -> bool:
        """Whether rows break it."""
        return self.violations > 0


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

    @property
    def failed(self) -> tuple[CheckResult, ...]:
        """The checks that rows break."""
        return tuple(check for check in self.checks if check.failed)

    @property
    def errors(self) -> tuple[CheckResult, ...]:
        """The checks that could not be made."""
        return tuple(check for check in self.checks if check.error is not None)

"""Violations planted among valid rows: what is planted, and what must be found, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import asyncpg
import attrs

from taaxdog_datamig import CheckResult, Database, Settings, ValidationReport, Validator


@attrs.frozen
class Plant:
    """SQL that makes rows break one check, or come close to it."""

    #: Run in order, on the clean sample.
    statements: tuple[str, ...]
    #: Keys of the rows that break it then.
    keys: frozenset[str]


def plant(keys: Iterable[str], *statements: str) -> Plant:
    return Plant(statements, frozenset(keys))


async def validated(
    dsn: str, *, settings: Mapping[str, Any] | None = None, examined: int = 100_000, **asked: Any
) -> ValidationReport:
    """A validation that names every offending row of small tables."""
    resolved = Settings(database_url=dsn, **(settings or {}))
    async with Database.connect(settings=resolved) as db:
        return await Validator(db, samples=1_000, examined=examined).validate(**asked)


async def planted(dsn: str, plants: Iterable[Plant], **asked: Any) -> ValidationReport:
    """A validation of the clean sample after everything was planted."""
    connection = await asyncpg.connect(dsn)
    try:
        for each in plants:
            for statement in each.statements:
                await connection.execute(statement)
    finally:
        await connection.close()
    return await validated(dsn, **asked)


def result(report: ValidationReport, check: str) -> CheckResult:
    """The one result of that id."""
    (found,) = [each for each in report.checks if each.id == check]
    return found

"""Violations planted among valid rows: what is planted, and what must be found, no more and no less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import asyncpg
import attrs

from taaxdog_datamig import CheckResult, Database, Settings, ValidationReport, Validator
from taaxdog_datamig.pg.snapshot import Snapshot
from taaxdog_datamig.validation import Findings, RowCheck
from taaxdog_datamig.validation.checks import builtin_checks
from taaxdog_datamig.validation.scan import TableScan
from taaxdog_datamig.validation.scene import Scene
from taaxdog_datamig.validation.subject import Bounds, Subject


@attrs.frozen
class Plant:
    """SQL that makes rows break one check, or come close to it."""

    #: Run in order, on the clean sample.
    statements: tuple[str, ...]
    #: Keys of the rows that break it then.
    keys: frozenset[str]


def plant(keys: Iterable[str], *statements: str) -> Plant:
    return Plant(statements, frozenset(keys))


def named(table: str, *names: str) -> str:
    """SQL: as many rows of a table get these keys. Once for each table, before anything else is planted."""
    return (
        f"UPDATE {table} AS t SET id = (ARRAY{list(names)})[r.n]::{{}} FROM (SELECT id, row_number() OVER"
        f" (ORDER BY id) AS n FROM {table}) AS r WHERE r.id = t.id AND r.n <= {len(names)};"
    ).format("uuid" if table.startswith("bank_") else "text")


def uuid(number: int) -> str:
    """A key for tables whose keys are uuids."""
    return f"00000000-0000-0000-0000-{number:012}"


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


async def found_at(
    dsn: str, moment: datetime, *checks: str, settings: Mapping[str, Any] | None = None
) -> dict[str, set[str]]:
    """Keys of the rows that break row checks at a moment, by check."""
    resolved = Settings(database_url=dsn, **(settings or {}))
    found = {}
    async with Database.connect(settings=resolved) as db, Snapshot.take(db) as snapshot:
        scene = await Scene.load(snapshot.connection, resolved, moment)
        for check in builtin_checks(scene):
            if check.id in checks:
                assert isinstance(check, RowCheck)
                table = scene.table(check.table)
                assert table is not None
                bounds = Bounds(samples=1_000, examined=0, timeout=None)
                scan = TableScan(scene=scene, bounds=bounds, subject=Subject(table=table), checks=[check])
                outcome = await scan.run(snapshot.connection)
                assert outcome is not None
                findings = outcome[check.id]
                assert isinstance(findings, Findings)
                found[check.id] = set(findings.sample_keys)
    assert found.keys() == set(checks)
    return found


def result(report: ValidationReport, check: str) -> CheckResult:
    """The one result of that id."""
    (found,) = [each for each in report.checks if each.id == check]
    return found

"""Counting rows that break rules: a table's row checks in one scan, the others by statements of their own.

Keys of offending rows are fetched for failing checks only, by one more pass that stops counting a check once
it has enough.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig.pg.retry import Fault, classify, describe, is_drivers, sqlstate
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.validation.examine import Suspicion, examine
from taaxdog_datamig.validation.model import (
    ExaminedCheck,
    Failure,
    Findings,
    FunctionCheck,
    ReferenceCheck,
    RowCheck,
    UniqueCheck,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.validation.scene import Scene

#: A column whose value opens something, so that a key made of it names no row.
_SECRET_NAME = re.compile(r"token|secret|password|hash", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Bounds:
    """How far a validation goes."""

    #: Keys of offending rows that are fetched for one check.
    samples: int
    #: Suspects examined at the most by a check that may take a sample.
    examined: int
    #: Seconds for one statement; None: as the server has it.
    timeout: float | None


@attrs.frozen(kw_only=True)
class Subject:
    """A table, or the part of it that is asked about, as FROM and WHERE take it."""

    table: FittedTable
    #: SQL over the row `t`.
    scope: str = "true"
    arguments: tuple[Any, ...] = ()

    @property
    def source(self) -> str:
        """SQL: the table as `t`, without tables that inherit from it."""
        relation = self.table.relation
        return f"{'' if relation.kind == 'p' else 'ONLY '}{relation.quoted} AS t"

    @property
    def shows_key(self) -> bool:
        """Whether rows can be named: the table has a key, and the key opens nothing."""
        columns = self.table.relation.key_columns
        sensitive = {column.name for column in self.table.sensitive.values()}
        secret = any(column.name in sensitive or _SECRET_NAME.search(column.name) for column in columns)
        return bool(columns) and not secret

    @property
    def key(self) -> str:
        """SQL: the row's key as text[]; empty where the row cannot be named."""
        columns = self.table.relation.key_columns if self.shows_key else ()
        return f"ARRAY[{', '.join(f't.{column.quoted}::text' for column in columns)}]::text[]"


Outcome = dict[str, "Findings | Failure"]


@attrs.define(kw_only=True)
class TableScan:
    """The checks of a table that one scan serves."""

    scene: Scene
    bounds: Bounds
    subject: Subject
    checks: list[RowCheck | ExaminedCheck]
    #: Set by `run`: rows of the table, or of the part asked about, and seconds.
    rows: int = 0
    seconds: float = 0.0

    @property
    def weight(self) -> int:
        """How long it takes, next to others."""
        return self.subject.table.relation.bytes

    @property
    def what(self) -> str:
        """What it is called while it is done."""
        return self.subject.table.relation.label

    async def run(self, connection: PoolConnectionProxy[Any]) -> Outcome:
        """Make the checks."""
        began = time.monotonic()
        outcome: Outcome = {}
        conditions = {check.id: self._condition(check) for check in self.checks}
        counts = await self._count(connection, conditions)
        outcome |= {name: count for name, count in counts.items() if isinstance(count, Failure)}
        found = {name: count for name, count in counts.items() if isinstance(count, int) and count}
        rows = {check.id for check in self.checks if isinstance(check, RowCheck)}
        samples = await self._sample(connection, {name: conditions[name] for name in found if name in rows})
        for check in self.checks:
            if check.id not in outcome:
                outcome[check.id] = Findings(
                    violations=found.get(check.id, 0) if check.id in rows else 0,
                    sample_keys=samples.get(check.id, ()),
                )
        suspected = [
            Suspicion(check, conditions[check.id], found[check.id])
            for check in self.checks
            if isinstance(check, ExaminedCheck) and check.id in found
        ]
        if suspected:
            outcome |= await self._examine(connection, suspected)
        self.seconds = time.monotonic() - began
        return outcome

    def _condition(self, check: RowCheck | ExaminedCheck) -> str:
        template = check.violation if isinstance(check, RowCheck) else check.suspect
        bound = self.scene.bound(template, self.subject.table)
        assert bound is not None, check.id
        return bound

    async def _count(
        self, connection: PoolConnectionProxy[Any], conditions: dict[str, str]
    ) -> dict[str, int | Failure]:
        """Rows for which each condition is true. A condition the server refuses does not spoil the others."""
        # Checks may share a condition, such as all that open tokens: it is worked out once.
        asked = list(dict.fromkeys(conditions.values()))
        terms = [f"count(*) FILTER (WHERE ({condition}))" for condition in asked]
        query = f"SELECT count(*), {', '.join(terms)} FROM {self.subject.source} WHERE {self.subject.scope}"
        counted = await attempt(connection, query, self.subject.arguments)
        if isinstance(counted, list):
            self.rows, *counts = counted[0]
            answers = dict(zip(asked, counts, strict=True))
            return {name: answers[condition] for name, condition in conditions.items()}
        if len(asked) == 1 or counted.why in {TOO_LONG, LOCKED}:
            return dict.fromkeys(conditions, counted)
        both: dict[str, int | Failure] = {}
        for half in (asked[: len(asked) // 2], asked[len(asked) // 2 :]):
            part = {name: condition for name, condition in conditions.items() if condition in half}
            both |= await self._count(connection, part)
        return both

    async def _sample(
        self, connection: PoolConnectionProxy[Any], conditions: dict[str, str]
    ) -> dict[str, tuple[str, ...]]:
        if not (conditions and self.bounds.samples and self.subject.table.relation.key):
            return {}
        flags = [f"({condition}) IS TRUE AS f{i}" for i, condition in enumerate(conditions.values())]
        # Running counts need no order: rows are counted as the scan brings them, and nothing is sorted.
        seen = [f"count(*) FILTER (WHERE f{i}) OVER w AS n{i}" for i in range(len(flags))]
        few = " OR ".join(f"(f{i} AND n{i} <= {self.bounds.samples})" for i in range(len(flags)))
        any_flag = " OR ".join(f"({condition})" for condition in conditions.values())
        query = (
            f"SELECT * FROM (SELECT *, {', '.join(seen)} FROM ("
            f"SELECT {self.subject.key} AS key, {', '.join(flags)} FROM {self.subject.source}"
            f" WHERE ({self.subject.scope}) AND ({any_flag})) AS flagged"
            f" WINDOW w AS (ROWS UNBOUNDED PRECEDING)) AS counted WHERE {few}"
        )
        rows = await attempt(connection, query, self.subject.arguments)
        if isinstance(rows, Failure):
            return {}
        return {
            name: _sorted(row["key"] for row in rows if row[f"f{i}"] and row[f"n{i}"] <= self.bounds.samples)
            for i, name in enumerate(conditions)
        }

    async def _examine(self, connection: PoolConnectionProxy[Any], suspected: Sequence[Suspicion]) -> Outcome:
        try:
            async with transaction(connection):
                return await examine(connection, self.scene, self.subject, suspected, self.bounds)
        except asyncpg.PostgresError as error:
            return dict.fromkeys((each.check.id for each in suspected), _failure(error))


@attrs.define(kw_only=True)
class OwnStatement:
    """A check that has a statement, or code, of its own."""

    scene: Scene
    bounds: Bounds
    subject: Subject | None
    check: UniqueCheck | ReferenceCheck | FunctionCheck

    @property
    def weight(self) -> int:
        """How long it takes, next to others."""
        return self.subject.table.relation.bytes if self.subject else 0

    @property
    def what(self) -> str:
        """What it is called while it is done."""
        return self.check.id

    async def run(self, connection: PoolConnectionProxy[Any]) -> Outcome:
        """Make the check."""
        return {self.check.id: await self._findings(connection)}

    async def _findings(self, connection: PoolConnectionProxy[Any]) -> Findings | Failure:
        match self.check:
            case FunctionCheck(find=find):
                return await _called(connection, self.scene, find)
            case ReferenceCheck(key=key, where=where):
                assert self.subject is not None
                given = self.scene.bound(where, self.subject.table)
                rest = (
                    f"FROM {self.subject.source}"
                    f" WHERE ({self.subject.scope}) AND ({given}) AND {key.dangling('t')}"
                )
                return await self._counted(connection, f"SELECT count(*) {rest}", rest)
            case UniqueCheck() as check:
                return await self._unique(connection, check)

    async def _unique(self, connection: PoolConnectionProxy[Any], check: UniqueCheck) -> Findings | Failure:
        subject = self.subject
        assert subject is not None
        bound = [self.scene.bound(term, subject.table) for term in (*check.terms, check.where)]
        *terms, where = [term for term in bound if term is not None]
        given = " AND ".join(f"({term}) IS NOT NULL" for term in terms)
        part = f"FROM {subject.source} WHERE ({subject.scope}) AND ({where}) AND {given}"
        # Grouping by hash beats numbering the rows, which sorts them: only offenders are numbered.
        groups = f"SELECT {', '.join(terms)} {part} GROUP BY {', '.join(terms)} HAVING count(*) > 1"
        counting = (
            f"SELECT coalesce(sum(n - 1), 0)::bigint FROM (SELECT count(*) AS n {part}"
            f" GROUP BY {', '.join(terms)} HAVING count(*) > 1) AS groups"
        )
        order = ", ".join(f"t.{column.quoted}" for column in subject.table.relation.key_columns)
        numbered = (
            f"SELECT {subject.key} AS key, row_number() OVER (PARTITION BY {', '.join(terms)}"
            f"{f' ORDER BY {order}' if order else ''}) AS n {part} AND ({', '.join(terms)}) IN ({groups})"
        )
        return await self._counted(connection, counting, f"FROM ({numbered}) AS t WHERE n > 1", "t.key")

    async def _counted(
        self, connection: PoolConnectionProxy[Any], counting: str, sampling: str, key: str | None = None
    ) -> Findings | Failure:
        subject = self.subject
        assert subject is not None
        counted = await attempt(connection, counting, subject.arguments)
        if isinstance(counted, Failure):
            return counted
        count = counted[0][0]
        keys: Sequence[Any] = ()
        if count and self.bounds.samples and subject.table.relation.key:
            query = f"SELECT {key or subject.key} AS key {sampling} LIMIT {self.bounds.samples}"
            rows = await attempt(connection, query, subject.arguments)
            keys = [] if isinstance(rows, Failure) else [row["key"] for row in rows]
        return Findings(violations=count, sample_keys=_sorted(keys))


async def _called(connection: PoolConnectionProxy[Any], scene: Scene, find: Any) -> Findings | Failure:
    try:
        async with transaction(connection):
            found = await find(connection, scene)
    except asyncpg.PostgresError as error:
        return _failure(error)
    except Exception as error:  # noqa: BLE001 - whatever somebody else's code raises
        return _raised(error)
    if not isinstance(found, Findings):
        return Failure(f"its code returned {type(found).__name__}, not Findings")
    return found


def _raised(error: Exception) -> Failure:
    """Why a check's own code failed. Its words may quote a row.

    Raises:
        Exception: the same, where it is the connection's.
    """
    if is_drivers(error):
        raise error
    return Failure(f"its code raised {type(error).__name__}")


def _sorted(keys: Iterable[Sequence[str]]) -> tuple[str, ...]:
    return tuple(sorted(",".join(key) for key in keys if key))


TOO_LONG = "it was not done within the time for one statement"
LOCKED = "somebody else has its table locked, such as for ALTER TABLE: try again later"
#: SQLSTATEs that are the check's own, not the server's state: it wrote, or it met a table that is locked.
_OWN = {
    "25006": "it tried to write: a check can only read",
    "55P03": LOCKED,
}


def _failure(error: asyncpg.PostgresError) -> Failure:
    """Why a statement failed.

    Raises:
        PostgresError: the connection is gone, and with it the snapshot: that is nothing of the check's.
    """
    if isinstance(error, asyncpg.QueryCanceledError):
        return Failure(TOO_LONG)
    if (own := _OWN.get(sqlstate(error))) is not None:
        return Failure(own)
    if classify(error) in {Fault.GONE, Fault.COLLISION}:
        raise error
    # Words about names and syntax hold no row's value; others may.
    told = f": {error.args[0]}" if sqlstate(error).startswith("42") else ""
    return Failure(f"the server refused its SQL, {describe(error)}{told}")


async def attempt(
    connection: PoolConnectionProxy[Any], query: str, arguments: Sequence[Any]
) -> list[asyncpg.Record] | Failure:
    """The rows of a query, or why there are none; the transaction goes on in both cases."""
    try:
        async with transaction(connection):
            return await connection.fetch(query, *arguments)
    except asyncpg.PostgresError as error:
        return _failure(error)

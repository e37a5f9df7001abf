"""Checks that have a statement, or code, of their own; and how a statement that fails is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig.pg.retry import Fault, classify, describe, is_drivers, sqlstate
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.validation.model import (
    Failure,
    Findings,
    FunctionCheck,
    ReferenceCheck,
    UniqueCheck,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.validation.scene import Scene
    from taaxdog_datamig.validation.subject import Bounds, Subject

Outcome = dict[str, "Findings | Failure"]


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
        return self.subject.table.relation.pages if self.subject else 0

    @property
    def shares(self) -> int:
        """How many workers can be of use."""
        return 1

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
        return Findings(violations=count, sample_keys=in_order(keys))


async def _called(connection: PoolConnectionProxy[Any], scene: Scene, find: Any) -> Findings | Failure:
    try:
        async with transaction(connection):
            found = await find(connection, scene)
    except asyncpg.PostgresError as error:
        return failure_of(error)
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


def in_order(keys: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """Keys as a report names them; the parts of one are joined by commas."""
    return tuple(sorted(",".join(key) for key in keys if key))


TOO_LONG = "it was not done within the time for one statement"
LOCKED = "somebody else has its table locked, such as for ALTER TABLE: try again later"
#: SQLSTATEs that are the check's own, not the server's state: it wrote, or it met a table that is locked.
_OWN = {
    "25006": "it tried to write: a check can only read",
    "55P03": LOCKED,
}


def failure_of(error: asyncpg.PostgresError) -> Failure:
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
        return failure_of(error)

"""Which rows of two tables differ, with one scan of each and in bounded memory.

Each side groups its rows into buckets, by the range its key is in or by a hash of its key, and sums each up.
Then only rows of buckets whose sums differ are read, in the order of that hash, and merged: of neither side
are more than a few held at a time, however many differ.

A row's hash is seeded with its key's, so that values which change places change a sum. Buckets need not be
the same on both sides: one with equal sums holds equal rows, which are then left out on both, and all the
others are compared by their keys. Ranges serve speed alone: the second look finds its rows through the index.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig.checksum.definition import alike, content_of, hashed
from taaxdog_datamig.checksum.ranges import LEADS, bounds_of, conditions, range_of
from taaxdog_datamig.checksum.reports import RowDifference, TableDiff
from taaxdog_datamig.checksum.tables import UNFIT
from taaxdog_datamig.pg.groups import only_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence

    from asyncpg import Record
    from asyncpg.cursor import Cursor
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.checksum.reports import RowStatus
    from taaxdog_datamig.pg.catalog import Column, Relation
    from taaxdog_datamig.pg.snapshot import Snapshot
    from taaxdog_datamig.profile import FittedTable

#: Rows of each kind that are named; all are counted.
NAMED_ROWS = 1_000
HIDDEN = "[sensitive]"

#: Buckets by hash that a table is summed up in, a power of two: of a million rows, 250 each.
BUCKETS = 4_096
#: Rows that come with one round trip.
_FETCHED = 2_000


@attrs.frozen(kw_only=True)
class _Side:
    """A table as one of the two databases is asked about it."""

    relation: Relation
    #: SQL: the columns that both sides have, as one record; and the key as one.
    record: str
    key_record: str
    key: tuple[Column, ...]

    @property
    def source(self) -> str:
        return content_of(self.relation).source

    @property
    def key_hash(self) -> str:
        return f"hash_record_extended({self.key_record}, 2)"

    def bucket(self, bounds: Sequence[str]) -> str:
        """SQL: the bucket of the row `t`; parameter 1 is `bounds`."""
        if not self.key:
            return "0"
        return range_of(self.key[0]) if bounds else f"({self.key_hash} & {BUCKETS - 1})::int"

    def sums_sql(self, bounds: Sequence[str]) -> str:
        # OFFSET 0 keeps the planner from making the record twice.
        return (
            "SELECT bucket, count(*) AS rows, sum(hash_record_extended(record, place))::text AS sum FROM ("
            f"SELECT {self.bucket(bounds)} AS bucket, {self.key_hash} AS place, {self.record} AS record"
            f" FROM {self.source} AS t WHERE $1::text[] IS NOT NULL OFFSET 0) AS s GROUP BY bucket"
        )

    def rows_sql(self, bounds: Sequence[str], buckets: Collection[int]) -> str:
        """Rows of the buckets in parameter 2, in the order of their keys' hashes."""
        texts = ", ".join(f"t.{column.quoted}::text" for column in self.key)
        within = conditions(self.key[0], buckets, len(bounds)) if bounds else "true"
        return (
            f'SELECT {self.key_hash} AS place, ARRAY[{texts}] COLLATE "C" AS key,'
            f" hash_record_extended({self.record}, 0) AS hash FROM {self.source} AS t"
            f" WHERE $1::text[] IS NOT NULL AND ({within}) AND {self.bucket(bounds)} = ANY ($2::int[])"
            " ORDER BY place, key"
        )


async def diff_table(ours: Snapshot, here: FittedTable, theirs: Snapshot, there: FittedTable) -> TableDiff:
    """Compare a table with one in another database."""
    if (unfit := UNFIT.get(there.relation.kind)) is not None:
        return TableDiff(status="different", note=f"there, it is {unfit}")
    sides, definitions = _sides(here, there)
    hidden = {column.name for table in (here, there) for column in table.sensitive.values()}
    bounds = await _bounds(ours, sides, hidden)
    key = sides[0].key
    async with ours.share() as connection, theirs.share() as other:
        sums, other_sums = await _both(
            *(
                link.fetch(side.sums_sql(bounds), bounds)
                for side, link in zip(sides, (connection, other), strict=True)
            )
        )
        found, differing = _compared(sums, other_sums)
        found |= definitions
        if not differing or not key:
            return TableDiff(**found)
        mine, others = (
            _Rows(link, side.rows_sql(bounds, differing), bounds, sorted(differing))
            for side, link in zip(sides, (connection, other), strict=True)
        )
        await _both(mine.open(), others.open())
        found |= await _merged(mine, others, [column.name in hidden for column in key])
    return TableDiff(**found)


async def _bounds(ours: Snapshot, sides: Sequence[_Side], hidden: Collection[str]) -> Sequence[str]:
    """Bounds of ranges for both sides, if there can be any."""
    leads = [side.key[0] for side in sides if side.key]
    # A bound is a value of the column, and a server may log what it is asked.
    if not leads or leads[0].base not in LEADS or leads[0].base != leads[1].base or leads[0].name in hidden:
        return ()
    async with ours.share() as connection:
        return await bounds_of(connection, sides[0].relation, leads[0])


def _sides(here: FittedTable, there: FittedTable) -> tuple[list[_Side], dict[str, Any]]:
    """What each side is asked for, and how the definitions differ."""
    tables = (here.relation, there.relation)
    mine, others = ({column.name for column in relation.stored} for relation in tables)
    common = sorted(mine & others, key=str.encode)
    # Under the same names, or the rows of the two have nothing to be told apart by.
    key = here.relation.key if sorted(here.relation.key) == sorted(there.relation.key) else ()

    def record(relation: Relation, names: Iterable[str]) -> str:
        columns = (
            hashed(
                relation.columns[name],
                as_text=not alike(here.relation.columns[name], there.relation.columns[name]),
            )
            for name in names
        )
        return f"ROW({', '.join(columns)})"

    sides = [
        _Side(
            relation=relation,
            record=record(relation, common),
            # Without a key, the row stands for it: its hash seeded with itself is not linear either.
            key_record=record(relation, key or common),
            key=tuple(relation.columns[name] for name in key),
        )
        for relation in tables
    ]
    definitions: dict[str, Any] = {
        "key": key,
        "columns_only_here": tuple(sorted(mine - others)),
        "columns_only_there": tuple(sorted(others - mine)),
    }
    if mine != others:
        definitions["status"] = "different"
    if not key:
        definitions["note"] = "compared as a whole: the two have no primary key in common"
    return sides, definitions


def _compared(here: Iterable[Record], there: Iterable[Record]) -> tuple[dict[str, Any], set[int]]:
    """What the sums say, and the buckets in which they differ."""
    sums, others = ({row["bucket"]: (row["rows"], int(row["sum"])) for row in rows} for rows in (here, there))
    differing = {bucket for bucket in sums | others if sums.get(bucket) != others.get(bucket)}
    counts = dict.fromkeys(("only_here", "only_there", "differing"), None if differing else 0)
    return {
        "status": "different" if differing else "same",
        "rows_here": sum(rows for rows, _ in sums.values()),
        "rows_there": sum(rows for rows, _ in others.values()),
        **counts,
    }, differing


class _Rows:
    """Rows from a cursor, with the next one at hand."""

    def __init__(self, connection: PoolConnectionProxy[Any], query: str, *args: Any) -> None:
        self._connection, self._query, self._args = connection, query, args
        self._cursor: Cursor[Any]
        self._rows: list[Record] = []
        self.next: tuple[int, list[str]] | None = None
        self.hash = 0

    async def open(self) -> None:
        """Bring the first row to hand."""
        self._cursor = await self._connection.cursor(self._query, *self._args)
        await self._fill()

    async def _fill(self) -> None:
        self._rows = (await self._cursor.fetch(_FETCHED))[::-1]
        self._step()

    def _step(self) -> None:
        row = self._rows.pop() if self._rows else None
        self.next = None if row is None else (row["place"], row["key"])
        self.hash = 0 if row is None else row["hash"]

    async def advance(self) -> None:
        """Bring the next row to hand."""
        if self._rows:
            self._step()
        else:
            await self._fill()


async def _merged(here: _Rows, there: _Rows, hidden: Sequence[bool]) -> Mapping[str, Any]:
    """Count the rows that are on one side alone or differ, and name the first of each kind."""
    counts: dict[RowStatus, int] = {"only here": 0, "only there": 0, "differs": 0}
    named: list[RowDifference] = []

    def tell(status: RowStatus, key: Sequence[str]) -> None:
        counts[status] += 1
        if counts[status] <= NAMED_ROWS:
            shown = tuple(HIDDEN if hide else text for text, hide in zip(key, hidden, strict=True))
            named.append(RowDifference(status=status, key=shown))

    while here.next is not None or there.next is not None:
        if there.next is None or (here.next is not None and here.next < there.next):
            assert here.next is not None
            tell("only here", here.next[1])
            await here.advance()
        elif here.next is None or there.next < here.next:
            tell("only there", there.next[1])
            await there.advance()
        else:
            if here.hash != there.hash:
                tell("differs", here.next[1])
            await here.advance()
            await there.advance()
    return {
        "only_here": counts["only here"],
        "only_there": counts["only there"],
        "differing": counts["differs"],
        "rows": tuple(sorted(named, key=lambda row: (row.status, row.key))),
    }


async def _both(*work: Awaitable[Any]) -> list[Any]:
    """Await things at the same time, and return what each gives."""
    results: list[Any] = [None] * len(work)

    async def one(place: int, awaited: Awaitable[Any]) -> None:
        results[place] = await awaited

    with only_error():
        async with anyio.create_task_group() as group:
            for place, awaited in enumerate(work):
                group.start_soon(one, place, awaited)
    return results

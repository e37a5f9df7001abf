"""Ranges of a key: bounds from a sample of the table, and the rows within some of them by the index."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from taaxdog_datamig.checksum.definition import content_of
from taaxdog_datamig.pg.catalog import leaves

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.catalog import Column, Relation

#: Types (pg_type.typname) whose values can be told apart by ranges, and how many. The server looks through
#: bounds of varying length one after the other, through those of fixed length by halves.
LEADS = {
    **dict.fromkeys(("int2", "int4", "int8", "uuid", "date", "timestamp", "timestamptz"), 1_024),
    **dict.fromkeys(("text", "varchar", "numeric"), 64),
}
#: Pages that bounds are sampled from.
_SAMPLED = 200
#: Ranges that are looked up by the index; of more, one scan is as good.
_LOOKED_UP = 64


async def bounds_of(connection: PoolConnectionProxy[Any], relation: Relation, lead: Column) -> list[str]:
    """Values, as text and in order, that split the table into ranges of about as many rows each.

    They come from a sample of its pages, and so need no statistics. Empty: there is nothing to split.
    """
    heaps = await leaves(connection, relation.oid)
    if any(heap.kind == "f" for heap in heaps):
        return []  # a foreign table cannot be sampled
    pages = sum(heap.pages for heap in heaps)
    rows = await connection.fetch(
        f"SELECT DISTINCT ON (tile) lead::text FROM ("
        f"SELECT t.{lead.quoted} AS lead, ntile($2::int) OVER (ORDER BY t.{lead.quoted}) AS tile"
        f" FROM {content_of(relation).source} AS t TABLESAMPLE SYSTEM ($1)) AS s ORDER BY tile, s.lead",
        100 * min(1.0, _SAMPLED / max(pages, 1)),
        LEADS[lead.base],
    )
    return list(dict.fromkeys(row["lead"] for row in rows))


def conditions(lead: Column, bounds: Sequence[str], ranges: Collection[int]) -> str:
    """SQL: the row `t` is in one of these ranges, parameter 1 being `bounds`.

    Range 0 is below the first bound, range n from the nth on.
    """
    runs = list(_runs(ranges))
    if not bounds or len(runs) > _LOOKED_UP:
        return "true"
    array = f"($1::text[]::pg_catalog.{lead.base}[])"
    found = []
    for first, last in runs:
        ends = [f"t.{lead.quoted} >= {array}[{first}]"] if first else []
        ends += [f"t.{lead.quoted} < {array}[{last + 1}]"] if last < len(bounds) else []
        found.append(" AND ".join(ends) or "true")
    return " OR ".join(f"({condition})" for condition in found)


def _runs(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each run of neighbours."""
    for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]

"""Ranges of a key: bounds from a sample of the table, and the rows within some of them by the index."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from taaxdog_datamig.checksum.definition import content_of
from taaxdog_datamig.pg.catalog import leaves

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.catalog import Column, Relation

#: Types (pg_type.typname) of keys that are split into ranges: among bounds of fixed length the server finds
#: one by halves. Text keys are in no useful order mostly, nor need it be that of another server.
LEADS = {"int2", "int4", "int8", "uuid", "date", "timestamp", "timestamptz"}
RANGES = 1_024
#: Fewer would be no better than buckets by hash.
_ENOUGH = RANGES // 4
#: Pages that bounds are sampled from: neighbours on a page are neighbours in many a key.
_SAMPLED = 1_000
#: Runs of ranges that are looked up by the index; of more, one scan is as good.
_LOOKED_UP = 64


async def bounds_of(connection: PoolConnectionProxy[Any], relation: Relation, lead: Column) -> list[str]:
    """Values, as text and in order, that split the table into ranges of about as many rows each.

    They come from a sample of its pages, and so need no statistics. Empty: the table is too small for it, or
    the column has too few values, as the first of a composite key may have.
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
        RANGES,
    )
    bounds = list(dict.fromkeys(row["lead"] for row in rows))
    return bounds if len(bounds) >= _ENOUGH else []


def _array(lead: Column) -> str:
    return f"$1::text[]::pg_catalog.{lead.base}[]"


def range_of(lead: Column) -> str:
    """SQL: the range of the row `t`, parameter 1 being the bounds: 0 below the first, n from the nth on."""
    return f"width_bucket(t.{lead.quoted}, {_array(lead)})"


def conditions(lead: Column, ranges: Collection[int], bounds: int) -> str:
    """SQL: the row `t` is in one of these ranges, as an index can tell; parameter 1 is the bounds."""
    runs = list(_runs(ranges))
    if len(runs) > _LOOKED_UP:
        return "true"
    found = []
    for first, last in runs:
        ends = [f"t.{lead.quoted} >= ({_array(lead)})[{first}]"] if first else []
        ends += [f"t.{lead.quoted} < ({_array(lead)})[{last + 1}]"] if last < bounds else []
        found.append(" AND ".join(ends) or "true")
    return " OR ".join(f"({condition})" for condition in found)


def _runs(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each run of neighbours."""
    for _, run in groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]

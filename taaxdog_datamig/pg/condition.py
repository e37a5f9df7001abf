"""How well tables and indexes are kept: dead rows, age, statistics, visibility, bloat.

Dead and changed rows are what the server's counters say. Sessions report to them with up to ten seconds'
delay, and they begin anew after a crash. The bloat of a B-tree is its size less that of a fresh build, as
the statistics of its columns let one estimate it; nothing is read for it. Where equal keys share an entry
(deduplication, PostgreSQL 13) a fresh build is smaller than the estimate, so the bloat is never overstated by
that. Without statistics it is unknown.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.pg.quoting import qualified
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.database import Database

#: First server version whose sessions can be asked to report.
_FLUSHING = 15

_SQL = queries(__package__, "condition.sql")


@attrs.frozen(kw_only=True)
class Measure:
    """The figures of a table or an index at one moment."""

    #: Of the heap or the index alone.
    bytes: int
    #: As the server estimates them.
    rows: int
    dead_rows: int
    #: Rows inserted, updated or deleted since the statistics were made.
    changed_rows: int
    #: Share of the heap's pages that index-only scans need not look at; None for an index or an empty table.
    all_visible: float | None
    #: Seconds since statistics were made; None when the server's counters know of no time.
    statistics_age: float | None
    #: How far it is on the way to a vacuum that the server forces against wraparound, 1 being there.
    freeze_share: float
    #: Estimated; None for a table, and for an index whose columns have no statistics.
    bloat_bytes: int | None


@attrs.frozen(kw_only=True)
class Condition:
    """A table or an index, and how it is."""

    schema: str
    name: str
    #: pg_class.relkind: r table, p partitioned table, m materialized view, i index.
    kind: str
    #: Label of the table; an index's own table.
    table: str
    #: Whether the role may vacuum, analyse or reindex it.
    may_maintain: bool
    measure: Measure

    @property
    def quoted(self) -> str:
        """The qualified name, ready for SQL."""
        return qualified(self.schema, self.name)

    @property
    def label(self) -> str:
        """The qualified name for people."""
        return f"{self.schema}.{self.name}"


async def report_counters(db: Database) -> None:
    """Have the idle sessions of this pool tell the server's counters what they have done so far.

    Before 15 no session can be asked to; they do so within half a second then.
    """
    if db.server.version < _FLUSHING:
        return
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(db.pool.get_idle_size()):
            connection = await stack.enter_async_context(db.acquire())
            await connection.execute("SELECT pg_stat_force_next_flush()")


async def table_conditions(
    connection: PoolConnectionProxy[Any], quoted: str | None = None
) -> list[Condition]:
    """Tables outside the system's schemas, temporary ones left out; or the one of that name."""
    return [_condition(row) for row in await connection.fetch(_SQL["tables"], quoted)]


async def index_conditions(
    connection: PoolConnectionProxy[Any], quoted: str | None = None
) -> list[Condition]:
    """Valid B-trees outside the system's schemas; or the one of that name."""
    return [_condition(row) for row in await connection.fetch(_SQL["indexes"], quoted)]


async def measured_again(connection: PoolConnectionProxy[Any], condition: Condition) -> Measure | None:
    """The figures as they are now; None when it is there no more."""
    # By name: a rebuilt index has another oid.
    look = index_conditions if condition.kind == "i" else table_conditions
    found = await look(connection, condition.quoted)
    return found[0].measure if found else None


async def leftovers(connection: PoolConnectionProxy[Any], index: str) -> list[str]:
    """Invalid indexes, quoted, that an interrupted REINDEX CONCURRENTLY of `index` (quoted) has left."""
    return [qualified(row["schema"], row["name"]) for row in await connection.fetch(_SQL["leftovers"], index)]


async def progress(connection: PoolConnectionProxy[Any], backend: int) -> asyncpg.Record | None:
    """How far a backend's VACUUM, ANALYZE or REINDEX is: `phase`, `done` and `total` in blocks."""
    return await connection.fetchrow(_SQL["progress"], backend)


_FIGURES = tuple(field.name for field in attrs.fields(Measure))


def _condition(row: Mapping[str, Any]) -> Condition:
    rest = {name: value for name, value in row.items() if name not in _FIGURES}
    return Condition(**rest, measure=Measure(**{name: row[name] for name in _FIGURES}))

"""Adding up: one relation on a given connection, or many tables over several, as of one moment."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig.checksum.definition import Content, Sums, content_of
from taaxdog_datamig.checksum.diff import diff_table
from taaxdog_datamig.checksum.pinning import pin, pinned
from taaxdog_datamig.checksum.reports import ChecksumReport, DiffReport, TableChecksum, TableDiff
from taaxdog_datamig.checksum.tables import named_tables, same_tables
from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.events import EventBus, Progress
from taaxdog_datamig.pg.catalog import leaves
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.checksum.tables import Named
    from taaxdog_datamig.pg.catalog import Leaf, Relation
    from taaxdog_datamig.pg.database import Database

#: Pages that one statement reads (512 MB): connections share a large table, and progress is seen.
PART_PAGES = 65_536

#: Tables, or parts of one, that are read at the same time: a server has other things to do.
JOBS = 2


async def checksum(
    connection: PoolConnectionProxy[Any],
    relation: Relation,
    *,
    columns: Iterable[str] | None = None,
    where: str = "true",
) -> TableChecksum:
    """Sum up a relation on a given connection, and so inside its transaction and snapshot, if there is one.

    Args:
        connection: any; its settings are pinned meanwhile.
        relation: a table, partition, partitioned table (with all partitions) or materialized view; of a
            table with others inheriting from it, its own rows.
        columns: names; by default all but generated ones.
        where: SQL over the row `t`: rows for which it is true.
    """
    content = content_of(relation, columns)
    async with pinned(connection):
        row = await connection.fetchrow(content.sums_sql(where))
    assert row is not None
    sums = Sums(row["rows"], int(row["first"]), int(row["second"]))
    return TableChecksum(rows=sums.rows, checksum=content.digest(sums))


@attrs.frozen
class _Part:
    """A range of a heap's blocks; the last one is open."""

    named: Named
    content: Content
    pages: int
    first: int | None = None
    end: int | None = None

    @property
    def where(self) -> str:
        """Whole where there is nothing to split, such as a foreign partition, which has no blocks."""
        conditions = [] if not self.first else [f"t.ctid >= '({self.first},0)'"]
        conditions += [] if self.end is None else [f"t.ctid < '({self.end},0)'"]
        return " AND ".join(conditions) or "true"


def _parts(named: Named, heaps: Iterable[Leaf]) -> list[_Part]:
    content = content_of(named.relation)
    parts = []
    for heap in heaps:
        of_heap = attrs.evolve(content, source=f"ONLY {heap.relation}")
        starts = range(0, max(heap.pages, 1), PART_PAGES)
        parts += [
            _Part(
                named,
                of_heap,
                min(PART_PAGES, heap.pages - start),
                start,
                None if start == starts[-1] else start + PART_PAGES,
            )
            for start in starts
        ]
    return parts


class Checksums:
    """Checksums of a database's tables, and its comparison with another database.

    Nothing is written. Each call reads as of one moment and holds that snapshot until it is done: on a busy
    server, old row versions are kept so long.

    Args:
        db: the database.
        jobs: tables, or parts of large ones, that are read at the same time; the pool may allow fewer.
        events: told how far it is.
    """

    def __init__(self, db: Database, *, jobs: int = JOBS, events: EventBus | None = None) -> None:
        self.db, self.jobs, self.events = db, jobs, events or EventBus()

    @server_errors("computing checksums")
    async def tables(self, names: Iterable[str] | None = None) -> ChecksumReport:
        """Sum up tables.

        Args:
            names: logical or physical names, or `schema.table`; by default all of the application's.

        Raises:
            UnknownName: there is no such table.
            UsageError: one is a view, a foreign table or the like.
            ServerRefused: a privilege is missing, or row-level security would hide rows.
        """
        began = time.monotonic()
        tables = await named_tables(self.db, names)
        sums = {named.label: Sums() for named in tables}
        contents = {named.label: content_of(named.relation) for named in tables}
        async with Snapshot.take(self.db, pin) as snapshot:
            async with snapshot.share() as connection:
                parts = [
                    part
                    for named in tables
                    for part in _parts(named, await leaves(connection, named.relation.oid))
                ]
            total = sum(part.pages for part in parts)
            done = 0

            async def add(part: _Part) -> None:
                nonlocal done
                async with snapshot.share() as connection:
                    row = await connection.fetchrow(part.content.sums_sql(part.where))
                assert row is not None
                sums[part.named.label] += Sums(row["rows"], int(row["first"]), int(row["second"]))
                done += part.pages
                self.events.emit(Progress(table=part.named.label, phase="summed up", done=done, total=total))

            # One connection holds the snapshot.
            await self._each(
                sorted(parts, key=lambda part: -part.pages), add, self.db.pool.get_max_size() - 1
            )
        return ChecksumReport(
            tables={
                label: TableChecksum(rows=found.rows, checksum=contents[label].digest(found))
                for label, found in sums.items()
            },
            seconds=time.monotonic() - began,
        )

    @server_errors("comparing the databases")
    async def diff(self, other: Database, names: Iterable[str] | None = None) -> DiffReport:
        """Compare tables with those of the same name in another database.

        Args:
            other: the other database; its settings say what it calls its tables.
            names: as for `tables`; by default all of both databases.

        Raises:
            UnknownName: there is no such table here.
            RefusedError: the databases have different encodings, so that equal texts are different bytes.
        """
        began = time.monotonic()
        await _check_encodings(self.db, other)
        here = await named_tables(self.db, names)
        pairs = list(zip(here, await same_tables(other, here), strict=True))
        found: dict[str, TableDiff] = {
            named.label: TableDiff(status="only here") for named, there in pairs if there is None
        }
        if names is None:
            known = {there.relation.oid for _, there in pairs if there is not None}
            found |= {
                named.label: TableDiff(status="only there")
                for named in await named_tables(other)
                if named.relation.oid not in known
            }
        both = [(named, there) for named, there in pairs if there is not None]
        total, done = sum(named.relation.pages for named, _ in both), 0
        async with Snapshot.take(self.db, pin) as ours, Snapshot.take(other, pin) as theirs:

            async def compare(pair: tuple[Named, Named]) -> None:
                nonlocal done
                named, there = pair
                found[named.label] = await diff_table(ours, named.table, theirs, there.table)
                done += named.relation.pages
                self.events.emit(Progress(table=named.label, phase="compared", done=done, total=total))

            # Both may be of one pool, which then holds two snapshots and serves both sides.
            most = (min(side.pool.get_max_size() for side in (self.db, other)) - 2) // 2
            await self._each(sorted(both, key=lambda pair: -pair[0].relation.pages), compare, most)
        return DiffReport(
            equal=all(table.status == "same" for table in found.values()),
            tables=dict(sorted(found.items())),
            seconds=time.monotonic() - began,
        )

    async def _each(
        self, items: Sequence[Any], work: Callable[[Any], Coroutine[Any, Any, None]], most: int
    ) -> None:
        """Do the work of all items, as many at the same time as there are jobs, and connections for them."""
        left = iter(items)

        async def worker() -> None:
            for item in left:
                await work(item)

        with only_error():
            async with anyio.create_task_group() as group:
                for _ in range(max(1, min(self.jobs, most, len(items)))):
                    group.start_soon(worker)


async def _check_encodings(db: Database, other: Database) -> None:
    encodings = []
    for side in (db, other):
        async with side.acquire() as connection:
            encodings.append(await connection.fetchval("SELECT current_setting('server_encoding')"))
    if encodings[0] != encodings[1]:
        raise RefusedError(
            f"the encodings differ, {encodings[0]} here and {encodings[1]} there, so that equal texts do not "
            "look equal",
            "Load one of them into a database of the other's encoding, and compare that",
        )

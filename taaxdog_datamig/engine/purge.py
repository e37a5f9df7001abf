"""Deletes the pending rows of a window, chunk by chunk.

Where nothing refers to the table, a chunk is a range of blocks and one statement, `COPY (DELETE ...
RETURNING ...)`: the server spells the rows and we only pass them on. Else a chunk is a number of rows, and
what refers to them goes first (`removal`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig.engine.images import Deleted
from taaxdog_datamig.engine.removal import Removal
from taaxdog_datamig.engine.writer import ChunkWriter, Written
from taaxdog_datamig.errors import RunError
from taaxdog_datamig.ledger import Refusal, outside_quarantine
from taaxdog_datamig.pg.retry import Fault, classify, describe, sqlstate
from taaxdog_datamig.pg.rows import transposed
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Mode
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Claim, Key
    from taaxdog_datamig.migration import Target
    from taaxdog_datamig.migration.closure import Closure
    from taaxdog_datamig.pg.rows import Shape
    from taaxdog_datamig.planning import Window

#: Bytes of a deleted row's text to one of WAL, about: a deletion logs where the row was, not what it held.
_TEXT_TO_WAL = 4
#: Delimiter and quote that JSON never holds unescaped: a line of COPY is then a line of JSON.
_DELIMITER, _QUOTE = "\x02", "\x01"


@attrs.define
class Density:
    """Rows to a block of a table, from what was deleted so far."""

    rows: float

    def blocks(self, rows: int) -> int:
        """Blocks that hold about so many rows."""
        return max(1, int(rows / max(self.rows, 0.01)))

    def learn(self, blocks: int, rows: int) -> None:
        """Take in that so many blocks had so many rows to delete; a denser range counts at once."""
        found = rows / blocks
        self.rows = found if found > self.rows else (3 * self.rows + found) / 4


async def purge_window(job: Job, sweep: int, claim: Claim) -> None:
    """Delete what is pending in a window."""
    purge = WindowPurge(job, claim.target, sweep, claim.window)
    if purge.closure.simple:
        await purge.ranges()
    else:
        await purge.families()


@attrs.define
class WindowPurge:
    """The deletions of one window."""

    job: Job
    number: int
    sweep: int
    window: Window

    @property
    def target(self) -> Target:
        """What is worked on."""
        return self.job.targets[self.number]

    @property
    def closure(self) -> Closure:
        """What goes with it."""
        assert self.target.closure is not None
        return self.target.closure

    @property
    def shape(self) -> Shape:
        """Of the heap."""
        return self.target.shape.at(self.window.relation)

    async def ranges(self) -> None:
        """Delete range by range."""
        relation = self.target.table.relation
        density = Density(max(relation.tuples, 1) / max(relation.pages, 1))
        writer = ChunkWriter(job=self.job, target=self.number, sweep=self.sweep)
        start = self.window.start
        while start < self.window.end:
            end = min(self.window.end, start + density.blocks(self.job.size.rows))

            async def work(
                connection: PoolConnectionProxy[Any], mode: Mode, start: int = start, end: int = end
            ) -> Written:
                return await self.delete_range(connection, start, end, mode)

            done = await writer.commit(self.window.relation, work)
            density.learn(end - start, done.changed)
            start = end

    async def delete_range(
        self, connection: PoolConnectionProxy[Any], start: int, end: int, mode: Mode
    ) -> Written:
        """Delete the pending rows of some blocks."""
        where = self._where(f"t.ctid >= '({start},0)'::tid AND t.ctid < '({end},0)'::tid")
        if mode.bisect:
            rows = await connection.fetch(self._lock_sql(where, mode), *self._extra())
            return await self._one_by_one(connection, [tuple(row)[1:] for row in rows])
        if mode.skip_locked:
            free = f"SELECT t.ctid FROM ONLY {self.shape.relation} AS t WHERE {where}"
            locked = f"{free} FOR UPDATE SKIP LOCKED"
            where = f"t.ctid = ANY (ARRAY({locked}))"
        pieces: list[bytes] = []

        async def take(data: bytes) -> None:
            pieces.append(data)

        await connection.copy_from_query(
            f"DELETE FROM ONLY {self.shape.relation} AS t WHERE {where} RETURNING {self.shape.line_sql()}",
            *self._extra(),
            output=take,
            format="csv",
            delimiter=_DELIMITER,
            quote=_QUOTE,
        )
        lines = b"".join(pieces)
        if not lines:
            return Written()
        effect = Deleted(shape=self.shape, rows=lines.count(b"\n"), lines=lines, loose=self.target.loose)
        first, last = effect.ends()
        return Written(
            effects=[effect],
            changed=effect.rows,
            first_key=first,
            last_key=last,
            size=len(lines) // _TEXT_TO_WAL,
        )

    async def last_rows(
        self, connection: PoolConnectionProxy[Any], limit: int, mode: Mode
    ) -> tuple[Written, bool]:
        """Delete what is still pending, up to some rows, and whether that is all."""
        if self.closure.simple:
            return await self.delete_range(connection, self.window.start, self.window.end, mode), True
        rows = await self._roots(connection, (self.window.start, 0), mode, limit + 1)
        written, complete = await self._delete_families(connection, [tuple(row)[1:] for row in rows], mode)
        return written, complete and len(rows) <= limit

    async def delete_named(
        self, connection: PoolConnectionProxy[Any], keys: Sequence[Key], mode: Mode
    ) -> tuple[Written, set[Key], set[Key]]:
        """Delete those of the rows that are still pending, each in a savepoint of its own.

        Returns what was done, which rows were had and which are pending and locked by others.
        """
        arguments = transposed(keys, len(self.shape.key))
        where = f"({self.target.pending}) AND {self.shape.among(1)}"
        names = ", ".join(f"t.{field.quoted}::text" for field in self.shape.key)
        pending = await connection.fetch(
            f"SELECT {names} FROM {self.shape.source} AS t WHERE {where}", *arguments
        )
        rows = await connection.fetch(self._lock_sql(where, mode), *arguments)
        had = [tuple(row)[1:] for row in rows]
        written = await self._one_by_one(connection, had)
        return written, set(had), {tuple(row) for row in pending} - set(had)

    async def families(self) -> None:
        """Delete rows with what refers to them, some at a time."""
        writer = ChunkWriter(job=self.job, target=self.number, sweep=self.sweep)
        after = (self.window.start, 0)
        while True:
            last: tuple[int, int] | None = None
            complete = True

            async def work(
                connection: PoolConnectionProxy[Any], mode: Mode, after: tuple[int, int] = after
            ) -> Written:
                nonlocal last, complete
                rows = await self._roots(connection, after, mode)
                last = rows[-1][0] if rows else None
                written, complete = await self._delete_families(
                    connection, [tuple(row)[1:] for row in rows], mode
                )
                return written

            await writer.commit(self.window.relation, work)
            if last is None:
                return
            if complete:
                after = last

    async def _roots(
        self,
        connection: PoolConnectionProxy[Any],
        after: tuple[int, int],
        mode: Mode,
        limit: int | None = None,
    ) -> list[asyncpg.Record]:
        where = self._where("t.ctid > $1::tid AND t.ctid < $2::tid", 4)
        query = f"{self._lock_sql(where, mode, 'LIMIT $3')}"
        end = (self.window.end, 0)
        return await connection.fetch(query, after, end, limit or self.job.size.rows, *self._extra())

    async def _delete_families(
        self, connection: PoolConnectionProxy[Any], keys: Sequence[Key], mode: Mode
    ) -> tuple[Written, bool]:
        if not keys:
            return Written(), True
        if mode.bisect:
            return await self._one_by_one(connection, keys), True
        # A dry run takes back what it deletes: it would meet the same children again and again.
        budget = None if self.job.dry_run else max(self.job.size.rows, 1)
        removal = Removal(connection, self.closure, self.job.data_key, budget, self.target.loose)
        held = await removal.held(self.shape, keys)
        free = [key for key in keys if key not in held]
        complete = await removal.remove(self.shape, free)
        if not (complete or removal.effects or held):
            raise RunError(
                f"rows of {self.target.table.relation.label} refer to each other in circles that are larger "
                "than a chunk",
                "Give --batch-size a larger number",
            )
        return (
            Written(
                effects=removal.effects,
                changed=len(free) if complete else 0,
                refusals=[_on_hold(key, table) for key, table in held.items()],
                first_key=keys[0],
                last_key=keys[-1],
                size=sum(len(effect.body()) for effect in removal.effects) // _TEXT_TO_WAL,
                touched=sum(effect.rows for effect in removal.effects),
            ),
            complete,
        )

    async def _one_by_one(self, connection: PoolConnectionProxy[Any], keys: Sequence[Key]) -> Written:
        """Delete row by row, each in a savepoint, so that those the server refuses stand alone."""
        effects, refusals, changed = [], [], 0
        for key in keys:
            removal = Removal(connection, self.closure, self.job.data_key, None, self.target.loose)
            try:
                async with transaction(connection):
                    held = await removal.held(self.shape, [key])
                    if not held:
                        await removal.remove(self.shape, [key])
            except asyncpg.PostgresError as error:
                if classify(error) is not Fault.DATA:
                    raise
                reason = f"the server refused it: {describe(error)}"
                refusals.append(Refusal(key=key, code=f"refused-{sqlstate(error)}", reason=reason))
            else:
                refusals += [_on_hold(held_key, table) for held_key, table in held.items()]
                effects += removal.effects
                changed += not held
        return Written(
            effects=effects,
            changed=changed,
            refusals=refusals,
            first_key=keys[0] if keys else None,
            last_key=keys[-1] if keys else None,
        )

    def _lock_sql(self, where: str, mode: Mode, limit: str = "") -> str:
        """The rows' place and key, locked."""
        keys = ", ".join(f"t.{field.quoted}::text" for field in self.shape.key)
        skip = " SKIP LOCKED" if mode.skip_locked else ""
        return (
            f"SELECT t.ctid, {keys} FROM ONLY {self.shape.relation} AS t WHERE {where}"
            f" ORDER BY t.ctid {limit} FOR UPDATE OF t{skip}"
        )

    def _where(self, place: str, parameter: int = 1) -> str:
        pending = f"{place} AND ({self.target.pending})"
        if self.sweep <= 1:
            return pending
        ledger = self.job.ledger.schema
        free = outside_quarantine(self.shape, ledger, f"${parameter}", f"${parameter + 1}")
        return f"{pending} AND {free}"

    def _extra(self) -> list[Any]:
        return [] if self.sweep <= 1 else [self.job.run_id, self.window.relation]


def _on_hold(key: Key, table: str) -> Refusal:
    return Refusal(key=key, code="on-hold", reason=f"{table} on hold refers to it", left=True)

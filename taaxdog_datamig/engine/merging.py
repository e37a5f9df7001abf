"""Merges the groups of a window, chunk by chunk; a group is merged whole or not at all.

A window is a share of the groups, by a hash of what their rows have in common, so that workers share them and
none holds more than WINDOW_ROWS duplicates or so in memory. A chunk is some groups and one transaction: their
rows are locked, looked at again, and then everything that refers to duplicates is re-pointed (`repointing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Item, Mode, apply, persistently
from taaxdog_datamig.engine.ends import Pair
from taaxdog_datamig.engine.filling import Member, fill_items, filled
from taaxdog_datamig.engine.images import Deleted, Effect, Updated
from taaxdog_datamig.engine.repointing import Repointing, Unmergeable, lock_sql
from taaxdog_datamig.engine.writer import ChunkWriter, Written
from taaxdog_datamig.errors import RunPaused
from taaxdog_datamig.ledger import Refusal
from taaxdog_datamig.migration.target import shape_of
from taaxdog_datamig.pg.keys import known_to
from taaxdog_datamig.pg.retry import Fault, classify, describe, sqlstate
from taaxdog_datamig.pg.rows import bound, transposed
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.planning import WINDOW_ROWS, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Claim, Key
    from taaxdog_datamig.migration import Target
    from taaxdog_datamig.migration.family import Merge
    from taaxdog_datamig.pg.rows import Shape

#: Sweeps in which a group that meets rows the application has just written is left to the next one.
_LENIENT_SWEEPS = 10
#: Bytes of WAL for a row that is re-pointed, with its index entries.
_REPOINTED = 400

#: A group's keys, the primary's first, then its duplicates' in order of preference.
Group = tuple["Key", ...]


def merge_windows(target: Target, pending: int, workers: int) -> list[Window]:
    """The shares of a merge: number `start` of `end`."""
    shares = max(-(-pending // WINDOW_ROWS), min(workers, pending), 1)
    return [Window(target.table.relation.quoted, share, shares) for share in range(shares)]


async def count_duplicates(connection: PoolConnectionProxy[Any], merge: Merge) -> int:
    """How many rows are to be merged into others."""
    query = f"SELECT count(*) FROM ({merge.candidates()}) AS d WHERE d.place > 1"
    (row,) = await whole(connection, query)
    return int(row[0])


async def whole(connection: PoolConnectionProxy[Any], query: str, *arguments: Any) -> list[asyncpg.Record]:
    """What a query over groups answers. Its planner cannot know how many there are, and must not loop."""
    async with transaction(connection):
        await connection.execute("SET LOCAL enable_nestloop = off")
        return await connection.fetch(query, *arguments)


async def merge_window(job: Job, sweep: int, claim: Claim) -> None:
    """Merge the groups of a window."""
    groups = await _read(job, claim, sweep)
    writer = ChunkWriter(job=job, target=claim.target, sweep=sweep)
    start = 0
    while start < len(groups):
        # The chunk size may have changed since the last one.
        part = groups[start : start + group_count(groups, start, job.size.rows)]

        async def work(
            connection: PoolConnectionProxy[Any], mode: Mode, part: Sequence[Group] = part
        ) -> Written:
            chunk = MergeChunk(job=job, number=claim.target, sweep=sweep, connection=connection)
            return await chunk.merge(part, mode)

        await writer.commit(claim.window.relation, work)
        start += len(part)


def group_count(groups: Sequence[Group], start: int, rows: int) -> int:
    """How many groups from `start` on have about so many duplicates; one at least."""
    taken = 0
    for count, group in enumerate(groups[start:]):
        taken += len(group) - 1
        if taken > rows:
            return max(1, count)
    return len(groups) - start


async def _read(job: Job, claim: Claim, sweep: int) -> list[Group]:
    """The groups of a window that have a duplicate outside quarantine."""
    groups: list[Group] = []

    async def read(_: Mode) -> None:
        # Not the ledger's session: in a dry run its temporary tables would hide the application's.
        async with job.db.acquire() as connection:
            groups[:] = await read_groups(connection, job, claim.target, claim.window, sweep)

    await persistently(job, f"reading {claim.window.relation}", read, skip=False)
    failpoints.hit("after-read")
    return groups


async def read_groups(
    connection: PoolConnectionProxy[Any],
    job: Job,
    number: int,
    window: Window,
    sweep: int,
    *,
    refused: bool = False,
) -> list[Group]:
    """As `_read`, over a connection at hand; with `refused` those that have a refused duplicate instead."""
    merge = _merge_of(job, number)
    key = merge.primary.shape.key
    texts = ", ".join(f"d.{field.quoted}::text" for field in key)
    share = f"(hashtext(({merge.same})::text) & 2147483647) % {window.end} = {window.start}"
    free, extra = "true", []
    if sweep > 1:
        extra = [job.run_id, window.relation]
        free = (
            f"EXISTS (SELECT FROM {job.ledger.schema}.quarantine AS q WHERE q.run_id = $1"
            f" AND q.relation = $2 AND q.key = ARRAY[{texts}]{' AND NOT q.left_alone' if refused else ''})"
        )
        free = free if refused else f"NOT {free}"
    rows = await whole(
        connection,
        f"SELECT {texts}, d.place AS place, {free} AS free"
        f" FROM ({merge.candidates(share)}) AS d ORDER BY d.same, d.place",
        *extra,
    )
    found: list[tuple[list[Key], bool]] = []
    for row in rows:
        if row["place"] == 1:
            found.append(([], False))
        keys, due = found[-1]
        keys.append(tuple(row)[: len(key)])
        found[-1] = keys, due or (row["place"] > 1 and row["free"])
    # By duplicate: a chunk's are near each other in the indexes of all that refers to them.
    return sorted((tuple(keys) for keys, due in found if due), key=lambda group: group[1])


def _merge_of(job: Job, number: int) -> Merge:
    merge = job.targets[number].merge
    assert merge is not None
    return merge


@attrs.define(kw_only=True)
class MergeChunk:
    """Some groups, inside the chunk's transaction."""

    job: Job
    number: int
    sweep: int
    connection: PoolConnectionProxy[Any]
    _refusals: list[Refusal] = attrs.field(factory=list)
    #: Groups that are left to the next sweep.
    _later: list[Group] = attrs.field(factory=list)
    _merged: int = 0

    @property
    def plan(self) -> Merge:
        """How rows are merged."""
        return _merge_of(self.job, self.number)

    @property
    def shape(self) -> Shape:
        """The table, whole."""
        return self.plan.primary.shape

    @property
    def later(self) -> Sequence[Group]:
        """Groups that were not what was read, or not to be had."""
        return self._later

    async def merge(self, groups: Sequence[Group], mode: Mode) -> Written:
        """Lock the groups, look whether they still are what was read, and merge them."""
        await self._know_what_refers()
        there = await self._lock(groups, mode)
        members = await self._look(there)
        self._later += [group for group in groups if group not in members]
        if self.plan.on_hold == "leave":
            members = await self._without_holds(members)
        effects = await self._settle(members, careful=mode.bisect)
        keys = [group[0] for group in groups]
        return Written(
            effects=effects,
            changed=self._merged,
            conflicts=sum(len(group) - 1 for group in self._later),
            refusals=self._refusals,
            first_key=keys[0],
            last_key=keys[-1],
            size=sum(
                len(effect.lines) if isinstance(effect, Deleted) else _REPOINTED * effect.rows
                for effect in effects
            ),
        )

    async def _know_what_refers(self) -> None:
        """Keep foreign keys from being added until the chunk ends, and see that none was.

        One that we do not know could take rows along with a duplicate, unseen.

        Raises:
            RunPaused: one was added.
        """
        losing = self.plan.losing
        if not losing:
            return
        await self.connection.execute(f"LOCK TABLE {', '.join(losing.values())} IN ROW EXCLUSIVE MODE")
        if await known_to(self.connection, losing) != self.plan.known:
            raise RunPaused(
                f"foreign keys to {', '.join(losing.values())} were added or dropped since the run began",
                f"`datamig resume {self.job.run_id}` goes on, and follows those that there are",
            )

    async def _lock(self, groups: Sequence[Group], mode: Mode) -> list[Group]:
        """Lock every row; returns the groups that are there whole, and free."""
        locked: set[Key] = set()
        skip = " SKIP LOCKED" if mode.skip_locked else ""
        for keys, strength in (
            ([key for group in groups for key in group[1:]], "FOR UPDATE"),
            # Others may go on to refer to it.
            ([group[0] for group in groups], "FOR NO KEY UPDATE"),
        ):
            query = lock_sql(self.shape, strength) + skip
            rows = await self.connection.fetch(query, *transposed(keys, len(self.shape.key)))
            locked.update(keys[row["ord"] - 1] for row in rows)
        return [group for group in groups if locked.issuperset(group)]

    async def _look(self, groups: Sequence[Group]) -> dict[Group, list[Member]]:
        """The groups that still are groups with that primary, and what their rows hold now.

        The primary first, then the duplicates whose values may be taken, in order of preference.
        """
        plan, shape = self.plan, self.shape
        keys = [key for group in groups for key in group]
        numbers = [number for number, group in enumerate(groups) for _ in group]
        width = len(shape.key)
        names, arrays = bound(width, first=2)
        match = " AND ".join(f"t.{field.quoted} = s.x{i}{field.cast}" for i, field in enumerate(shape.key))
        columns = plan.primary.table.relation.columns
        texts = "".join(f", t.{columns[name].quoted}::text" for name in plan.fill)
        rows = await self.connection.fetch(
            f"SELECT s.ord, s.g, dense_rank() OVER (PARTITION BY s.g ORDER BY {plan.same}) AS kind,"
            f" row_number() OVER (PARTITION BY s.g ORDER BY {', '.join(plan.order)}) AS place,"
            f" ({plan.trusted}) IS TRUE AS trusted{texts}"
            f" FROM unnest($1::int[], {arrays}) WITH ORDINALITY AS s(g, {names}, ord)"
            f" JOIN {shape.source} AS t ON {match}"
            f" WHERE ({plan.live}) AND ({plan.same}) <> '' ORDER BY s.g, place",
            numbers,
            *transposed(keys, width),
        )
        seen: dict[int, list[asyncpg.Record]] = {}
        for row in rows:
            seen.setdefault(row["g"], []).append(row)
        found: dict[Group, list[Member]] = {}
        for number, group in enumerate(groups):
            records = seen.get(number, [])
            whole = len(records) == len(group) and all(record["kind"] == 1 for record in records)
            if whole and keys[records[0]["ord"] - 1] == group[0]:
                found[group] = [
                    (keys[record["ord"] - 1], dict(zip(plan.fill, tuple(record)[5:], strict=True)))
                    for record in records
                    if record["place"] == 1 or record["trusted"]
                ]
        return found

    async def _without_holds(self, members: dict[Group, list[Member]]) -> dict[Group, list[Member]]:
        """Leave the groups whose duplicates have records on hold."""
        groups = list(members)
        duplicates = [(n, key) for n, group in enumerate(groups) for key in group[1:]]
        held: set[int] = set()
        for reference in self.plan.primary.references:
            child = self.plan.kin[reference.child]
            if not child.holds or not duplicates:
                continue
            names, arrays = bound(len(self.shape.key), first=2)
            match = " AND ".join(
                f"p.{field.quoted} = s.x{i}{field.cast}" for i, field in enumerate(self.shape.key)
            )
            rows = await self.connection.fetch(
                f"SELECT DISTINCT s.g FROM unnest($1::int[], {arrays}) AS s(g, {names})"
                f" JOIN {self.shape.source} AS p ON {match}"
                f" JOIN {child.shape.source} AS t ON {reference.child_is('t', 'p')}"
                f" WHERE {' OR '.join(f'({condition})' for condition in child.holds)}",
                [n for n, _ in duplicates],
                *transposed([key for _, key in duplicates], len(self.shape.key)),
            )
            found = {row["g"] for row in rows}
            for number in found - held:
                self._leave(groups[number], "on-hold", f"{child.shape.table} on hold refers to a duplicate")
            held |= found
        return {group: rows for n, (group, rows) in enumerate(members.items()) if n not in held}

    async def _settle(self, members: dict[Group, list[Member]], *, careful: bool) -> list[Effect]:
        """Merge the groups; halve them where something goes wrong, until those to blame stand alone.

        Args:
            members: locked, and looked at.
            careful: whether to leave out groups that the server refuses, too.
        """
        groups = list(members)
        if not groups:
            return []
        try:
            async with transaction(self.connection):
                effects = await self._merge_all(members)
        except Unmergeable as error:
            blamed = [groups[n] for n in error.groups] or (groups if len(groups) == 1 else [])
            for group in blamed:
                self._leave(group, error.code, error.reason)
            if blamed:
                return await self._settle(_without(members, blamed), careful=careful)
        except asyncpg.PostgresError as error:
            if not careful or classify(error) is not Fault.DATA:
                raise
            if len(groups) == 1:
                self._refuse(groups[0], error)
                return []
        else:
            self._merged += sum(len(group) - 1 for group in groups)
            return effects
        halves = groups[: len(groups) // 2], groups[len(groups) // 2 :]
        first, second = (_without(members, other) for other in reversed(halves))
        done = await self._settle(first, careful=careful)
        return done + await self._settle(second, careful=careful)

    def _leave(self, group: Group, code: str, reason: str) -> None:
        self._refusals += [Refusal(key=key, code=code, reason=reason, left=True) for key in group[1:]]

    def _refuse(self, group: Group, error: asyncpg.PostgresError) -> None:
        if isinstance(error, asyncpg.UniqueViolationError) and self.sweep < _LENIENT_SWEEPS:
            self._later.append(group)  # most likely the application has just written the other row
            return
        reason = f"the server refused it: {describe(error)}"
        code = f"refused-{sqlstate(error)}"
        self._refusals += [Refusal(key=key, code=code, reason=reason) for key in group[1:]]

    async def _merge_all(self, members: dict[Group, list[Member]]) -> list[Effect]:
        plan = self.plan
        pairs = [Pair(key, group[0], n) for n, group in enumerate(members) for key in group[1:]]
        repointing = Repointing(self.connection, plan, self.job.data_key)
        await repointing.merge_pairs(pairs)
        if plan.mark is None:
            await repointing.delete(plan.primary, pairs)
        else:
            repointing.effects.append(await self._mark(plan.mark, pairs))
        return repointing.effects + await self._fill(members)

    async def _mark(self, column: str, pairs: Sequence[Pair]) -> Updated:
        """Mark duplicates as deleted, now."""
        table = self.plan.primary.table
        shape = shape_of(table, {column: table.relation.columns[column]})
        width = len(shape.key)
        keys = ", ".join(f"t.{field.quoted}::text" for field in shape.key)
        match = " AND ".join(f"t.{field.quoted} = s.x{i}{field.cast}" for i, field in enumerate(shape.key))
        names, arrays = bound(width)
        mark = shape.columns[0].quoted
        rows = await self.connection.fetch(
            f"UPDATE {shape.source} AS t SET {mark} = now() FROM unnest({arrays}) AS s({names})"
            f" WHERE {match} RETURNING {keys}, t.{mark}::text",
            *transposed([pair.loser for pair in pairs], width),
        )
        changed = [(Item(tuple(row)[:width], (None,), (row[width],)), (row[width],)) for row in rows]
        return Updated.of(shape, changed, self.job.data_key)

    async def _fill(self, members: dict[Group, list[Member]]) -> list[Effect]:
        """Give primaries what they lack and a duplicate has."""
        plan = self.plan
        wanted = [(rows[0], filled(plan, rows[0], rows[1:])) for rows in members.values()]
        shape, items = fill_items(plan, wanted)
        applied = await apply(self.connection, shape, items, Mode())
        if not applied.stored:
            return []
        changed = [(items[i], stored) for i, stored in applied.stored.items()]
        return [Updated.of(shape, changed, self.job.data_key)]


def _without(members: dict[Group, list[Member]], groups: Sequence[Group]) -> dict[Group, list[Member]]:
    others = set(groups)
    return {group: rows for group, rows in members.items() if group not in others}

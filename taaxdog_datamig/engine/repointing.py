"""Re-points what refers to losers, and merges what then would be there twice, inside an open transaction.

Losers are locked FOR UPDATE before anything is read: a foreign key's check takes a key-share lock on the row
it refers to, so nobody can add a reference to a row that is about to go. Every statement looks at the rows as
they are by then, and returns what it changed: that is the before-image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.engine.apply import Item, Mode, apply
from taaxdog_datamig.engine.ends import Ends, Pair, repoint_sql
from taaxdog_datamig.engine.images import Deleted, Effect, Updated, digests
from taaxdog_datamig.engine.removal import Removal
from taaxdog_datamig.migration.target import shape_of
from taaxdog_datamig.pg.rows import bound, transposed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Texts
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration.family import Kin, Merge
    from taaxdog_datamig.pg.keys import ForeignKey, UniqueIndex
    from taaxdog_datamig.pg.rows import Shape

#: Tables on the way from a duplicate to a row that has to give way; more must be a circle.
_DEEPEST = 16
#: Looks at rows that the application changes between our reading and our locking them.
_LOOKS = 20


class Unmergeable(Exception):
    """Groups that cannot be merged, by number; nothing of them may stay done."""

    def __init__(self, groups: Iterable[int], code: str, reason: str) -> None:
        super().__init__(code)
        self.groups = frozenset(groups)
        self.code = code
        self.reason = reason


@attrs.define
class Repointing:
    """The statements of one chunk.

    Args:
        connection: where the chunk's transaction is open.
        merge: which tables are reached, and who has to give way.
        data_key: keys the digests of what is written.
    """

    connection: PoolConnectionProxy[Any]
    merge: Merge
    data_key: bytes = attrs.field(repr=False)
    effects: list[Effect] = attrs.field(factory=list)
    _digested: dict[Texts, tuple[str, ...]] = attrs.field(factory=dict, repr=False)

    async def merge_pairs(self, pairs: Sequence[Pair]) -> None:
        """Re-point everything from duplicates to their primaries; the duplicates themselves stay.

        Raises:
            Unmergeable: some of the groups cannot be merged.
        """
        await self._follow(self.merge.primary, pairs, 0)

    async def delete(self, kin: Kin, pairs: Sequence[Pair]) -> None:
        """Delete the losers, which nothing refers to any more.

        Raises:
            Unmergeable: a trigger keeps them.
        """
        keys = [pair.loser for pair in pairs]
        rows = await self.connection.fetch(kin.shape.delete_sql(), *transposed(keys, len(kin.shape.key)))
        if rows:
            lines = "\n".join(row["line"] for row in rows).encode() + b"\n"
            self.effects.append(Deleted(shape=kin.shape, rows=len(rows), lines=lines))
        if len(rows) < len(keys):
            groups = {pair.group for pair in pairs}
            reason = f"rows of {kin.shape.table} cannot be deleted: a trigger keeps them, or they are gone"
            raise Unmergeable(groups if len(groups) == 1 else (), "kept", reason)

    async def _follow(self, kin: Kin, pairs: Sequence[Pair], depth: int) -> None:
        values = await self._values(kin, pairs)
        together: dict[tuple[str, ...], list[Ends]] = {}
        for reference in kin.references:
            ends = Ends(
                reference=reference,
                child=self.merge.kin[reference.child],
                pairs=pairs,
                values=[values[name] for name in reference.parent_columns],
            )
            if depth == 0 and reference.child in self.merge.dropped:
                await self._drop(ends)
            if kin.plain(reference, ends.child):
                together.setdefault(reference.parent_columns, []).append(ends)
                continue
            await self._clear(ends, depth)
            if ends.child.loose.isdisjoint(reference.child_columns):
                await self._repoint([ends])
            else:
                await self._repoint_exactly(ends)
            if ends.child.triggers:
                await self._look_back(ends)
        for many in together.values():
            await self._repoint(many)

    async def _values(
        self, kin: Kin, pairs: Sequence[Pair]
    ) -> dict[str, tuple[list[str | None], list[str | None]]]:
        """What losers and winners hold in the columns that are referred to."""
        found: dict[str, tuple[list[str | None], list[str | None]]] = {
            field.column: ([pair.loser[i] for pair in pairs], [pair.winner[i] for pair in pairs])
            for i, field in enumerate(kin.shape.key)
        }
        names = {name for reference in kin.references for name in reference.parent_columns} - found.keys()
        if names:
            relation = kin.table.relation
            shape = shape_of(kin.table, {name: relation.columns[name] for name in sorted(names)})
            losers = await self._texts(shape, [pair.loser for pair in pairs])
            winners = await self._texts(shape, [pair.winner for pair in pairs])
            for i, name in enumerate(sorted(names)):
                found[name] = ([row[i] for row in losers], [row[i] for row in winners])
        return found

    async def _texts(self, shape: Shape, keys: Sequence[Key]) -> list[tuple[str | None, ...]]:
        width = 1 + len(shape.key)
        rows = await self.connection.fetch(shape.keys_sql(), *transposed(keys, len(shape.key)))
        texts = {row["ord"]: tuple(row)[width:] for row in rows}
        nothing = (None,) * len(shape.columns)
        return [texts.get(i + 1, nothing) for i in range(len(keys))]

    async def _fetch(self, reference: ForeignKey, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Have a table without an index for the reference read once, and not once for each pair."""
        if reference.indexed:
            return await self.connection.fetch(query, *arguments)
        await self.connection.execute("SET LOCAL enable_hashjoin = on; SET LOCAL enable_seqscan = on")
        rows = await self.connection.fetch(query, *arguments)
        await self.connection.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_seqscan = off")
        return rows

    async def _drop(self, ends: Ends) -> None:
        """Delete what must not pass from a duplicate to its primary."""
        when, closure = self.merge.dropped[ends.reference.child]
        key = self.merge.primary.shape.key
        match = " AND ".join(f"t.{field.quoted} = s.x{i}{field.cast}" for i, field in enumerate(key))
        names, arrays = bound(len(key))
        children = ", ".join(f"c.{field.quoted}::text" for field in ends.child.shape.key)
        rows = await self._fetch(
            ends.reference,
            f"SELECT {children} FROM unnest({arrays}) AS s({names})"
            f" JOIN {self.merge.primary.shape.source} AS t ON {match}"
            f" JOIN {ends.child.shape.source} AS c ON {ends.reference.child_is('c', 't')}"
            f" WHERE ({when}) FOR UPDATE OF c",
            *transposed([pair.loser for pair in ends.pairs], len(key)),
        )
        if not rows:
            return
        removal = Removal(self.connection, closure, self.data_key, None)
        keys: list[Key] = [tuple(row) for row in rows]
        held = await removal.held(ends.child.shape, keys)
        await removal.remove(ends.child.shape, [row for row in keys if row not in held])
        self.effects += removal.effects

    async def _clear(self, ends: Ends, depth: int) -> None:
        """Merge the rows that cannot both refer to a winner."""
        child = ends.child
        uniques = child.uniques_on(ends.reference.child_columns)
        for _ in range(_LOOKS if uniques else 0):
            lost = await self._conflicts(ends, uniques)
            if not lost:
                return
            groups = {pair.group for pair in lost}
            if child.table.relation.oid == self.merge.root:
                reason = f"other rows of {child.shape.table} would break a unique index when re-pointed"
                raise Unmergeable(groups, "unique-conflict", reason)
            if depth == _DEEPEST:
                raise Unmergeable(groups, "too-deep", f"rows of {child.shape.table} give way in a circle")
            await self._lock(child, lost)
            # Read again what is locked now: the application may have changed it in between.
            if set(await self._conflicts(ends.of(groups), uniques)) != set(lost):
                continue
            await self._follow(child, lost, depth + 1)
            await self.delete(child, lost)
            if not self.merge.circular(child.table.relation.oid):
                return
        if uniques:
            everyone = {pair.group for pair in ends.pairs}
            reason = f"rows of {child.shape.table} change while they are looked at"
            raise Unmergeable(everyone if len(everyone) == 1 else (), "unsettled", reason)

    async def _conflicts(self, ends: Ends, uniques: Sequence[UniqueIndex]) -> list[Pair]:
        """The rows that have to give way, each with the one that stays.

        From the best row to the worst: a row stays unless one that stays is in its way.
        """
        rows = await self._fetch(ends.reference, ends.conflicts_sql(uniques), *ends.arguments(groups=True))
        rivals: dict[int, list[int]] = {}
        keys: dict[int, Key] = {}
        about: dict[int, tuple[int, bool]] = {}
        for row in rows:
            ranks: list[int] = row["ranks"]
            for i, rank in enumerate(ranks):
                keys[rank] = tuple(row["keys"][i])
                about[rank] = (row["groups"][i], row["held"][i])
                rivals.setdefault(rank, []).extend(ranks[:i])
        lost: dict[int, int] = {}
        for rank in sorted(keys):
            if (best := min((r for r in rivals[rank] if r not in lost), default=None)) is not None:
                lost[rank] = best
        if on_hold := {about[rank][0] for rank in lost if about[rank][1]}:
            reason = f"a row of {ends.child.shape.table} would have to give way, and is on hold"
            raise Unmergeable(on_hold, "on-hold", reason)
        return [Pair(keys[rank], keys[best], about[rank][0]) for rank, best in lost.items()]

    async def _lock(self, kin: Kin, pairs: Sequence[Pair]) -> None:
        for keys, strength in (
            ([pair.loser for pair in pairs], "FOR UPDATE"),
            (list({pair.winner: None for pair in pairs}), "FOR NO KEY UPDATE"),
        ):
            await self.connection.fetch(lock_sql(kin.shape, strength), *transposed(keys, len(kin.shape.key)))

    async def _repoint(self, many: Sequence[Ends]) -> None:
        """Re-point over several references to the same columns, each from a table of its own."""
        first = many[0]
        found = [Updated(shape=ends.shape, keys=[], old=[], new=[]) for ends in many]
        widths = [len(effect.shape.key) for effect in found]
        before = list(zip(*(losers for losers, _ in first.values), strict=True))
        start = 2 + max(widths)
        for row in await self._fetch(first.reference, repoint_sql(many), *first.arguments()):
            n, place, *texts = row
            effect = found[n]
            effect.keys.append(tuple(texts[: widths[n]]))
            effect.old.append(before[place - 1])
            effect.new.append(self._digests(row[start:]))
        self.effects += [effect for effect in found if effect.keys]

    def _digests(self, texts: Texts) -> tuple[str, ...]:
        """As `digests`, which takes longer: many rows come to refer to the same one."""
        if (known := self._digested.get(texts)) is None:
            known = self._digested[texts] = digests(texts, self.data_key)
        return known

    async def _repoint_exactly(self, ends: Ends) -> None:
        """As `_repoint`, where only the row itself says how its value is spelled."""
        shape, width, count = ends.shape, len(ends.shape.key), len(ends.shape.columns)
        found = await self._fetch(ends.reference, ends.find_sql(), *ends.arguments())
        items = []
        for record in found:
            row = tuple(record)
            items.append(Item(row[:width], row[width : width + count], row[width + count :]))
        applied = await apply(self.connection, shape, items, Mode())
        columns = [field.column for field in shape.columns]
        changed = []
        for i, stored in applied.stored.items():
            now = dict(zip(columns, stored, strict=True))
            key = tuple(
                now.get(field.column) or items[i].key[n] if field.column in now else items[i].key[n]
                for n, field in enumerate(shape.key)
            )
            changed.append((attrs.evolve(items[i], key=key), stored))
        if changed:
            self.effects.append(Updated.of(shape, changed, self.data_key))

    async def _look_back(self, ends: Ends) -> None:
        """Whether a trigger has kept a row where it was: deleting its parent would take it along."""
        rows = await self._fetch(ends.reference, ends.left_sql(), *ends.arguments(groups=True))
        if rows:
            reason = f"a trigger keeps rows of {ends.child.shape.table} as they are"
            raise Unmergeable({row["g"] for row in rows}, "kept", reason)


def lock_sql(shape: Shape, strength: str) -> str:
    """Lock the rows named by one text[] a key column, in the order of the key; returns their positions."""
    names, arrays = bound(len(shape.key))
    match = " AND ".join(f"t.{field.quoted} = s.x{i}{field.cast}" for i, field in enumerate(shape.key))
    order = ", ".join(f"t.{field.quoted}" for field in shape.key)
    return (
        f"SELECT s.ord FROM unnest({arrays}) WITH ORDINALITY AS s({names}, ord)"
        f" JOIN {shape.source} AS t ON {match} ORDER BY {order} {strength} OF t"
    )

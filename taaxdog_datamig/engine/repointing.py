"""Re-points what refers to losers, and merges what then would be there twice, inside an open transaction.

Losers are locked FOR UPDATE before anything is read: a foreign key's check takes a key-share lock on the row
it refers to, so nobody can add a reference to a row that is about to go. Every statement looks at the rows as
they are by then, and returns what it changed: that is the before-image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.engine.apply import Item, Mode, apply
from taaxdog_datamig.engine.images import Deleted, Effect, Updated
from taaxdog_datamig.engine.removal import Removal
from taaxdog_datamig.migration.target import shape_of
from taaxdog_datamig.pg.rows import bound, transposed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration.family import Kin, Merge
    from taaxdog_datamig.pg.keys import ForeignKey, UniqueIndex
    from taaxdog_datamig.pg.rows import Field, Shape

#: Tables on the way from a duplicate to a row that has to give way; more must be a circle.
_DEEPEST = 16
#: Looks at rows that the application changes between our reading and our locking them.
_LOOKS = 20


@attrs.frozen
class Pair:
    """A row that is merged into another of its table."""

    loser: Key
    winner: Key
    #: Number of the group that it is for.
    group: int


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
        for reference in kin.references:
            ends = _Ends(
                reference=reference,
                child=self.merge.kin[reference.child],
                pairs=pairs,
                values=[values[name] for name in reference.parent_columns],
            )
            if depth == 0 and reference.child in self.merge.dropped:
                await self._drop(ends)
            await self._clear(ends, depth)
            await self._repoint(ends)

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

    async def _drop(self, ends: _Ends) -> None:
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

    async def _clear(self, ends: _Ends, depth: int) -> None:
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

    async def _conflicts(self, ends: _Ends, uniques: Sequence[UniqueIndex]) -> list[Pair]:
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

    async def _repoint(self, ends: _Ends) -> None:
        shape = ends.shape
        effect = Updated(shape=shape, keys=[], old=[], new=[])
        if ends.child.loose.isdisjoint(ends.reference.child_columns):
            width, count = len(shape.key), len(shape.columns)
            changed: list[tuple[Item, Any]] = []
            for record in await self._fetch(ends.reference, ends.update_sql(), *ends.arguments()):
                row = tuple(record)
                old, new = row[width : width + count], row[width + count :]
                changed.append((Item(row[:width], old, new), new))
            effect = Updated.of(shape, changed, self.data_key)
        else:
            effect = await self._repoint_exactly(ends)
        if effect.keys:
            self.effects.append(effect)
        if ends.child.triggers:
            await self._look_back(ends)

    async def _repoint_exactly(self, ends: _Ends) -> Updated:
        """As `update_sql`, where only the row itself says how its value is spelled."""
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
        return Updated.of(shape, changed, self.data_key)

    async def _look_back(self, ends: _Ends) -> None:
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


@attrs.frozen(kw_only=True)
class _Ends:
    """One reference, with what its losers and winners hold in the columns it refers to."""

    reference: ForeignKey
    child: Kin
    pairs: Sequence[Pair]
    values: Sequence[tuple[list[str | None], ...]]

    def of(self, groups: Iterable[int]) -> _Ends:
        """The same for the pairs of some groups."""
        wanted = set(groups)
        places = [i for i, pair in enumerate(self.pairs) if pair.group in wanted]
        return attrs.evolve(
            self,
            pairs=[self.pairs[i] for i in places],
            values=[tuple([side[i] for i in places] for side in sides) for sides in self.values],
        )

    @property
    def shape(self) -> Shape:
        """The child's key and the columns that refer."""
        columns = self.child.table.relation.columns
        return shape_of(self.child.table, {name: columns[name] for name in self.reference.child_columns})

    def arguments(self, *, groups: bool = False) -> list[Any]:
        """For the statements: the pairs' groups, then for each column losers' and winners' values."""
        numbers: list[Any] = [[pair.group for pair in self.pairs]] if groups else []
        return numbers + [side for sides in self.values for side in sides]

    def _given(self, *, groups: bool = False) -> str:
        names = ["g"] * groups + [f"{side}{i}" for i in range(len(self.values)) for side in "lw"]
        arrays = ["$1::int[]"] * groups
        arrays += [f"${groups + i + 1}::text[]" for i in range(2 * len(self.values))]
        return f"unnest({', '.join(arrays)}) WITH ORDINALITY AS s({', '.join(names)}, ord)"

    def _match(self, side: str, alias: str = "s") -> str:
        return " AND ".join(
            f"t.{field.quoted} = {alias}.{side}{i}{field.cast}" for i, field in enumerate(self.shape.columns)
        )

    def _new(self, i: int, field: Field) -> str:
        """SQL: what the column holds after; NULL where the row would come to refer to itself."""
        new = f"s.w{i}{field.cast}"
        key = {field.column for field in self.shape.key}
        own = self.reference.child == self.reference.parent and set(self.reference.parent_columns) == key
        if not own or self.child.table.relation.columns[field.column].not_null:
            return new
        itself = " AND ".join(
            f"t.{part.quoted} = s.w{self.reference.parent_columns.index(part.column)}{part.cast}"
            for part in self.shape.key
        )
        return f"CASE WHEN {itself} THEN NULL ELSE {new} END"

    @property
    def _key(self) -> str:
        return ", ".join(f"t.{field.quoted}::text" for field in self.shape.key)

    def update_sql(self) -> str:
        """Re-point; returns the key as it is then, what the columns held, and what they hold."""
        sets = ", ".join(f"{f.quoted} = {self._new(i, f)}" for i, f in enumerate(self.shape.columns))
        old = ", ".join(f"s.l{i}" for i in range(len(self.values)))
        new = ", ".join(f"t.{field.quoted}::text" for field in self.shape.columns)
        return (
            f"UPDATE {self.shape.source} AS t SET {sets} FROM {self._given()} WHERE {self._match('l')}"
            f" RETURNING {self._key}, {old}, {new}"
        )

    def find_sql(self) -> str:
        """Lock what is to be re-pointed; returns the key, what the columns hold, and what they shall hold."""
        old = ", ".join(f"t.{field.quoted}::text" for field in self.shape.columns)
        new = ", ".join(f"({self._new(i, f)})::text" for i, f in enumerate(self.shape.columns))
        return (
            f"SELECT {self._key}, {old}, {new} FROM {self._given()}"
            f" JOIN {self.shape.source} AS t ON {self._match('l')} FOR UPDATE OF t"
        )

    def left_sql(self) -> str:
        """The groups of losers that are still referred to."""
        return (
            f"SELECT DISTINCT s.g FROM {self._given(groups=True)}"
            f" JOIN {self.shape.source} AS t ON {self._match('l')}"
        )

    def conflicts_sql(self, uniques: Sequence[UniqueIndex]) -> str:
        """Rows that would be equal in a unique index, best first: `ranks`, `keys`, `groups` and `held`."""
        key = f"ARRAY[{self._key}]"
        replaced = {field.column: f"s.w{i}{field.cast}" for i, field in enumerate(self.shape.columns)}
        columns = self.child.table.relation.columns.values()
        moved = ", ".join(f"{replaced.get(c.name, f't.{c.quoted}')} AS {c.quoted}" for c in columns)
        stays = ", ".join(f"t.{c.quoted}" for c in columns)
        winners = ", ".join(f"w{i}" for i in range(len(self.values)))
        held = " OR ".join(f"({condition})" for condition in self.child.holds) or "false"
        order = ", ".join([*self.child.rule, 't."d ord"', 't."d key"'])
        found = [
            'SELECT array_agg("d rank" ORDER BY "d rank") AS ranks,'
            ' array_agg("d key" ORDER BY "d rank") AS keys,'
            ' array_agg("d g" ORDER BY "d rank") AS groups,'
            ' array_agg("d held" ORDER BY "d rank") AS held'
            f" FROM ranked AS t WHERE {unique.condition}"
            f" GROUP BY {', '.join(f'({term})' for term in unique.terms)}"
            ' HAVING count(*) > 1 AND bool_or("d ord" > 0)'
            for unique in uniques
        ]
        return (
            f"WITH s AS (SELECT * FROM {self._given(groups=True)}), moved AS ("
            f'SELECT s.ord AS "d ord", s.g AS "d g", {key} AS "d key", {moved}'
            f" FROM s JOIN {self.shape.source} AS t ON {self._match('l')} UNION ALL"
            f" SELECT 0, w.g, {key}, {stays} FROM (SELECT DISTINCT ON ({winners}) g, {winners} FROM s) AS w"
            f" JOIN {self.shape.source} AS t ON {self._match('w', 'w')}),"
            f' ranked AS (SELECT t.*, ({held}) IS TRUE AS "d held",'
            f' row_number() OVER (ORDER BY {order}) AS "d rank" FROM moved AS t) ' + " UNION ALL ".join(found)
        )

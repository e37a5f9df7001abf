"""One reference of a merge, and what its losers and winners hold: the statements that look and re-point.

Each takes one text[] for the losers' and one for the winners' values of each column that is referred to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.migration.target import shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration.family import Kin
    from taaxdog_datamig.pg.keys import ForeignKey, UniqueIndex
    from taaxdog_datamig.pg.rows import Field, Shape


@attrs.frozen
class Pair:
    """A row that is merged into another of its table."""

    loser: Key
    winner: Key
    #: Number of the group that it is for.
    group: int


@attrs.frozen(kw_only=True)
class Ends:
    """One reference, with what its losers and winners hold in the columns it refers to."""

    reference: ForeignKey
    child: Kin
    pairs: Sequence[Pair]
    values: Sequence[tuple[list[str | None], ...]]

    def of(self, groups: Iterable[int]) -> Ends:
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

    def given(self, *, groups: bool = False) -> str:
        """SQL: the pairs as `s`: their group `g` if wanted, the values l0, w0, l1.., and the place `ord`."""
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
        """Re-point over the pairs `s`; returns the pair's `ord`, the key k0.. as it is then, columns w0.."""
        sets = ", ".join(f"{f.quoted} = {self._new(i, f)}" for i, f in enumerate(self.shape.columns))
        keys = "".join(f", t.{field.quoted}::text AS k{i}" for i, field in enumerate(self.shape.key))
        new = "".join(f", t.{field.quoted}::text AS w{i}" for i, field in enumerate(self.shape.columns))
        return (
            f"UPDATE {self.shape.source} AS t SET {sets} FROM s WHERE {self._match('l')}"
            f" RETURNING s.ord{keys}{new}"
        )

    def find_sql(self) -> str:
        """Lock what is to be re-pointed; returns the key, what the columns hold, and what they shall hold."""
        old = ", ".join(f"t.{field.quoted}::text" for field in self.shape.columns)
        new = ", ".join(f"({self._new(i, f)})::text" for i, f in enumerate(self.shape.columns))
        return (
            f"SELECT {self._key}, {old}, {new} FROM {self.given()}"
            f" JOIN {self.shape.source} AS t ON {self._match('l')} FOR UPDATE OF t"
        )

    def left_sql(self) -> str:
        """The groups of losers that are still referred to."""
        return (
            f"SELECT DISTINCT s.g FROM {self.given(groups=True)}"
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
            f"WITH s AS (SELECT * FROM {self.given(groups=True)}), moved AS ("
            f'SELECT s.ord AS "d ord", s.g AS "d g", {key} AS "d key", {moved}'
            f" FROM s JOIN {self.shape.source} AS t ON {self._match('l')} UNION ALL"
            f" SELECT 0, w.g, {key}, {stays} FROM (SELECT DISTINCT ON ({winners}) g, {winners} FROM s) AS w"
            f" JOIN {self.shape.source} AS t ON {self._match('w', 'w')}),"
            f' ranked AS (SELECT t.*, ({held}) IS TRUE AS "d held",'
            f' row_number() OVER (ORDER BY {order}) AS "d rank" FROM moved AS t) ' + " UNION ALL ".join(found)
        )


def repoint_sql(many: Sequence[Ends]) -> str:
    """Re-point over several references to the same columns, each of a table of its own, at once.

    Returns for each row the number of its reference, the position of its pair, then its key as it is now, and
    what its columns hold now; where a table has fewer than another, NULL stands for what it lacks.
    """
    keys = max(len(ends.shape.key) for ends in many)
    columns = len(many[0].shape.columns)
    updates, rows = [], []
    for n, ends in enumerate(many):
        there = [f"k{i}" if i < len(ends.shape.key) else "NULL::text" for i in range(keys)]
        names = ", ".join(there + [f"w{i}" for i in range(columns)])
        updates.append(f"r{n} AS ({ends.update_sql()})")
        rows.append(f"SELECT {n} AS n, ord, {names} FROM r{n}")
    return f"WITH s AS (SELECT * FROM {many[0].given()}), {', '.join(updates)} {' UNION ALL '.join(rows)}"

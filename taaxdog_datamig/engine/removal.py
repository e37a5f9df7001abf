"""Deletes rows with what refers to them, child first, inside an open transaction.

The rows are locked FOR UPDATE before anything is read: a foreign key's check takes a key-share lock on the
row it refers to, so nobody can add a child to a row that is about to go. Each table's rows are deleted by
one statement, which returns them as they were in that moment: that is the archive and the before-image.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.engine.apply import Item, Mode, apply
from taaxdog_datamig.engine.images import Deleted, Effect, Updated
from taaxdog_datamig.errors import RunError
from taaxdog_datamig.migration.target import shape_of
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.rows import bound, transposed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Texts
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration.closure import Closure, HeldBy, Node
    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.pg.rows import Shape


@attrs.define
class Removal:
    """One chunk's deletions.

    Args:
        connection: where the chunk's transaction is open.
        closure: of the table whose rows go.
        data_key: keys the digests of columns that become NULL.
        budget: rows that may be deleted or changed before the rest is left for another chunk; the last
            statement may go beyond it. None for any number.
        loose: see `Target.loose`.
    """

    connection: PoolConnectionProxy[Any]
    closure: Closure
    data_key: bytes
    budget: int | None
    loose: tuple[str, ...] = ()
    effects: list[Effect] = attrs.field(factory=list)
    _going: dict[int, set[Key]] = attrs.field(factory=dict)

    async def held(self, shape: Shape, keys: Sequence[Key]) -> dict[Key, str]:
        """Those of the rows that records on hold refer to, with the records' table."""
        found: dict[Key, str] = {}
        for way in self.closure.held:
            async with _scanning(self.connection, *way.path):
                rows = await self.connection.fetch(_held_sql(shape, way), *transposed(keys, len(shape.key)))
            for row in rows:
                found.setdefault(keys[row["ord"] - 1], way.table)
        return found

    async def remove(self, shape: Shape, keys: Sequence[Key]) -> bool:
        """Delete rows and everything that refers to them.

        Args:
            shape: of the closure's root, at the heap that holds the rows.
            keys: of rows that are locked.

        Returns:
            Whether the rows are gone; False when the budget went to what refers to them.
        """
        return await self._remove(self.closure.nodes[self.closure.root], shape, keys)

    async def _remove(self, node: Node, shape: Shape, keys: Sequence[Key]) -> bool:
        going = self._going.setdefault(node.table.relation.oid, set())
        keys = [key for key in keys if key not in going]
        going.update(keys)
        complete = True
        for reference in node.references if keys else ():
            if self._spent:
                complete = False
                break
            follow = self._cut if reference.on_delete == "null" else self._follow
            complete &= await follow(reference, shape, keys)
        if complete and keys:
            rows = await self.connection.fetch(shape.delete_sql(), *transposed(keys, len(shape.key)))
            if rows:
                lines = "\n".join(row["line"] for row in rows).encode() + b"\n"
                loose = self.loose if node.table.relation.oid == self.closure.root else ()
                self.effects.append(Deleted(shape=shape, rows=len(rows), lines=lines, loose=loose))
            if len(rows) != len(keys):
                # They were locked: only a cascade of this very deletion can have taken them, unseen.
                raise RunError(
                    f"foreign keys lead from {shape.relation} back to it, and cascade: rows would be gone "
                    "before they were archived",
                    "Make one of the keys in the circle ON DELETE SET NULL or NO ACTION first",
                )
            self._spend(len(rows))
        going.difference_update(keys)
        return complete

    async def _follow(self, reference: ForeignKey, shape: Shape, keys: Sequence[Key]) -> bool:
        """Delete the rows that refer to these."""
        node = self.closure.nodes[reference.child]
        found, complete = await self._children(reference, shape, keys, node.shape, ())
        return await self._remove(node, node.shape, [key for key, _ in found]) and complete

    async def _cut(self, reference: ForeignKey, shape: Shape, keys: Sequence[Key]) -> bool:
        """Take the reference away from the rows that refer to these."""
        table = self.closure.cut[reference.child]
        columns = {name: table.relation.columns[name] for name in reference.child_columns}
        cut = shape_of(table, columns)
        found, complete = await self._children(reference, shape, keys, cut, reference.child_columns)
        nothing = (None,) * len(columns)
        # Rows that go themselves need not be changed first.
        going = self._going.get(reference.child, set())
        items = [Item(key, texts, nothing) for key, texts in found if key not in going]
        applied = await apply(self.connection, cut, items, Mode())
        if applied.stored:
            changed = [(items[i], stored) for i, stored in applied.stored.items()]
            self.effects.append(Updated.of(cut, changed, self.data_key))
        self._spend(len(applied.stored))
        return complete

    @property
    def _spent(self) -> bool:
        return self.budget is not None and self.budget <= 0

    def _spend(self, rows: int) -> None:
        """Only what was done counts: rows that wait for their children are looked at again."""
        if self.budget is not None:
            self.budget -= rows

    async def _children(
        self,
        reference: ForeignKey,
        shape: Shape,
        keys: Sequence[Key],
        child: Shape,
        columns: Sequence[str],
    ) -> tuple[list[tuple[Key, Texts]], bool]:
        """Lock the rows that refer to these, as many as the budget allows.

        Returns:
            Their keys with some columns' text, and whether that is all of them.
        """
        selected = ", ".join(f"t.{ident(name)}::text" for name in (*(f.column for f in child.key), *columns))
        limit = "" if self.budget is None else f" LIMIT {self.budget + 1}"
        async with _scanning(self.connection, reference):
            rows = await self.connection.fetch(
                f"SELECT {selected} FROM {named(shape, reference.parent_columns)}"
                f" JOIN {reference.child_name} AS t ON {reference.child_is('t', 'p')}{limit} FOR UPDATE OF t",
                *transposed(keys, len(shape.key)),
            )
        width = len(child.key)
        found: list[tuple[Key, Texts]] = [(tuple(row)[:width], tuple(row)[width:]) for row in rows]
        return found[: self.budget], self.budget is None or len(found) <= self.budget


@contextlib.asynccontextmanager
async def _scanning(connection: PoolConnectionProxy[Any], *references: ForeignKey) -> AsyncIterator[None]:
    """Let the planner read a child whole where it has no index: once a chunk, not once a row."""
    scan = not all(reference.indexed for reference in references)
    if scan:
        await connection.execute("SET LOCAL enable_hashjoin = on; SET LOCAL enable_seqscan = on")
    yield
    if scan:
        await connection.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_seqscan = off")


def named(shape: Shape, columns: Sequence[str]) -> str:
    """SQL: the rows named by one text[] a key column, $1.., as `p`: their position `ord` and these columns.

    The table itself is read only for columns that are not of its key.
    """
    names, arrays = bound(len(shape.key))
    keys = ", ".join(f"x{i}::{field.type} AS {ident(field.column)}" for i, field in enumerate(shape.key))
    rows = f"SELECT ord, {keys} FROM unnest({arrays}) WITH ORDINALITY AS s({names}, ord)"
    if {field.column for field in shape.key}.issuperset(columns):
        return f"({rows}) AS p"
    chosen = ", ".join(f"r.{ident(name)}" for name in columns)
    match = " AND ".join(f"r.{ident(field.column)} = k.{ident(field.column)}" for field in shape.key)
    return f"(SELECT k.ord, {chosen} FROM ({rows}) AS k JOIN {shape.relation} AS r ON {match}) AS p"


def _held_sql(shape: Shape, way: HeldBy) -> str:
    """SQL: the positions of the rows that records at the end of the way refer to."""
    source = named(shape, way.path[0].parent_columns)
    return f"SELECT DISTINCT p.ord FROM {source}{way.joins('p')} WHERE {way.condition}"

"""What deleting rows of a table takes along: the rows that refer to them, and those to these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from taaxdog_datamig.errors import PreflightFailed
from taaxdog_datamig.migration.target import shape_of
from taaxdog_datamig.pg.quoting import ident, literal
from taaxdog_datamig.profile import all_references, column_of
from taaxdog_datamig.retention import holds

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.pg.rows import Shape
    from taaxdog_datamig.profile import FittedProfile, FittedTable
    from taaxdog_datamig.retention import Hold
    from taaxdog_datamig.settings import Settings

#: The moment, as the application stores moments: UTC without a time zone.
NOW = "(now() AT TIME ZONE 'UTC')"


class Installation(Protocol):
    """What must be known of a database to tell what deletions reach in it."""

    @property
    def settings(self) -> Settings:
        """What is on hold."""

    @property
    def profile(self) -> FittedProfile:
        """What refers to what."""


@attrs.frozen(kw_only=True)
class HeldBy:
    """A way from a table to records on hold."""

    #: Logical name of the table on hold.
    table: str
    #: References from the records up to the table, nearest to the table first.
    path: tuple[ForeignKey, ...]
    #: SQL over the record as `h`: it is on hold.
    condition: str

    def joins(self, row: str) -> str:
        """SQL: joins that lead from `row` to the records."""
        joins, parent = [], row
        for i, key in enumerate(self.path):
            alias = "h" if i == len(self.path) - 1 else f"c{i}"
            joins.append(f" JOIN {key.child_name} AS {alias} ON {key.child_is(alias, parent)}")
            parent = alias
        return "".join(joins)

    def holds(self, row: str) -> str:
        """SQL: a record on hold refers to `row`."""
        return f"EXISTS (SELECT FROM (SELECT) AS one{self.joins(row)} WHERE {self.condition})"


@attrs.frozen(kw_only=True)
class Node:
    """A table of a closure."""

    table: FittedTable
    #: Every column that can be written.
    shape: Shape
    #: What refers to it and is deleted with it, or loses its reference.
    references: tuple[ForeignKey, ...]


@attrs.frozen(kw_only=True)
class Closure:
    """A table whose rows are deleted, with every table that this reaches."""

    root: int
    nodes: dict[int, Node]
    #: Tables whose rows only lose their reference.
    cut: dict[int, FittedTable]
    held: tuple[HeldBy, ...]

    @property
    def simple(self) -> bool:
        """Whether nothing refers to the table."""
        return not self.nodes[self.root].references and not self.held

    @property
    def sensitive(self) -> bool:
        """Whether a table that loses rows has sensitive columns."""
        return any(node.table.sensitive for node in self.nodes.values())

    def warnings(self) -> list[str]:
        """What people should know before rows are deleted."""
        label = self.nodes[self.root].table.relation.label
        deleted = sorted({node.shape.table for oid, node in self.nodes.items() if oid != self.root})
        cut = sorted({_name(key) for node in self.nodes.values() for key in node.references if _cut(key)})
        slow = sorted(
            {_name(key) for node in self.nodes.values() for key in node.references if not key.indexed}
        )
        said = []
        if deleted:
            said.append(
                f"{label}: rows of {', '.join(deleted)} that refer to a deleted row go, too, archived first"
            )
        if cut:
            said.append(f"{label}: {', '.join(cut)} become NULL where they refer to a deleted row")
        if self.held:
            tables = ", ".join(sorted({held.table for held in self.held}))
            said.append(f"{label}: rows that {tables} on hold refer to are left, and listed")
        if slow:
            said.append(
                f"{label}: {', '.join(slow)} have no index, so that each chunk reads their tables whole"
            )
        return said


def _name(key: ForeignKey) -> str:
    return f"{key.child_name}.{', '.join(key.child_columns)}".replace('"', "")


def _cut(key: ForeignKey) -> bool:
    return key.on_delete == "null"


async def closure_of(
    connection: PoolConnectionProxy[Any], context: Installation, table: FittedTable
) -> Closure:
    """Look up what refers to a table, as far as deletions reach.

    Raises:
        PreflightFailed: a table on the way has no key, or a foreign key sets defaults.
    """
    holding = await on_hold(connection, context)
    everything = await all_references(connection, context.profile)
    nodes: dict[int, Node] = {}
    cut: dict[int, FittedTable] = {}
    ways: list[HeldBy] = []

    async def visit(found: FittedTable, path: tuple[ForeignKey, ...]) -> None:
        oid = found.relation.oid
        references = [key for key in everything if key.parent == oid]
        for key in references:
            if key.child in holding:
                ways.extend(_way(key, path, hold, child) for hold, child in holding[key.child])
        followed = tuple(key for key in references if not _kept(key, holding))
        for key in followed:
            if key.on_delete == "default":
                raise PreflightFailed(
                    f"foreign key {key.name} of {key.child_name} sets defaults when the row it names goes",
                    "That cannot be taken back row by row: make it ON DELETE SET NULL or CASCADE first",
                )
        if oid not in nodes:
            nodes[oid] = Node(table=found, shape=whole(found), references=followed)
        for key in followed:
            if _cut(key):
                cut[key.child] = await fitted(connection, context, key)
            elif all(key.child != step.child for step in path):
                await visit(await fitted(connection, context, key), (*path, key))

    await visit(table, ())
    return Closure(root=table.relation.oid, nodes=nodes, cut=cut, held=tuple(ways))


def _kept(key: ForeignKey, holding: dict[int, list[tuple[Hold, FittedTable]]]) -> bool:
    """Whether deletions do not reach over this reference."""
    always = any(hold.column is None for hold, _ in holding.get(key.child, ()))
    return always or key.on_delete == "keep"


def _way(key: ForeignKey, path: tuple[ForeignKey, ...], hold: Hold, table: FittedTable) -> HeldBy:
    return HeldBy(table=hold.table, path=(*path, key), condition=hold_condition(hold, table, "h"))


def hold_condition(hold: Hold, table: FittedTable, alias: str) -> str:
    """SQL: the row of that alias is on hold."""
    if hold.column is None:
        return "true"
    column = column_of(table, hold.column)
    if column is None:
        return "true"  # who cannot tell since when must keep it
    return f"{alias}.{ident(column.name)} > {NOW} - interval {literal(hold.period or '')}"


async def on_hold(
    connection: PoolConnectionProxy[Any], context: Installation
) -> dict[int, list[tuple[Hold, FittedTable]]]:
    """What is on hold here, by the table's oid."""
    found: dict[int, list[tuple[Hold, FittedTable]]] = {}
    for hold in holds(context.settings.holds):
        table = await context.profile.table(connection, hold.table)
        if table is not None:
            found.setdefault(table.relation.oid, []).append((hold, table))
    return found


async def holds_on(
    connection: PoolConnectionProxy[Any], context: Installation, table: FittedTable
) -> list[str]:
    """SQL conditions over the row `t`: it is on hold itself."""
    mine = (await on_hold(connection, context)).get(table.relation.oid, [])
    return [hold_condition(hold, found, "t") for hold, found in mine]


async def fitted(connection: PoolConnectionProxy[Any], context: Installation, key: ForeignKey) -> FittedTable:
    """The table that a reference belongs to, also where the profile does not know it."""
    return await context.profile.behind(connection, key.child, key.child_name)


def whole(table: FittedTable) -> Shape:
    """Every column that can be written, by physical names.

    Raises:
        PreflightFailed: the table has no key.
    """
    if not table.relation.key:
        raise PreflightFailed(
            f"table {table.relation.label} has no primary key, nor a unique index over NOT NULL columns",
            "Rows that are to be deleted could not be named, nor restored: add a primary key first",
        )
    return shape_of(table, {column.name: column for column in table.relation.stored})

"""Rows whose relationship is broken: they name a row that does not exist."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.migration.closure import holds_on
from taaxdog_datamig.migration.outcomes import Changes
from taaxdog_datamig.migration.purge import purge_target
from taaxdog_datamig.migration.target import Target, shape_of
from taaxdog_datamig.profile import references_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.migration.base import MigrationContext
    from taaxdog_datamig.migration.outcomes import Outcome, Row
    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.profile import FittedTable


async def orphan_targets(
    connection: PoolConnectionProxy[Any],
    context: MigrationContext,
    tables: Sequence[FittedTable],
    parents: Collection[int] | None = None,
) -> list[Target]:
    """What mends the broken relationships of some tables: rows are deleted, or lose the reference.

    Which of the two a reference's own rule says: its ON DELETE, or `on_delete` of the profile. Children go
    before their parents. Tables on hold are left alone.

    Args:
        connection: any.
        context: of the migration.
        tables: whose relationships.
        parents: oids of the tables they may lead to; None for any.
    """
    found: list[Target] = []
    for table in await child_first(connection, context, tables):
        references = [
            key
            for key in await references_of(connection, context.profile, table.relation)
            if parents is None or key.parent in parents
        ]
        deleted = [key for key in references if key.on_delete in {"cascade", "restrict"}]
        cut = [key for key in references if key.on_delete == "null"]
        held = "true" in await holds_on(connection, context, table)
        if held and (deleted or cut):
            warning = f"{table.relation.label} is on hold: broken relationships of its rows stay"
            found = (
                [attrs.evolve(found[0], warnings=(*found[0].warnings, warning)), *found[1:]] if found else []
            )
            continue
        if deleted:
            dangling = " OR ".join(key.dangling("t") for key in deleted)
            target = await purge_target(connection, context, table, dangling)
            found.append(attrs.evolve(target, loose=tuple(key.name for key in deleted)))
        found += [_cut(table, key) for key in cut]
    return found


def _cut(table: FittedTable, key: ForeignKey) -> Target:
    columns = {name: table.relation.columns[name] for name in key.child_columns}
    return Target(
        table=table,
        shape=shape_of(table, columns),
        pending=key.dangling("t"),
        transform=partial(_nothing, tuple(columns)),
        loose=(key.name,),
        sensitive=any(column.name in columns for column in table.sensitive.values()),
    )


def _nothing(columns: tuple[str, ...], _: Row) -> Outcome:
    return Changes(dict.fromkeys(columns))


async def child_first(
    connection: PoolConnectionProxy[Any], context: MigrationContext, tables: Sequence[FittedTable]
) -> list[FittedTable]:
    """The tables, each before those it refers to."""
    by_oid = {table.relation.oid: table for table in tables}
    parents = {
        oid: [key.parent for key in await references_of(connection, context.profile, table.relation)]
        for oid, table in by_oid.items()
    }
    placed: list[int] = []

    def place(oid: int, path: tuple[int, ...]) -> None:
        if oid in by_oid and oid not in placed and oid not in path:
            for other in parents[oid]:
                place(other, (*path, oid))
            placed.append(oid)

    for oid in by_oid:
        place(oid, ())
    return [by_oid[oid] for oid in reversed(placed)]

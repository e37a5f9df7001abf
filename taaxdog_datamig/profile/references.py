"""What refers to what here: the catalog's foreign keys, and the profile's references where there is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from taaxdog_datamig.pg.keys import ForeignKey, all_keys, keys_of, keys_to, leading_columns

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.catalog import Column, Relation
    from taaxdog_datamig.pg.keys import OnDelete
    from taaxdog_datamig.profile.fit import FittedProfile, FittedTable
    from taaxdog_datamig.profile.model import ReferenceSpec


async def references_to(
    connection: PoolConnectionProxy[Any], profile: FittedProfile, relation: Relation
) -> list[ForeignKey]:
    """Everything that refers to a table: foreign keys first, then the profile's references without one."""
    found = await keys_to(connection, relation.oid)
    soft = [key for key in await soft_references(connection, profile) if key.parent == relation.oid]
    return found + _without(soft, found)


async def references_of(
    connection: PoolConnectionProxy[Any], profile: FittedProfile, relation: Relation
) -> list[ForeignKey]:
    """Everything that a table refers to, in the same order."""
    found = await keys_of(connection, relation.oid)
    soft = [key for key in await soft_references(connection, profile) if key.child == relation.oid]
    return found + _without(soft, found)


async def all_references(connection: PoolConnectionProxy[Any], profile: FittedProfile) -> list[ForeignKey]:
    """Every reference between any two tables, in the same order."""
    found = await all_keys(connection)
    return found + _without(await soft_references(connection, profile), found)


def _without(soft: list[ForeignKey], found: list[ForeignKey]) -> list[ForeignKey]:
    taken = {(key.child, key.child_columns, key.parent) for key in found}
    return [key for key in soft if (key.child, key.child_columns, key.parent) not in taken]


async def soft_references(connection: PoolConnectionProxy[Any], profile: FittedProfile) -> list[ForeignKey]:
    """The profile's references whose tables and columns are here."""
    found = []
    indexed = await leading_columns(connection, {table.relation.oid for table in profile.tables.values()})
    for spec in profile.profile.references:
        child, parent = profile.tables.get(spec.table), profile.tables.get(spec.to)
        if child is None or parent is None or child.relation.kind not in "rp":
            continue
        mine = column_of(child, spec.column)
        theirs = _parent_column(parent, spec)
        if mine is not None and theirs is not None:
            found.append(
                ForeignKey(
                    name=f"{spec.table}.{spec.column}",
                    child=child.relation.oid,
                    child_name=child.relation.quoted,
                    child_columns=(mine.name,),
                    child_types=(mine.bare_type,),
                    parent=parent.relation.oid,
                    parent_name=parent.relation.quoted,
                    parent_columns=(theirs.name,),
                    parent_types=(theirs.bare_type,),
                    on_delete=cast("OnDelete", spec.on_delete),
                    flaw="missing",
                    indexed=(child.relation.oid, mine.name) in indexed,
                )
            )
    return found


def _parent_column(parent: FittedTable, spec: ReferenceSpec) -> Column | None:
    if spec.to_column is not None:
        return column_of(parent, spec.to_column)
    return parent.relation.key_columns[0] if len(parent.relation.key) == 1 else None


def column_of(table: FittedTable, name: str) -> Column | None:
    """The column of that name, in camelCase or in snake_case."""
    snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
    camel = re.sub(r"_(\w)", lambda match: match[1].upper(), name)
    for spelling in (name, snake, camel):
        if (column := table.column(spelling)) is not None:
            return column
    return None

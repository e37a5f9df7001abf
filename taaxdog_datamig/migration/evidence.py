"""When the records around a row were created: what refers to it, and what it refers to, as SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.migration.closure import NOW
from taaxdog_datamig.profile import column_of, references_of, references_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedProfile, FittedTable

#: Types of columns that hold a moment.
MOMENTS = frozenset({"timestamp", "timestamptz"})
#: Logical name of the column that says when a record was created.
CREATED = "createdAt"
#: ... and when it was last changed.
UPDATED = "updatedAt"


@attrs.frozen(kw_only=True)
class Surroundings:
    """SQL expressions over the row `t`, by logical table, each a moment in UTC without a zone, or NULL.

    Moments that are still to come, and infinite ones, are none.
    """

    #: When the earliest record that refers to the row was created.
    referring: Mapping[str, str]
    #: When the latest record that it refers to was created.
    referred: Mapping[str, str]
    #: Tables that refer to it without an index: each look would read them whole, so they are not asked.
    unindexed: tuple[str, ...]


def fillable(table: FittedTable) -> tuple[dict[str, Column], dict[str, Column]]:
    """What populate-metadata fills where it is NULL, by logical name.

    Returns:
        Moments, and columns with a default in the profile; of both those that can be NULL.
    """
    moments = {name: column_of(table, name) for name in (CREATED, UPDATED)}
    specs = [spec for spec in table.spec.columns.values() if spec.default is not None]
    defaults = {spec.name: table.column(spec.name) for spec in specs}
    return (
        {name: column for name, column in _nullable(moments) if column.base in MOMENTS},
        dict(_nullable(defaults)),
    )


def _nullable(columns: Mapping[str, Column | None]) -> Iterator[tuple[str, Column]]:
    for name, column in columns.items():
        if column is not None and not (column.not_null or column.generated):
            yield name, column


async def surroundings(
    connection: PoolConnectionProxy[Any], profile: FittedProfile, table: FittedTable
) -> Surroundings:
    """Look up who refers to a table and what it refers to. A table's references to itself say nothing."""
    referring: dict[str, list[str]] = {}
    referred: dict[str, list[str]] = {}
    unindexed = []
    for key in await references_to(connection, profile, table.relation):
        child = await profile.behind(connection, key.child, key.child_name)
        created = _created(child)
        if created is None or key.child == key.parent:
            continue
        if key.indexed:
            referring.setdefault(child.spec.name, []).append(
                _moment("min", key.child_name, created, key.child_is)
            )
        else:
            unindexed.append(child.relation.label)
    for key in await references_of(connection, profile, table.relation):
        parent = await profile.behind(connection, key.parent, key.parent_name)
        created = _created(parent)
        if created is not None and key.child != key.parent:
            referred.setdefault(parent.spec.name, []).append(
                _moment("max", key.parent_name, created, key.parent_is)
            )
    return Surroundings(
        referring={name: f"least({', '.join(queries)})" for name, queries in referring.items()},
        referred={name: f"greatest({', '.join(queries)})" for name, queries in referred.items()},
        unindexed=tuple(dict.fromkeys(unindexed)),
    )


def _created(table: FittedTable) -> Column | None:
    column = column_of(table, CREATED)
    return column if column is not None and column.base in MOMENTS else None


def _moment(which: str, relation: str, created: Column, joined: Callable[[str, str], str]) -> str:
    """SQL: the first or last moment of a table's rows that are joined to `t`."""
    moment = f"o.{created.quoted}"
    if created.base == "timestamptz":
        moment = f"({moment} AT TIME ZONE 'UTC')"
    # As a sum, so that no index on the moment looks like a short cut: it would be walked from its end until
    # a row that is joined turns up.
    return (
        f"(SELECT {which}({moment} + interval '0') FROM {relation} AS o"
        f" WHERE {joined('o', 't')} AND isfinite({moment}) AND {moment} <= {NOW})"
    )

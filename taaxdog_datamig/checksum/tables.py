"""Which tables: all of the application's, or those that are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.errors import UnknownName, UsageError
from taaxdog_datamig.pg.catalog import find_relation
from taaxdog_datamig.pg.quoting import qualified
from taaxdog_datamig.pg.sql import queries
from taaxdog_datamig.profile import FittedProfile, FittedTable, Profile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.catalog import Relation
    from taaxdog_datamig.pg.database import Database

_SQL = queries(__package__)

#: pg_class.relkind of what cannot be summed, as people call it.
UNFIT = {"v": "a view", "f": "a foreign table", "S": "a sequence", "i": "an index", "c": "a type"}


@attrs.frozen(kw_only=True)
class Named:
    """A table under the name that reports have for it."""

    #: Qualified where the search path does not lead there.
    label: str
    table: FittedTable

    @property
    def relation(self) -> Relation:
        """As the catalog has it."""
        return self.table.relation


async def named_tables(db: Database, names: Iterable[str] | None = None) -> list[Named]:
    """Look tables up.

    Args:
        db: where.
        names: logical or physical names, or `schema.table`; None for all of the application's tables:
            not the system's nor the ledger's, no temporary ones, partitions within theirs.

    Raises:
        UnknownName: there is no such table.
        UsageError: it is a view, a foreign table, or nothing that holds rows of its own.
    """
    async with db.acquire() as connection:
        fitted = await FittedProfile.fit(connection, Profile.load(db.settings.profile))
        if names is None:
            found = [
                await _at(connection, fitted, row["quoted"]) for row in await connection.fetch(_SQL["tables"])
            ]
        else:
            found = [await _named(connection, fitted, name) for name in names]
        tables = {table.relation.oid: table for table in found if table is not None}
        return [
            Named(label=await _label(connection, table.relation), table=table) for table in tables.values()
        ]


async def same_tables(db: Database, tables: Iterable[Named]) -> list[Named | None]:
    """For each, the table in another database that stands for the same logical one, or has the same name."""
    async with db.acquire() as connection:
        fitted = await FittedProfile.fit(connection, Profile.load(db.settings.profile))
        found = [
            fitted.tables.get(named.table.spec.name) or await _at(connection, fitted, named.relation.quoted)
            for named in tables
        ]
        return [
            None if table is None else Named(label=await _label(connection, table.relation), table=table)
            for table in found
        ]


async def _at(connection: PoolConnectionProxy[Any], fitted: FittedProfile, quoted: str) -> FittedTable | None:
    """The table of that quoted name, if it is there."""
    relation = await find_relation(connection, quoted)
    return None if relation is None else await fitted.behind(connection, relation.oid, quoted)


async def _named(connection: PoolConnectionProxy[Any], fitted: FittedProfile, name: str) -> FittedTable:
    table = await fitted.table(connection, name)
    if table is None and "." in name:
        schema, _, last = name.partition(".")
        table = await _at(connection, fitted, qualified(schema, last))
    if table is None:
        raise UnknownName(f"there is no table {name}", "Give its name, or SCHEMA.NAME off the search path")
    if (unfit := UNFIT.get(table.relation.kind)) is not None:
        raise UsageError(f"{name} is {unfit}: it holds no rows of its own", "Name the tables behind it")
    return table


async def _label(connection: PoolConnectionProxy[Any], relation: Relation) -> str:
    visible = await connection.fetchval(_SQL["visible"], relation.oid)
    return relation.name if visible else relation.label

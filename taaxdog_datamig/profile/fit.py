"""A profile held against a live catalog: what is there, under which name, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.pg.catalog import Column, Relation, find_relation, find_relations
from taaxdog_datamig.pg.quoting import ident, qualified
from taaxdog_datamig.profile.model import TableSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.profile.model import Profile


@attrs.frozen(kw_only=True)
class FittedTable:
    """A logical table of this database."""

    spec: TableSpec
    relation: Relation

    def column(self, name: str) -> Column | None:
        """The physical column of that logical name, or None where this installation has none."""
        spec = self.spec.columns.get(name)
        for physical in spec.names if spec else (name,):
            if physical in self.relation.columns:
                return self.relation.columns[physical]
        return None

    @property
    def sensitive(self) -> Mapping[str, Column]:
        """Logical name to physical column of the sensitive columns that exist."""
        found = {spec.name: self.column(spec.name) for spec in self.spec.sensitive}
        return {name: column for name, column in found.items() if column is not None}


@attrs.frozen(kw_only=True)
class FittedProfile:
    """A profile and the tables it found."""

    profile: Profile
    tables: Mapping[str, FittedTable]
    #: Logical tables and `table.column`s that should be there and are not.
    missing: tuple[str, ...]

    @classmethod
    async def fit(cls, connection: PoolConnectionProxy[Any], profile: Profile) -> FittedProfile:
        """Look every logical table up in the catalog."""
        tables: dict[str, FittedTable] = {}
        missing: list[str] = []
        names = [name for spec in profile.tables.values() for name in _names(profile, spec)]
        relations = await find_relations(connection, dict.fromkeys(names))
        for spec in profile.tables.values():
            table = _first(relations, profile, spec)
            if table is None:
                if not spec.optional:
                    missing.append(spec.name)
                continue
            tables[spec.name] = table
            missing += [
                f"{spec.name}.{column.name}"
                for column in spec.columns.values()
                if not column.optional and table.column(column.name) is None
            ]
        return cls(profile=profile, tables=tables, missing=tuple(missing))

    async def table(self, connection: PoolConnectionProxy[Any], name: str) -> FittedTable | None:
        """The table of that logical name, alias or, where the profile has none, physical name.

        A physical name leads to the logical table behind it: what is sensitive must not depend on how
        people call it.
        """
        spec = self.profile.resolve(name)
        if spec.name in self.tables:
            return self.tables[spec.name]
        relations = await find_relations(connection, _names(self.profile, spec))
        found = _first(relations, self.profile, spec)
        if found is None:
            return None
        same = (table for table in self.tables.values() if table.relation.oid == found.relation.oid)
        return next(same, found)

    async def behind(self, connection: PoolConnectionProxy[Any], oid: int, quoted: str) -> FittedTable:
        """The table that a reference leads to, also where the profile does not know it.

        Args:
            connection: any.
            oid: the table's.
            quoted: its qualified name, ready for SQL.
        """
        for table in self.tables.values():
            if table.relation.oid == oid:
                return table
        relation = await find_relation(connection, quoted)
        assert relation is not None
        return FittedTable(spec=TableSpec(name=relation.name, names=(relation.name,)), relation=relation)


def _names(profile: Profile, spec: TableSpec) -> list[str]:
    """The physical names that a table may have, ready for SQL, in the order in which they are taken."""
    return [qualified(profile.schema, name) if profile.schema else ident(name) for name in spec.names]


def _first(relations: Mapping[str, Relation], profile: Profile, spec: TableSpec) -> FittedTable | None:
    found = (relations[name] for name in _names(profile, spec) if name in relations)
    return next((FittedTable(spec=spec, relation=relation) for relation in found), None)

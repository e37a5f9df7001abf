"""What the server's catalog says of a table: columns, key, size, and what hangs on its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.pg.quoting import ident, qualified
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncpg.pool import PoolConnectionProxy

_SQL = queries(__package__)


@attrs.frozen(kw_only=True)
class Column:
    """One column."""

    name: str
    number: int
    #: As format_type spells it: `character varying(10)`.
    type: str
    #: pg_type.typcategory of the type: S for strings, N for numbers ...
    category: str
    #: pg_type.typname, of the base type for a domain.
    base: str
    #: As `type`, of the base type for a domain.
    base_type: str
    not_null: bool
    generated: bool

    @property
    def quoted(self) -> str:
        """The name, ready for SQL."""
        return ident(self.name)

    @property
    def bare_type(self) -> str:
        """The type behind a domain, without a length."""
        return self.base_type.partition("(")[0].strip()

    @property
    def textual(self) -> bool:
        """Whether the stored value and its text form are the same thing."""
        return self.base in {"text", "varchar"}

    @property
    def limit(self) -> int | None:
        """Longest value in characters, or None without a limit."""
        if self.base in {"varchar", "bpchar"} and self.base_type.endswith(")"):
            return int(self.base_type[self.base_type.rindex("(") + 1 : -1])
        return None


@attrs.frozen(kw_only=True)
class Relation:
    """One table, or what stands in a table's place."""

    oid: int
    schema: str
    name: str
    #: pg_class.relkind: r table, p partitioned table, v view, m materialized view, f foreign table.
    kind: str
    #: Size at the last vacuum or ANALYZE, as the two below.
    tuples: int
    pages: int
    bytes: int
    may_select: bool
    may_update: bool
    may_delete: bool
    #: Whether the role is a member of the owner, which ALTER TABLE asks.
    owned: bool
    #: Whether row-level security would hide rows from the role.
    policed: bool
    columns: dict[str, Column]
    #: The columns that name a row; empty when the table has no usable unique key.
    key: tuple[str, ...]

    @property
    def quoted(self) -> str:
        """The qualified name, ready for SQL."""
        return qualified(self.schema, self.name)

    @property
    def label(self) -> str:
        """The qualified name for people."""
        return f"{self.schema}.{self.name}"

    @property
    def stored(self) -> list[Column]:
        """The columns that can be written: all but generated ones."""
        return [column for column in self.columns.values() if not column.generated]

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the key, in its order."""
        return tuple(self.columns[name] for name in self.key)


@attrs.frozen(kw_only=True)
class Leaf:
    """A heap that holds rows: the table itself, or one partition."""

    oid: int
    relation: str
    kind: str
    pages: int


@attrs.frozen(kw_only=True)
class Hangers:
    """What depends on some columns of a table."""

    #: Indexes; unique ones apart.
    indexes: tuple[str, ...]
    unique_indexes: tuple[str, ...]
    #: Triggers that an UPDATE (or, if asked for, a DELETE) fires.
    triggers: tuple[str, ...]
    #: Objects that refuse a change of the columns' type.
    dependents: tuple[str, ...]


async def find_relation(connection: PoolConnectionProxy[Any], quoted: str) -> Relation | None:
    """The relation of that (quoted, maybe qualified) name on the search path, or None."""
    return (await find_relations(connection, [quoted])).get(quoted)


async def find_relations(connection: PoolConnectionProxy[Any], quoted: Iterable[str]) -> dict[str, Relation]:
    """Those of many such names that there are, by name; three statements, however many."""
    found = [dict(row) for row in await connection.fetch(_SQL["relations"], list(quoted))]
    oids = [row["oid"] for row in found]
    columns: dict[int, dict[str, Column]] = {oid: {} for oid in oids}
    for row in map(dict, await connection.fetch(_SQL["columns"], oids)):
        mine = columns[row.pop("oid")]
        mine[row["name"]] = Column(**row)
    keys = {row["oid"]: tuple(row["columns"]) for row in await connection.fetch(_SQL["keys"], oids)}
    return {
        row.pop("asked"): Relation(**row, columns=columns[row["oid"]], key=keys.get(row["oid"], ()))
        for row in found
    }


async def leaves(connection: PoolConnectionProxy[Any], oid: int) -> list[Leaf]:
    """The heaps that hold the table's rows, with their sizes as they are now."""
    return [Leaf(**row) for row in await connection.fetch(_SQL["leaves"], oid)]


async def heirs(connection: PoolConnectionProxy[Any], oid: int) -> list[str]:
    """Tables that inherit from it: their rows are its rows, too, but `leaves` does not name them."""
    return [row["name"] for row in await connection.fetch(_SQL["heirs"], oid)]


_UPDATE, _DELETE = 16, 8  # pg_trigger.tgtype


async def hangers(
    connection: PoolConnectionProxy[Any], oid: int, columns: Iterable[str], *, deleting: bool = False
) -> Hangers:
    """What depends on these columns, and which triggers an update (or a deletion) fires."""
    names = list(columns)
    indexes = await connection.fetch(_SQL["indexes_on"], oid, names)
    triggers = await connection.fetch(_SQL["triggers_on"], oid, _DELETE if deleting else _UPDATE)
    return Hangers(
        indexes=tuple(row["name"] for row in indexes if not row["unique"]),
        unique_indexes=tuple(row["name"] for row in indexes if row["unique"]),
        triggers=tuple(row["name"] for row in triggers),
        dependents=tuple(row["name"] for row in await connection.fetch(_SQL["dependents_on"], oid, names)),
    )


async def fires_nothing(connection: PoolConnectionProxy[Any], oids: Iterable[int]) -> bool:
    """Whether none of these tables has a trigger of its own, or a rule."""
    return bool(await connection.fetchval(_SQL["fires_nothing"], list(oids)))


async def old_transactions(connection: PoolConnectionProxy[Any], seconds: float) -> list[tuple[int, float]]:
    """Backends whose transaction is older than `seconds`, with its age."""
    return [(row["pid"], row["seconds"]) for row in await connection.fetch(_SQL["old_transactions"], seconds)]


async def must_be_given(connection: PoolConnectionProxy[Any], oid: int) -> list[str]:
    """Columns that an insert cannot leave out: NOT NULL without a default."""
    return [row["name"] for row in await connection.fetch(_SQL["must_be_given"], oid)]

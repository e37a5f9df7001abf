"""Foreign keys as the catalog has them: what a table refers to, and what refers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import asyncpg
import attrs

from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.sql import queries
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncpg.pool import PoolConnectionProxy

_SQL = queries(__package__, "keys.sql")

#: Why the server does not vouch for a reference: it has no foreign key for it, or one that it does not check.
Flaw: TypeAlias = Literal["missing", "not-valid", "not-enforced", "disabled"]
#: What happens to a row when the one it refers to is deleted.
OnDelete: TypeAlias = Literal["cascade", "restrict", "null", "default", "keep"]


@attrs.frozen(kw_only=True)
class ForeignKey:
    """A reference from one table's columns to another's."""

    name: str
    child: int
    #: Quoted and qualified, as `parent`.
    child_name: str
    child_columns: tuple[str, ...]
    parent: int
    parent_name: str
    parent_columns: tuple[str, ...]
    #: "restrict" stands for NO ACTION, too. "keep": a soft reference that nothing is done about.
    on_delete: OnDelete
    #: None: the server vouches for every row. "disabled" are its triggers, on either side.
    flaw: Flaw | None
    #: The columns' types, without lengths. Soft references may join text to uuid.
    child_types: tuple[str, ...]
    parent_types: tuple[str, ...]
    #: Whether an index of the child begins with these columns; without one each look is a full scan.
    indexed: bool = True

    @property
    def valid(self) -> bool:
        """Whether the server vouches for every row."""
        return self.flaw is None

    @property
    def comparable(self) -> bool:
        """Whether the columns' types let the database have a foreign key."""
        return all(map(_alike, self.child_types, self.parent_types))

    def parent_is(self, parent: str, child: str) -> str:
        """SQL: `parent` is what `child` refers to; finds the parent by its index."""
        return " AND ".join(
            f"{parent}.{ident(theirs)} = {_as_type(f'{child}.{ident(mine)}', has, wanted)}"
            for mine, theirs, has, wanted in zip(
                self.child_columns, self.parent_columns, self.child_types, self.parent_types, strict=True
            )
        )

    def child_is(self, child: str, parent: str) -> str:
        """SQL: `child` refers to `parent`; finds the children by their index."""
        return " AND ".join(
            f"{child}.{ident(mine)} = {_as_type(f'{parent}.{ident(theirs)}', has, wanted)}"
            for mine, theirs, wanted, has in zip(
                self.child_columns, self.parent_columns, self.child_types, self.parent_types, strict=True
            )
        )

    def among(self, child: str, condition: str) -> str:
        """SQL: `child` refers to one of the parents, which stand as `t` in `condition`."""
        terms = [
            _as_type(f"t.{ident(theirs)}", has, wanted)
            for theirs, wanted, has in zip(
                self.parent_columns, self.child_types, self.parent_types, strict=True
            )
        ]
        parents = f"SELECT {', '.join(terms)} FROM {self.parent_name} AS t WHERE {condition}"
        mine = ", ".join(f"{child}.{ident(column)}" for column in self.child_columns)
        return f"{mine} = ANY (ARRAY({parents}))" if len(terms) == 1 else f"({mine}) IN ({parents})"

    def given(self, child: str) -> str:
        """SQL: the row refers to something, since none of its columns is NULL."""
        return " AND ".join(f"{child}.{ident(column)} IS NOT NULL" for column in self.child_columns)

    def dangling(self, child: str) -> str:
        """SQL: the row refers to a row that does not exist."""
        return (
            f"({self.given(child)} AND NOT EXISTS (SELECT FROM {self.parent_name} AS p"
            f" WHERE {self.parent_is('p', child)}))"
        )


_UUID = "'^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$'"
_TEXTS = {"text", "character varying", "character", "citext"}
_INTEGERS = {"smallint", "integer", "bigint"}


def _alike(one: str, other: str) -> bool:
    """Whether an index of one type finds the other."""
    return one == other or any({one, other} <= types for types in (_TEXTS, _INTEGERS))


def _as_type(expression: str, has: str, wanted: str) -> str:
    """SQL: a value as another type; NULL where a text is no uuid."""
    if _alike(has, wanted):
        return expression
    if wanted == "uuid" and has in _TEXTS:
        return f"CASE WHEN {expression} ~ {_UUID} THEN {expression}::uuid END"
    return f"{expression}::{wanted}"


@attrs.frozen(kw_only=True)
class UniqueIndex:
    """What may not be there twice."""

    name: str
    #: SQL over the table's columns, which stand there without an alias.
    terms: tuple[str, ...]
    #: Every column that the index depends on.
    columns: tuple[str, ...]
    #: SQL; only rows for which it is true are in the index. None: all.
    predicate: str | None
    #: Whether two NULLs count as the same.
    nulls_equal: bool

    @property
    def condition(self) -> str:
        """SQL: the row takes part in what is unique."""
        given = [] if self.nulls_equal else [f"({term}) IS NOT NULL" for term in self.terms]
        return " AND ".join([f"({self.predicate})"] * (self.predicate is not None) + given) or "true"


async def uniques_of(connection: PoolConnectionProxy[Any], oid: int) -> list[UniqueIndex]:
    """The unique indexes of a table, those of constraints included."""
    return [
        UniqueIndex(
            name=row["name"],
            terms=tuple(row["terms"]),
            columns=tuple(row["columns"] or ()),
            predicate=row["predicate"],
            nulls_equal=row["nulls_equal"],
        )
        for row in await connection.fetch(_SQL["uniques"], oid)
    ]


async def known_to(connection: PoolConnectionProxy[Any], oids: Iterable[int]) -> tuple[int, int]:
    """Something that differs once a foreign key to one of these tables was added."""
    row = await connection.fetchrow(_SQL["known_to"], list(oids))
    assert row is not None
    return row["number"], row["latest"]


async def loose_columns(connection: PoolConnectionProxy[Any], oid: int) -> set[str]:
    """The table's columns in which texts may be equal and yet spelled differently."""
    return {row["name"] for row in await connection.fetch(_SQL["loose"], oid)}


async def keys_to(connection: PoolConnectionProxy[Any], oid: int) -> list[ForeignKey]:
    """The foreign keys that refer to a table."""
    return [_key(row) for row in await connection.fetch(_SQL["foreign_keys"], None, oid)]


async def keys_of(connection: PoolConnectionProxy[Any], oid: int) -> list[ForeignKey]:
    """The foreign keys of a table."""
    return [_key(row) for row in await connection.fetch(_SQL["foreign_keys"], oid, None)]


async def all_keys(connection: PoolConnectionProxy[Any]) -> list[ForeignKey]:
    """Every foreign key of the database."""
    return [_key(row) for row in await connection.fetch(_SQL["foreign_keys"], None, None)]


async def readable_tables(connection: PoolConnectionProxy[Any], oids: Iterable[int]) -> set[int]:
    """Those of the tables that the role may read."""
    return {row["oid"] for row in await connection.fetch(_SQL["readable"], list(oids))}


async def may_set_aside(connection: PoolConnectionProxy[Any]) -> bool:
    """Have triggers, and with them foreign keys, not fire until the transaction ends or they are restored.

    Returns:
        False when the role may not do so (before PostgreSQL 15 only superusers may).
    """
    try:
        async with transaction(connection):
            await connection.execute("SET LOCAL session_replication_role = replica")
    except asyncpg.InsufficientPrivilegeError:
        return False
    return True


async def restore_triggers(connection: PoolConnectionProxy[Any]) -> None:
    """Have triggers fire again."""
    await connection.execute("SET LOCAL session_replication_role = origin")


async def keys_of_name(connection: PoolConnectionProxy[Any], quoted: str) -> list[ForeignKey]:
    """The foreign keys of the table of that quoted name."""
    oid = await connection.fetchval("SELECT to_regclass($1::text)::oid", quoted)
    return [] if oid is None else await keys_of(connection, oid)


async def leading_columns(connection: PoolConnectionProxy[Any], oids: Iterable[int]) -> set[tuple[int, str]]:
    """Tables and the columns with which an index of theirs begins."""
    return {(row["oid"], row["name"]) for row in await connection.fetch(_SQL["leading"], list(oids))}


def _key(row: asyncpg.Record) -> ForeignKey:
    values = dict(row)
    for name in ("child_columns", "parent_columns", "child_types", "parent_types"):
        values[name] = tuple(values[name])
    return ForeignKey(**values)

"""What a database holds, row by row, in a form that two databases can be compared in."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from taaxdog_datamig.pg.catalog import find_relation
from taaxdog_datamig.pg.quoting import ident, qualified
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.database import Database

#: Stored text to what it means: (key, column, text), see `Target.reveal`.
Reveal = "Callable[[tuple[str, ...], str, str | None], object]"

State = dict[str, dict[str, bytes]]


@attrs.frozen(kw_only=True)
class Difference:
    """A row in which two states differ. Names it by its key, never by its values."""

    table: str
    key: str
    #: "missing", "extra" or "differs".
    kind: str


async def database_state(
    db: Database, reveals: Mapping[str, tuple[Mapping[str, str], Callable[..., object]]] | None = None
) -> State:
    """A digest of each row of every table outside schema `datamig`.

    Args:
        db: the database.
        reveals: by `schema.table`: physical to logical names of the columns whose stored text is only
            compared by what it means, and the function that tells the meaning.
    """
    state: State = {}
    async with db.acquire() as connection:
        names = await connection.fetch(
            "SELECT n.nspname AS schema, c.relname AS name FROM pg_class c JOIN pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname <> 'datamig'"
            " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2"
        )
        for row in names:
            label = f"{row['schema']}.{row['name']}"
            columns, reveal = (reveals or {}).get(label, ({}, None))
            state[label] = await _table(connection, row["schema"], row["name"], columns, reveal)
    return state


async def _table(
    connection: PoolConnectionProxy[Any],
    schema: str,
    name: str,
    columns: Mapping[str, str],
    reveal: Callable[..., object] | None,
) -> dict[str, bytes]:
    relation = await find_relation(connection, qualified(schema, name))
    assert relation is not None
    rest = [ident(column) for column in relation.columns if column not in columns]
    keys = [f"{ident(column)}::text" for column in relation.key] or ["md5(t::text)"]
    shown = [f"{ident(column)}::text" for column in columns]
    query = f"SELECT ROW({', '.join(rest)})::text, {', '.join(keys + shown)} FROM {relation.quoted} AS t"
    rows: dict[str, bytes] = {}
    async with transaction(connection):
        async for record in connection.cursor(query, prefetch=2000):
            key = record[1 : 1 + len(keys)]
            told = [
                reveal(key, logical, text) if reveal else text
                for logical, text in zip(columns.values(), record[1 + len(keys) :], strict=True)
            ]
            digest = hashlib.blake2b(orjson.dumps([record[0], told]), digest_size=16).digest()
            rows[", ".join(key)] = digest
    return rows


def differences(expected: State, found: State) -> list[Difference]:
    """The rows in which two states differ."""
    result = []
    for table in sorted(expected.keys() | found.keys()):
        left, right = expected.get(table, {}), found.get(table, {})
        for key in sorted(left.keys() | right.keys()):
            if left.get(key) != right.get(key):
                kind = "missing" if key not in right else "extra" if key not in left else "differs"
                result.append(Difference(table=table, key=key, kind=kind))
    return result

"""Creates the TAAXDOG schema, and takes it away again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from taaxdog_datamig.demo.statements import statements
from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

_TAKEN = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY ($1::text[])
UNION ALL
SELECT typname FROM pg_type
WHERE typnamespace = current_schema()::regnamespace AND typname = ANY ($2::text[])
LIMIT 1
"""


def table_names() -> list[str]:
    """The 34 tables."""
    return [_quoted(statement) for statement in statements("tables")]


def type_names() -> list[str]:
    """The 19 enum types."""
    return [_quoted(statement) for statement in statements("types")]


def _quoted(statement: str) -> str:
    """The first quoted name of a statement of ours."""
    match = re.search(r'"(\w+)"', statement)
    assert match is not None
    return match[1]


async def create_tables(connection: asyncpg.Connection) -> None:
    """Create types and bare tables in one transaction: all of them are there afterwards, or none.

    Raises:
        UsageError: One of the tables or types exists already; nothing was created.
    """
    async with connection.transaction():
        taken = await connection.fetchval(_TAKEN, table_names(), type_names())
        if taken is not None:
            raise UsageError(
                f'the database already has "{taken}"', "The sample needs a database without any TAAXDOG table"
            )
        await execute_all(connection, (*statements("types"), *statements("tables")))


async def create_schema(connection: asyncpg.Connection) -> None:
    """Create the complete, empty schema: types, tables, primary keys, indexes and foreign keys.

    Raises:
        UsageError: One of the tables or types exists already; nothing was created.
    """
    async with connection.transaction():
        await create_tables(connection)
        for name in ("primary_keys", "indexes", "foreign_keys"):
            await execute_all(connection, statements(name))


async def drop_schema(connection: asyncpg.Connection) -> None:
    """Drop the tables and types, with whatever depends on them."""
    tables = ", ".join(f'"{name}"' for name in table_names())
    types = ", ".join(f'"{name}"' for name in type_names())
    await connection.execute(f"DROP TABLE IF EXISTS {tables} CASCADE; DROP TYPE IF EXISTS {types} CASCADE")


async def execute_all(connection: asyncpg.Connection, several: Sequence[str]) -> None:
    """Run statements of ours in one round trip."""
    await connection.execute(";\n".join(several))

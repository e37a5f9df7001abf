"""Sequences after a restore: never behind a value that a row holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taaxdog_datamig.pg.quoting import ident, qualified
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.manifest import BackedUpSequence

_SQL = queries(__package__, "restore.sql")


async def set_as_backed_up(connection: PoolConnectionProxy[Any], states: Iterable[BackedUpSequence]) -> None:
    """Set the sequences as the backup has them."""
    for state in states:
        name = qualified(state.schema, state.name)
        await connection.execute(
            "SELECT setval($1::text::regclass, $2, $3)", name, state.last_value, state.is_called
        )


async def move_past_rows(
    connection: PoolConnectionProxy[Any], tables: Collection[int] | None = None, *, dry_run: bool = False
) -> list[str]:
    """Set each sequence that owns a column, and is behind its values, to the last of them.

    Args:
        connection: where.
        tables: oids; None: all tables.
        dry_run: leave them, since sequences do not roll back.

    Returns:
        The sequences that were behind.
    """
    moved = []
    for row in await connection.fetch(_SQL["owned_sequences"], None if tables is None else list(tables)):
        last, than = ("max", ">") if row["rising"] else ("min", "<")
        value = await connection.fetchval(
            f"SELECT {last}({ident(row['column'])})::bigint FROM {row['relation']}"
            f" WHERE {ident(row['column'])} BETWEEN $1::bigint AND $2::bigint",
            row["least"],
            row["most"],
        )
        # A sequence that was never asked gives `last_value` itself: equal is behind then.
        behind = f"$1::bigint {than} last_value OR ($1::bigint = last_value AND NOT is_called)"
        if value is not None and await connection.fetchval(f"SELECT {behind} FROM {row['sequence']}", value):
            if not dry_run:
                await connection.execute("SELECT setval($1::text::regclass, $2)", row["sequence"], value)
            moved.append(row["sequence"])
    return moved

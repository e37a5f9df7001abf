"""The backup's rows beside the table, and the rows in which the two differ.

Staging tables are temporary: they write no log. Where equality says less than the text (1.0 = 1.00), or there
is none (json), values are compared as the server stores them (`*<>`), which finds all that differ; whether
they do is then told by their texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig.backup.loading import copy_part
from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.pg.keys import loose_columns
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.retry import Fault, classify, describe
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.loading import OpenBackup
    from taaxdog_datamig.backup.matching import Target

#: Types whose values are equal when their texts are, and not otherwise, unless the collation is loose.
_PLAIN = {
    "text",
    "varchar",
    "uuid",
    "bool",
    "int2",
    "int4",
    "int8",
    "timestamp",
    "timestamptz",
    "date",
    "bytea",
}
_KINDS = ("missing", "changed", "newer")


@attrs.frozen(kw_only=True)
class Differences:
    """What sets a table apart from its backup, in rows."""

    missing: int
    changed: int
    #: In the table and not in the backup.
    newer: int
    #: Columns that differ in some row.
    columns: tuple[str, ...]


async def stage(
    connection: PoolConnectionProxy[Any],
    backup: OpenBackup,
    target: Target,
    share: Collection[str] | None = None,
) -> None:
    """Load a table's rows from the backup beside it.

    Args:
        connection: whose temporary table takes them.
        backup: the backup.
        target: the table.
        share: names of the parts that are wanted, others among them; None: all.

    Raises:
        BackupError: a part is damaged.
        RefusedError: the rows do not fit the types that the columns have now.
    """
    name = target.stage.rpartition(".")[2]
    dropped = [
        column for column in target.tables[0].columns if column not in {c.name for c in target.columns}
    ]
    # Of those that are dropped or generated now the stream holds values all the same.
    selected = [
        f"NULL::{target.retyped[column.name]} AS {column.quoted}"
        if column.name in target.retyped
        else column.quoted
        for column in target.columns
    ] + [f"NULL::{target.tables[0].columns[column]} AS {ident(column)}" for column in dropped]
    try:
        async with transaction(connection):
            await connection.execute("SET LOCAL statement_timeout = 0")
            await connection.execute(
                f"CREATE TEMPORARY TABLE {ident(name)} AS SELECT {', '.join(selected)}"
                f" FROM {target.relation.quoted} WITH NO DATA"
            )
            for table in target.tables:
                for part in table.parts:
                    if share is not None and part not in share:
                        continue
                    # Frozen, its pages are not written again when the rows are first looked at.
                    await copy_part(connection, backup, table, part, (None, name), freeze=True)
            for column, was in target.retyped.items():
                await _retype(connection, target, column, was)
            # How many rows, and how wide: a small sample tells.
            await connection.execute(f"SET LOCAL default_statistics_target = 10; ANALYZE {target.stage}")
    except asyncpg.PostgresError as error:
        if classify(error) is not Fault.DATA:
            raise
        raise RefusedError(
            f"rows of the backup do not fit {target.relation.label}: {describe(error)}",
            "A type has changed since the backup: restore into an empty database",
        ) from None


async def _retype(connection: PoolConnectionProxy[Any], target: Target, name: str, was: str) -> None:
    now, column = target.relation.columns[name].type, ident(name)
    other = f'(({column}::text)::{now})::text COLLATE "C" IS DISTINCT FROM {column}::text'
    if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {target.stage} WHERE {other})"):
        raise RefusedError(
            f"column {name} of {target.relation.label} was {was} and is {now}, which would change values",
            "Give the column its old type, or restore into an empty database",
        )
    await connection.execute(
        f"ALTER TABLE {target.stage} ALTER COLUMN {column} TYPE {now} USING ({column}::text)::{now}"
    )


async def differs(connection: PoolConnectionProxy[Any], target: Target) -> str:
    """SQL: the staged row `s` and the row `t` may differ. Where they do not, it says so of few."""
    names = [column.quoted for column in target.columns]
    loose = await loose_columns(connection, target.relation.oid)
    plain = [
        column.quoted
        for column in target.columns
        if (column.base in _PLAIN or column.category == "E") and column.name not in loose
    ]
    # As records: two ROW() would be compared column by column.
    rest = [name for name in names if name not in plain]
    rows = [f"ROW({', '.join(f'{alias}.{name}' for name in rest)})::record" for alias in "st"]
    other = [f"s.{name} IS DISTINCT FROM t.{name}" for name in plain]
    return " OR ".join(other + [" *<> ".join(rows)] * bool(rest))


async def compare(
    connection: PoolConnectionProxy[Any], target: Target, *, sifted: bool = False
) -> Differences:
    """Note which rows differ, in the table `differences`; part of the caller's transaction.

    It holds of each row the key, `datamig_kind` (one of `_KINDS`), `datamig_staged`: where the backup's row
    is, and `datamig_differ`: which of the target's columns do.

    Args:
        connection: in the transaction.
        target: the table.
        sifted: only rows that differ are staged; newer rows are counted, and not noted.
    """
    names = [column.quoted for column in target.columns]
    keys = ", ".join(f"coalesce(s.{ident(k)}, t.{ident(k)}) AS {ident(k)}" for k in target.relation.key)
    texts = ", ".join(f's.{name}::text COLLATE "C" IS DISTINCT FROM t.{name}::text' for name in names)
    await connection.execute(f"DROP TABLE IF EXISTS {target.differences}")
    await connection.execute(
        f"CREATE TEMPORARY TABLE {ident(target.differences.rpartition('.')[2])} AS"
        " SELECT CASE WHEN s.ctid IS NULL THEN 'newer' WHEN t.ctid IS NULL THEN 'missing' ELSE 'changed' END"
        f" AS datamig_kind, s.ctid AS datamig_staged, {keys},"
        f" CASE WHEN s.ctid IS NOT NULL AND t.ctid IS NOT NULL THEN ARRAY[{texts}] END AS datamig_differ"
        f" FROM {target.stage} AS s {'LEFT' if sifted else 'FULL'} JOIN {target.source} AS t"
        f" ON {target.keys_equal('s', 't')}"
        f" WHERE s.ctid IS NULL OR t.ctid IS NULL OR {await differs(connection, target)}"
    )
    await connection.execute(f"DELETE FROM {target.differences} WHERE NOT (true = ANY (datamig_differ))")
    await connection.execute(f"ANALYZE {target.differences}")
    told = await connection.fetchrow(
        f"SELECT {', '.join(f'count(*) FILTER (WHERE datamig_kind = {kind!r})' for kind in _KINDS)},"
        f" {', '.join(f'bool_or(datamig_differ[{number + 1}])' for number in range(len(names)))}"
        f" FROM {target.differences}"
    )
    assert told is not None
    missing, changed, newer, *differ = told
    if sifted:
        # Every other row of the backup has met its own.
        newer = await connection.fetchval(f"SELECT count(*) FROM {target.source}") - (target.rows - missing)
    columns = tuple(column.name for column, differs in zip(target.columns, differ, strict=True) if differs)
    return Differences(missing=missing, changed=changed, newer=newer, columns=columns)

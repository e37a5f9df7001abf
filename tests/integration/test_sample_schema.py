"""The sample's schema is the one of the data dictionary: nothing missing, nothing more, nothing else."""

import csv
from pathlib import Path

import asyncpg
import pytest

from taaxdog_datamig.demo import create_schema, load_sample
from taaxdog_datamig.errors import UsageError

DATA = Path(__file__).parent.parent / "data"

COLUMNS = """
SELECT t.relname AS table, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type,
       CASE WHEN a.attnotnull THEN 'no' ELSE 'yes' END AS nullable,
       coalesce(pg_get_expr(d.adbin, d.adrelid), '') AS default,
       CASE WHEN a.attnum = ANY (p.conkey) THEN 'pk' ELSE '' END AS key,
       coalesce(target.relname || '.' || column_of_target.attname, '') AS references,
       coalesce(CASE f.confdeltype WHEN 'c' THEN 'cascade' WHEN 'r' THEN 'restrict' WHEN 'n' THEN 'set null'
                                   WHEN 'a' THEN 'no action' END, '') AS on_delete
FROM pg_class t
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
LEFT JOIN pg_constraint p ON p.conrelid = t.oid AND p.contype = 'p'
LEFT JOIN pg_constraint f ON f.conrelid = t.oid AND f.contype = 'f' AND f.conkey = ARRAY[a.attnum]
LEFT JOIN pg_class target ON target.oid = f.confrelid
LEFT JOIN pg_attribute column_of_target ON column_of_target.attrelid = f.confrelid
                                       AND column_of_target.attnum = f.confkey[1]
WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY t.relname COLLATE "C", a.attnum
"""
INDEXES = """
SELECT t.relname AS table, i.relname AS index,
       CASE WHEN x.indisprimary THEN 'primary' WHEN x.indisunique THEN 'unique' ELSE '' END AS kind,
       (SELECT string_agg(a.attname, ',' ORDER BY k.position)
        FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
        JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum) AS columns
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_am m ON m.oid = i.relam
WHERE t.relnamespace = 'public'::regnamespace
  AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL AND m.amname = 'btree'
"""
ENUMS = """
SELECT t.typname AS enum, string_agg(e.enumlabel, '|' ORDER BY e.enumsortorder) AS labels
FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
WHERE t.typnamespace = 'public'::regnamespace GROUP BY t.typname
"""
#: What a dictionary of columns cannot say: keys are validated, cascade updates and have Prisma's names;
#: unique keys are plain indexes; tables are logged and have no storage options left from the load.
ODDITIES = """
SELECT conname FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE c.connamespace = 'public'::regnamespace AND CASE c.contype
    WHEN 'f' THEN NOT c.convalidated OR c.confupdtype <> 'c' OR cardinality(c.conkey) > 1 OR conname <> (
        SELECT t.relname || '_' || attname || '_fkey' FROM pg_attribute
        WHERE attrelid = t.oid AND attnum = c.conkey[1])
    WHEN 'p' THEN false WHEN 'n' THEN false ELSE true END
UNION ALL
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND (relpersistence <> 'p' OR reloptions IS NOT NULL)
"""


def dictionary(name):
    with (DATA / f"taaxdog-{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def plain(records):
    return [dict(record) for record in records]


async def assert_catalog_is_the_dictionary(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        columns = plain(await connection.fetch(COLUMNS))
        indexes = plain(await connection.fetch(INDEXES))
        enums = plain(await connection.fetch(ENUMS))
        oddities = await connection.fetch(ODDITIES)
        all_indexes = await connection.fetchval("SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'")
    finally:
        await connection.close()
    expected = [{k: v for k, v in row.items() if k != "sensitive"} for row in dictionary("columns")]
    # Within a table the order counts, between tables it does not.
    assert columns == sorted(expected, key=lambda row: row["table"])
    assert len({row["table"] for row in columns}) == 34
    by_name = {row["index"]: row for row in dictionary("indexes")}
    assert {row["index"]: row for row in indexes} == by_name
    assert all_indexes == len(indexes) == len(by_name) == 231
    assert {row["enum"]: row["labels"] for row in enums} == {
        row["enum"]: row["labels"] for row in dictionary("enums")
    }
    assert oddities == []


async def test_an_empty_schema_is_the_dictionary(database):
    connection = await asyncpg.connect(database)
    try:
        await create_schema(connection)
    finally:
        await connection.close()
    await assert_catalog_is_the_dictionary(database)


async def test_a_clean_sample_is_the_dictionary(database):
    """Rows first and keys later must end in the same catalog, every foreign key validated."""
    await load_sample(database, users=10, faults=False)
    await assert_catalog_is_the_dictionary(database)


async def test_a_database_with_one_of_the_tables_is_refused_and_left_alone(database):
    connection = await asyncpg.connect(database)
    try:
        await connection.execute("CREATE TABLE goals (a int)")
        with pytest.raises(UsageError, match='"goals"'):
            await create_schema(connection)
        with pytest.raises(UsageError, match='"goals"'):
            await load_sample(database, users=10)
        left = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
        assert [row["relname"] for row in left] == ["goals"]
    finally:
        await connection.close()

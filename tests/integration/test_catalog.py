from __future__ import annotations

import asyncpg
import pytest

from taaxdog_datamig.pg.catalog import find_relation, hangers, leaves, old_transactions
from taaxdog_datamig.pg.quoting import ident, qualified


async def find(connection, name):
    return await find_relation(connection, ident(name))


async def test_a_table_is_described_as_it_is(connection):
    await connection.execute(
        """CREATE DOMAIN short AS varchar(3);
        CREATE TABLE "Odd ""Name" (id text PRIMARY KEY, "taxFileNumber" varchar(11) NOT NULL, c char(5),
            d short, n numeric(5,2), gone int, g text GENERATED ALWAYS AS (c || 'x') STORED);
        ALTER TABLE "Odd ""Name" DROP COLUMN gone;
        INSERT INTO "Odd ""Name" VALUES ('a', 'b'); ANALYZE"""
    )
    relation = await find(connection, 'Odd "Name')
    assert relation.quoted == '"public"."Odd ""Name"'
    assert relation.label == 'public.Odd "Name'
    assert (relation.kind, relation.key, relation.tuples) == ("r", ("id",), 1)
    assert relation.pages * 8192 == relation.bytes == 8192
    assert relation.may_select
    assert relation.may_update
    assert relation.owned
    assert not relation.policed
    assert list(relation.columns) == ["id", "taxFileNumber", "c", "d", "n", "g"]
    columns = relation.columns.values()
    assert [column.limit for column in columns] == [None, 11, 5, 3, None, None]
    assert [column.textual for column in columns] == [True, True, False, True, False, True]
    assert [column.name for column in columns if column.not_null] == ["id", "taxFileNumber"]
    assert [column.name for column in columns if column.generated] == ["g"]
    (leaf,) = await leaves(connection, relation.oid)
    assert (leaf.relation, leaf.kind, leaf.pages) == ('public."Odd ""Name"', "r", 1)


async def test_a_name_that_is_nothing_is_none(connection):
    assert await find(connection, "nothing") is None
    assert await find_relation(connection, qualified("nowhere", "nothing")) is None


@pytest.mark.parametrize(
    ("definition", "key"),
    [
        ("CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))", ("b", "a")),
        ("CREATE TABLE t (a int NOT NULL UNIQUE, b int PRIMARY KEY)", ("b",)),
        ("CREATE TABLE t (a int NOT NULL, b int NOT NULL, c int UNIQUE, UNIQUE (a, b))", ("a", "b")),
        ("CREATE TABLE t (a int NOT NULL, b int NOT NULL UNIQUE, UNIQUE (a, b))", ("b",)),
        ("CREATE TABLE t (a int NOT NULL UNIQUE DEFERRABLE)", ()),
        ("CREATE TABLE t (a int NOT NULL); CREATE UNIQUE INDEX ON t (a) WHERE a > 0", ()),
        ("CREATE TABLE t (a text NOT NULL); CREATE UNIQUE INDEX ON t (lower(a))", ()),
        ("CREATE TABLE t (a int NOT NULL, b text); CREATE UNIQUE INDEX ON t (a) INCLUDE (b)", ("a",)),
        ("CREATE TABLE t (a int)", ()),
    ],
)
async def test_the_key_is_what_names_one_row_for_certain(connection, definition, key):
    await connection.execute(definition)
    assert (await find(connection, "t")).key == key


async def test_partitions_are_the_leaves_however_deep(connection):
    await connection.execute(
        "CREATE TABLE p (id int) PARTITION BY RANGE (id);"
        "CREATE TABLE a PARTITION OF p FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE b PARTITION OF p FOR VALUES FROM (10) TO (30) PARTITION BY RANGE (id);"
        'CREATE TABLE "c d" PARTITION OF b FOR VALUES FROM (10) TO (20);'
        "INSERT INTO p VALUES (11)"
    )
    found = await leaves(connection, (await find(connection, "p")).oid)
    assert [(leaf.relation, leaf.pages) for leaf in found] == [("public.a", 0), ('public."c d"', 1)]


async def test_everything_that_hangs_on_a_column_is_found_and_nothing_else(connection):
    await connection.execute(
        """CREATE TABLE t (id int PRIMARY KEY, tfn text UNIQUE, other text, twice text
                           GENERATED ALWAYS AS (tfn || tfn) STORED);
        CREATE INDEX t_lower ON t (lower(tfn));
        CREATE INDEX t_where ON t (id) WHERE tfn IS NOT NULL;
        CREATE INDEX t_other ON t (other);
        CREATE VIEW v AS SELECT tfn FROM t;
        CREATE MATERIALIZED VIEW mv AS SELECT tfn FROM t;
        CREATE VIEW not_this AS SELECT other FROM t;
        CREATE POLICY mine ON t USING (tfn <> '');
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER on_update BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();
        CREATE TRIGGER on_insert BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();
        CREATE TRIGGER off BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f();
        ALTER TABLE t DISABLE TRIGGER off"""
    )
    found = await hangers(connection, (await find(connection, "t")).oid, ["tfn"])
    assert found.indexes == ("t_lower", "t_where")
    assert found.unique_indexes == ("t_tfn_key",)
    assert found.triggers == ("on_update",)
    told = " ".join(found.dependents)
    assert "view v" in told
    assert "materialized view mv" in told
    assert "policy mine" in told
    assert "twice" in told
    assert "not_this" not in told


async def test_an_old_transaction_is_seen_with_its_age(connection, database):
    assert await old_transactions(connection, 0.0) == []
    other = await asyncpg.connect(database)
    try:
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
        ((pid, seconds),) = await old_transactions(connection, 0.0)
        assert pid == other.get_server_pid()
        assert seconds > 0
        assert await old_transactions(connection, 3600) == []
    finally:
        await other.close()

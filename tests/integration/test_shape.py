"""Compare-and-set on a real server: only rows that still hold what was read are changed."""

from __future__ import annotations

import contextlib

import asyncpg
import attrs
import pytest

from taaxdog_datamig.pg.catalog import find_relation
from taaxdog_datamig.pg.rows import Field, Shape, array, transposed

#: Type to two values of it that differ.
TYPES = {
    "text": ("a", "A"),
    "character varying(20)": ("a", "a "),
    "character(5)": ("a", "b"),
    "integer": ("1", "-1"),
    "numeric(10,2)": ("1.50", "1.51"),
    "numeric": ("1.50", "1.5"),
    "double precision": ("0.1", "-0"),
    "boolean": ("true", "false"),
    "date": ("2026-01-02", "infinity"),
    "timestamp(3) without time zone": ("2026-01-02 03:04:05.678", "2026-01-02 03:04:05.679"),
    "timestamp with time zone": ("2026-01-02 03:04:05+00", "2026-01-02 03:04:06+00"),
    "interval": ("1 mon", "30 days"),
    "uuid": ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
    "bytea": ("\\x00", "\\x"),
    "json": ('{"a": 1}', '{"a":1}'),
    "jsonb": ('{"a": 1}', "[]"),
    "text[]": ('{"a b",NULL}', '{"a b","NULL"}'),
    "inet": ("127.0.0.1/32", "127.0.0.1/8"),
    "bit varying(8)": ("101", "1010"),
    "tsvector": ("'a' 'b'", "'a'"),
    "mood": ("glad", "sad"),
    "short": ("abc", "abd"),
    "point": ("(1,2)", "(2,1)"),
}


async def shape_of(connection, name, key, columns):
    relation = await find_relation(connection, name)

    def fields(names):
        return tuple(
            Field(name=n, column=n, type=relation.columns[n].type, textual=relation.columns[n].textual)
            for n in names
        )

    return Shape(table=name, relation=relation.quoted, key=fields(key), columns=fields(columns))


async def change(connection, shape, rows):
    """`rows`: (key, old texts, new texts). Positions that were changed, and what is stored there."""
    arguments = transposed([key for key, _, _ in rows], len(shape.key))
    for i in range(len(shape.columns)):
        arguments += [[old[i] for _, old, _ in rows], [new[i] for _, _, new in rows]]
    changed = await connection.fetch(shape.update_sql(), *map(array, arguments))
    return {at - 1: rows[at - 1][2] if other is None else tuple(other) for at, other in changed}


async def test_a_row_of_any_type_is_changed_only_where_it_holds_the_old_value(connection):
    await connection.execute("CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN short AS varchar(3)")
    for number, (kind, (one, two)) in enumerate(TYPES.items()):
        name = f"t{number}"
        await connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, v {kind})")
        await connection.execute(f"INSERT INTO {name} SELECT n, NULL FROM generate_series(1, 5) n")
        shape = await shape_of(connection, name, ["id"], ["v"])
        # NULL is a value like others: 1 and 2 hold it, 3 is asked for another one.
        wanted = [("1", None, one), ("2", None, two), ("3", one, two), ("9", None, one)]
        first = await change(connection, shape, [((key,), (old,), (new,)) for key, old, new in wanted])
        stored = await connection.fetchval(f"SELECT v::text FROM {name} WHERE id = 1")
        assert first.keys() == {0, 1}, kind
        assert first[0] == (stored,), kind
        # 1 holds `one`; 2 holds `two`, which the application put there after we had read `one`.
        again = await change(
            connection,
            shape,
            [(("1",), (stored,), (None,)), (("2",), (stored,), (None,)), (("4",), (stored,), (None,))],
        )
        assert again == {0: (None,)}, kind


async def test_what_a_collation_or_citext_calls_equal_is_another_value_for_us(connection):
    tables = ["t text"]
    with contextlib.suppress(asyncpg.FeatureNotSupportedError):  # a server built without ICU
        await connection.execute(
            "CREATE COLLATION anycase (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
        )
        tables.append('t text COLLATE "anycase"')
    if await connection.fetchval("SELECT true FROM pg_available_extensions WHERE name = 'citext'"):
        await connection.execute("CREATE EXTENSION citext")
        tables.append("t citext")
    for definition in tables:
        await connection.execute(
            f"CREATE TABLE names (id int PRIMARY KEY, {definition}); INSERT INTO names VALUES (1, 'ANN')"
        )
        shape = await shape_of(connection, "names", ["id"], ["t"])
        assert await change(connection, shape, [(("1",), ("Ann",), ("x",))]) == {}
        assert await change(connection, shape, [(("1",), ("ANN",), ("Ann",))]) == {0: ("Ann",)}
        await connection.execute("DROP TABLE names")


async def test_a_composite_key_names_one_row_and_every_column_is_compared(connection):
    await connection.execute(
        'CREATE TABLE "odd ""name" ("Key" text, n int, a text, "order" int, PRIMARY KEY ("Key", n));'
        """INSERT INTO "odd ""name" VALUES ('x', 1, 'a', 1), ('x', 2, 'a', 1), ('y', 1, 'a', NULL)"""
    )
    shape = await shape_of(connection, '"odd ""name"', ["Key", "n"], ["a", "order"])
    wanted = [(("x", "2"), ("a", "1")), (("y", "1"), ("a", "1")), (("x", "1"), ("a", "2"))]
    changed = await change(connection, shape, [(key, old, ("b", "2")) for key, old in wanted])
    assert changed == {0: ("b", "2")}
    rows = await connection.fetch("""SELECT "Key" || n, a, "order" FROM "odd ""name" ORDER BY 1""")
    assert [tuple(row) for row in rows] == [("x1", "a", 1), ("x2", "b", 2), ("y1", "a", None)]
    keys = transposed([("y", "1"), ("z", "1"), ("x", "2")], 2)
    found = {row["ord"]: (row["k0"], row["k1"], row["c0"], row["c1"])
             for row in await connection.fetch(shape.keys_sql(), *keys)}  # fmt: skip
    assert found == {1: ("y", "1", "a", None), 3: ("x", "2", "b", "2")}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("character varying(3)", "abcd"),
        ("character(3)", "abcd"),
        ("short", "abcd"),
        ("character varying(3)[]", "{abcd}"),
        ("bit(3)", "1010"),
        ("bit varying(3)", "1010"),
        ("numeric(3,1)", "100"),
    ],
)
async def test_a_value_that_is_too_long_is_refused_and_never_cut(connection, kind, value):
    await connection.execute(
        "CREATE DOMAIN short AS varchar(3);"
        f"CREATE TABLE t (id int PRIMARY KEY, v {kind}); INSERT INTO t VALUES (1, NULL)"
    )
    shape = await shape_of(connection, "t", ["id"], ["v"])
    with pytest.raises(asyncpg.DataError):
        await change(connection, shape, [(("1",), (None,), (value,))])


async def test_what_a_trigger_made_of_a_value_is_what_comes_back(connection):
    await connection.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a');"
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN NEW.v := upper(NEW.v); RETURN NEW; END';"
        "CREATE TRIGGER shout BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION shout()"
    )
    shape = await shape_of(connection, "t", ["id"], ["v"])
    assert await change(connection, shape, [(("1",), ("a",), ("b",))]) == {0: ("B",)}


async def test_rows_that_somebody_holds_are_passed_over(db, connection):
    await connection.execute("CREATE TABLE t (id int PRIMARY KEY, v text);"
                             "INSERT INTO t SELECT n, 'a' FROM generate_series(1, 4) n")  # fmt: skip
    shape = await shape_of(connection, "t", ["id"], ["v"])
    async with db.acquire() as other, other.transaction():
        await other.execute("UPDATE t SET v = 'b' WHERE id IN (2, 3)")
        rows = await connection.fetch(shape.lock_sql(), ["1", "2", "3", "4", "5"])
        assert sorted(row["ord"] for row in rows) == [1, 4]
    rows = await connection.fetch(shape.lock_sql(), ["1", "2", "3"])
    assert sorted(row["ord"] for row in rows) == [1, 2, 3]


async def test_a_window_holds_the_rows_between_two_places_in_heap_order(connection):
    await connection.execute("CREATE TABLE t (id int PRIMARY KEY, v jsonb, s text);"
                             "INSERT INTO t SELECT n, '{}', 's' FROM generate_series(1, 900) n")  # fmt: skip
    shape = await shape_of(connection, "t", ["id"], ["v", "s"])
    sql = shape.window_sql("v IS NOT NULL AND id % $4 = 0")
    pages = await connection.fetchval("SELECT pg_relation_size('t') / current_setting('block_size')::int")
    found = []
    for page in range(pages):
        rows = await connection.fetch(sql, (page, 0), (page + 1, 0), 1000, 2)
        found += [int(row["k0"]) for row in rows]
        assert {tuple(row)[2:] for row in rows} == {("{}", "s", "{}")}
    assert found == list(range(2, 901, 2))
    assert len(await connection.fetch(sql, (0, 0), (pages, 0), 7, 2)) == 7


async def test_a_partition_is_read_and_written_by_itself(connection):
    await connection.execute(
        "CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);"
        "INSERT INTO p VALUES (1, 'a'), (11, 'a')"
    )
    shape = (await shape_of(connection, "p", ["id"], ["v"])).at('"public"."p1"')
    assert await change(connection, shape, [(("1",), ("a",), ("b",)), (("11",), ("a",), ("b",))]) == {
        0: ("b",)
    }


async def test_a_shape_comes_back_from_the_ledger_as_it_was(connection):
    await connection.execute("CREATE TABLE t (id int PRIMARY KEY, v varchar(3))")
    shape = await shape_of(connection, "t", ["id"], ["v"])
    assert Shape.from_json(shape.to_json()) == shape
    assert attrs.evolve(shape, relation="x") == shape.at("x")

"""A checksum is equal exactly where contents are, on any server, whatever else is there."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taaxdog_datamig import Checksums
from taaxdog_datamig.checksum import checksum, sums
from taaxdog_datamig.errors import ServerRefused, UnknownName, UsageError
from taaxdog_datamig.pg.catalog import find_relation
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs/reference/checksum.md").read_text("utf-8")


async def summed(connection, name, **more):
    relation = await find_relation(connection, name)
    assert relation is not None
    return await checksum(connection, relation, **more)


@pytest.fixture
def of(connection):
    """The checksum of a table with these columns and rows."""

    async def make(columns, rows="", before=""):
        async with connection.transaction():
            await connection.execute(f"{before}; DROP TABLE IF EXISTS x; CREATE TABLE x ({columns})")
            if rows:
                await connection.execute(f"INSERT INTO x VALUES {rows}")
        return (await summed(connection, "x")).checksum

    return make


async def test_the_vectors_and_the_recipe_of_the_page_hold(connection):
    """What docs/reference/checksum.md tells somebody with psql is what is computed here."""
    [recipe] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    vectors = re.findall(r"^\| (none|`\(.*\)`) \| `(\w{32})` \|$", PAGE, re.MULTILINE)
    assert len(vectors) == 4
    [definition] = re.findall(r"For a table `(t .*)`:", PAGE)
    for rows, expected in vectors:
        await connection.execute(f"DROP TABLE IF EXISTS public.t; CREATE TABLE public.{definition}")
        if rows != "none":
            await connection.execute(f"INSERT INTO public.t VALUES {rows.strip('`')}")
        assert (await summed(connection, "public.t")).checksum == expected
        *pins, query = [statement for statement in recipe.split(";") if statement.strip()]
        async with connection.transaction():
            for pin in pins:
                await connection.execute(pin.replace("SET ", "SET LOCAL ", 1))
            assert await connection.fetchval(query) == expected


@pytest.mark.parametrize(
    ("columns", "rows", "other"),
    [
        ("a text, b text", "('a|b', 'c')", "('a', 'b|c')"),
        ("a text, b text", "('a,b', 'c')", "('a', 'b,c')"),
        ("a text, b text", "('a', NULL)", "(NULL, 'a')"),
        ("a text", "('')", "(NULL)"),
        ("a text", "('NULL')", "(NULL)"),
        ("a text", "('x')", "('x '), ('x')"),
        ("a text", "('x')", "('x'), ('x'), ('x')"),
        ("a text, b text", "('1', 'a'), ('2', 'b')", "('1', 'b'), ('2', 'a')"),
        ("a int, b int", "(1, 2)", "(2, 1)"),
        ("a bigint", "(0)", "(4294967297)"),
        ("a timestamp", "('2000-01-01')", "('2000-01-01 01:11:34.967297')"),
        ("a numeric", "(1.0)", "(1.00)"),
        ("a float8", "('-0')", "(0)"),
        ("a float8", "('NaN')", "('Infinity')"),
        ("a float8", "(0.1)", "(0.1 + 1e-16)"),
        ("a numeric", "('NaN')", "(NULL)"),
        ("a bytea", r"('\x00')", r"('\x')"),
        ("a timestamptz", "('infinity')", "('-infinity')"),
        ("a interval", "('1 day')", "('24 hours')"),
        ("a jsonb", """('{"n": 1.0}')""", """('{"n": 1.00}')"""),
        ("a int[]", "('[0:0]={1}')", "('{1}')"),
        ("a text[]", "('{a,b}')", """('{"a,b"}')"""),
        ("a text[]", "('{NULL}')", """('{"NULL"}')"""),
    ],
)
async def test_what_differs_has_another_checksum(of, columns, rows, other):
    assert await of(columns, rows) != await of(columns, other)


async def test_letters_that_count_as_equal_do_not_count_as_equal_here(of):
    columns, before = "a citext", "CREATE EXTENSION IF NOT EXISTS citext"
    assert await of(columns, "('ANN')", before) != await of(columns, "('Ann')")


async def test_order_of_rows_and_columns_and_width_of_types_do_not_matter(of):
    first = await of("a int, b varchar(9), c numeric", "(1, 'x', 1.5), (-2, 'y', NULL)")
    again = await of("c numeric, b text, a bigint", "(NULL, 'y', -2), (1.5, 'x', 1)")
    assert first == again


async def test_a_renamed_column_counts_even_without_rows(of):
    assert await of("a int") != await of("b int")
    assert await of('"a""b" int') != await of('"a" int, "b" int')


async def test_dropped_and_generated_columns_do_not_count(of, connection):
    before = await of("a int, b int", "(1, 2)")
    assert await of("a int, b int, c int GENERATED ALWAYS AS (a + b) STORED", "(1, 2)") == before
    await connection.execute("ALTER TABLE x ADD d int; ALTER TABLE x DROP d")
    assert (await summed(connection, "x")).checksum == before


async def test_a_table_without_columns_has_its_rows_counted(connection):
    await connection.execute("CREATE TABLE none (); INSERT INTO none DEFAULT VALUES")
    assert (await summed(connection, "none")).rows == 1


async def test_enum_labels_count_and_their_oids_do_not(connection):
    found = []
    for labels in ("'old', 'new'", "'new', 'odd', 'old'", "'old', 'fresh'"):
        await connection.execute(f"CREATE TYPE kind AS ENUM ({labels}); CREATE TABLE e (k kind)")
        await connection.execute(
            "INSERT INTO e VALUES ('old'), (enum_first(NULL::kind)), (enum_last(NULL::kind))"
        )
        await connection.execute("DELETE FROM e WHERE ctid = '(0,1)'")
        found.append(await summed(connection, "e"))
        await connection.execute("DROP TABLE e; DROP TYPE kind")
    assert found[0] == found[1]
    assert found[0] != found[2]


async def test_settings_and_search_path_of_the_session_do_not_matter_and_stay(database):
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(
            "CREATE TABLE s (r regclass, z timestamptz, i interval, f float8, b bytea, d date);"
            r"INSERT INTO s VALUES ('s', '2026-03-01 12:00+11', '1 mon -2 days', 0.1, '\x01', '2026-03-01')"
        )
        before = await summed(connection, "s")
        odd = {
            "timezone": "Australia/Sydney",
            "datestyle": "German, DMY",
            "intervalstyle": "iso_8601",
            "extra_float_digits": "-5",
            "bytea_output": "escape",
            "search_path": "public, pg_catalog",
        }
        for name, value in odd.items():
            await connection.execute("SELECT set_config($1, $2, false)", name, value)
        assert await summed(connection, "public.s") == before
        async with connection.transaction():
            assert await summed(connection, "public.s") == before
            assert await connection.fetchval("SHOW timezone") == odd["timezone"]
        assert await connection.fetchval("SHOW search_path") == odd["search_path"]
    finally:
        await connection.close()


async def test_some_columns_and_some_rows_can_be_summed(connection):
    await connection.execute(
        "CREATE TABLE p (a int, b int); INSERT INTO p SELECT i, i % 3 FROM generate_series(1, 9) i"
    )
    whole = await summed(connection, "p", columns=["a"], where="t.b = 1")
    await connection.execute("CREATE TABLE q AS SELECT a FROM p WHERE b = 1")
    assert await summed(connection, "q") == whole
    assert whole.rows == 3


async def test_partitioned_tables_are_summed_whole_and_parents_alone(db, connection, monkeypatch):
    """In one statement and in many, by partition and by block range, the sums are those of a plain table."""
    await connection.execute(
        "CREATE TABLE plain AS SELECT i AS id, repeat('x', 500) AS t FROM generate_series(1, 900) i;"
        "CREATE TABLE parts (id int, t text) PARTITION BY RANGE (id);"
        "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (500);"
        "CREATE TABLE parts_high (t text, id int);"
        "ALTER TABLE parts ATTACH PARTITION parts_high FOR VALUES FROM (500) TO (1000);"
        "INSERT INTO parts SELECT * FROM plain;"
        "CREATE TABLE parent (LIKE plain); INSERT INTO parent SELECT * FROM plain;"
        "CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (1, 'more')"
    )
    monkeypatch.setattr(sums, "PART_PAGES", 7)
    found = (await Checksums(db).tables()).tables
    assert set(found) == {"plain", "parts", "parent", "child"}
    assert found["plain"] == found["parts"] == found["parent"] == await summed(connection, "plain")
    assert found["plain"] == await summed(connection, "parts")
    assert found["child"].rows == 1


async def test_all_tables_are_of_one_moment(db, connection, monkeypatch):
    """Rows that come and go while tables are read are not seen, whichever connection reads them."""
    await connection.execute("CREATE TABLE a (i int); CREATE TABLE b (i int); INSERT INTO a VALUES (1)")
    before = (await Checksums(db).tables()).tables
    taken = sums.leaves

    async def leaves(reading, oid):
        await connection.execute("UPDATE a SET i = i + 1; INSERT INTO b VALUES (1)")
        return await taken(reading, oid)

    monkeypatch.setattr(sums, "leaves", leaves)
    assert (await Checksums(db).tables()).tables == before
    monkeypatch.undo()
    after = (await Checksums(db).tables()).tables
    assert (after["a"], after["b"].rows) != (before["a"], 0)


async def test_logical_names_and_schemas_are_understood_and_other_things_refused(db, connection):
    await connection.execute(
        "CREATE TABLE bank_transactions (id int); CREATE SCHEMA away; CREATE TABLE away.t (id int);"
        "CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1 AS i;"
        "CREATE TEMP TABLE gone (i int)"
    )
    found = (await Checksums(db).tables(["transactions", "bank_transactions", "away.t", "m"])).tables
    assert list(found) == ["bank_transactions", "away.t", "m"]
    assert set((await Checksums(db).tables()).tables) == {"bank_transactions", "away.t"}
    with pytest.raises(UsageError, match="v is a view"):
        await Checksums(db).tables(["v"])
    with pytest.raises(UnknownName, match="no table nowhere"):
        await Checksums(db).tables(["nowhere"])


async def test_rows_that_a_policy_would_hide_are_an_error(db, connection, role, database):
    await connection.execute(
        "CREATE TABLE r (i int); ALTER TABLE r ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON r USING (i > 1)"
    )
    async with role("GRANT SELECT ON r TO {role}") as name:
        dsn = database.replace("//postgres@", f"//{name}@")
        async with Database.connect(dsn, settings=Settings()) as theirs:
            with pytest.raises(ServerRefused, match="row-level security"):
                await Checksums(theirs).tables(["r"])


TEXT = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4)
ROWS = st.lists(st.tuples(TEXT, TEXT, st.none() | st.integers(-(2**63), 2**63 - 1)), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=ROWS, second=ROWS)
async def test_checksums_are_equal_exactly_for_equal_multisets_of_rows(connection, first, second):
    async def of_rows(rows):
        async with connection.transaction():
            await connection.execute("CREATE TEMP TABLE y (a text, b text, c bigint) ON COMMIT DROP")
            await connection.executemany("INSERT INTO y VALUES ($1, $2, $3)", rows)
            return await summed(connection, "y")

    def bag(rows):
        return sorted(map(repr, rows))

    assert await of_rows(first) == await of_rows(first[::-1])
    assert (await of_rows(first) == await of_rows(second)) is (bag(first) == bag(second))

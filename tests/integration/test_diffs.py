"""Two databases are compared row by row: every difference is found, and nothing else."""

from __future__ import annotations

import random
import re

import asyncpg
import attrs
import pytest

from taaxdog_datamig import Checksums, RowDifference
from taaxdog_datamig.checksum import diff, ranges
from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.pg.catalog import find_relation
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.settings import Settings
from tests.conftest import with_database


@pytest.fixture
async def there(database_from):
    """The other database."""
    async with Database.connect(database_from("template0"), settings=Settings()) as opened:
        yield opened


@pytest.fixture
def both(db, there):
    """Run statements on both sides, or on one."""

    async def run(statements, *, here="", elsewhere=""):
        for side, own in ((db, here), (there, elsewhere)):
            async with side.acquire() as connection:
                await connection.execute(f"{statements}; {own}")

    return run


def named(table, status):
    return [row.key for row in table.rows if row.status == status]


#: Ways to name a row: columns, and their values of row `i`.
KEYS = {
    "bigint": ("id bigint PRIMARY KEY", "i::bigint * 100000000003"),
    "text": ("id text PRIMARY KEY", "chr(60 + i % 60) || ',\"' || i"),
    "varchar": ("id varchar(40) PRIMARY KEY", "'Ä' || md5(i::text)"),
    "uuid": ("id uuid PRIMARY KEY", "md5(i::text)::uuid"),
    "numeric": ("id numeric PRIMARY KEY", "i / 8.0"),
    "timestamp": ("id timestamp PRIMARY KEY", "'2026-01-01'::timestamp + i * interval '1 hour'"),
    "float": ("id float8 PRIMARY KEY", "-i / 7.0"),
    "interval": ("id interval PRIMARY KEY", "i * interval '1 hour'"),
    "composite": ("id text, n int, PRIMARY KEY (id, n)", "CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b,' END, i"),
    "one tenant": ("id int, n int, PRIMARY KEY (id, n)", "1, i"),
    "unique": ("id int NOT NULL UNIQUE, n int", "i, i"),
}


@pytest.mark.parametrize("kind", KEYS)
async def test_exactly_the_planted_differences_are_found_whatever_the_key(both, db, there, kind):
    """Changed, missing, added on either side, beyond the range of the other, with and without statistics."""
    columns, values = KEYS[kind]
    rows = f"INSERT INTO t SELECT {values}, 'row ' || i FROM generate_series({{}}, {{}}) i"
    await both(
        f"CREATE TABLE t ({columns}, note text); {rows.format(1, 3000)}",
        here=f"{rows.format(3001, 3002)}; UPDATE t SET note = NULL WHERE note = 'row 1200'; ANALYZE t",
        elsewhere=f"{rows.format(3003, 3600)}; {rows.format(-4, 0)};"
        "DELETE FROM t WHERE note IN ('row 1', 'row 1500');"
        "UPDATE t SET note = note || '!' WHERE note IN ('row 7', 'row 2222', 'row 2223')",
    )
    report = await Checksums(db).diff(there)
    table = report.tables["t"]
    assert not report.equal
    assert (table.status, table.rows_here, table.rows_there) == ("different", 3002, 3601)
    assert (table.only_here, table.only_there, table.differing) == (4, 603, 4)
    async with db.acquire() as connection:
        keys = ", ".join(f"{column}::text" for column in table.key)
        expected = await connection.fetch(
            f"SELECT {keys} FROM t WHERE coalesce(note, 'row 1200') = ANY ($1)",
            ["row 7", "row 2222", "row 2223", "row 1200"],
        )
    assert sorted(named(table, "differs")) == sorted(map(tuple, expected))
    assert len(named(table, "only here")) == 4
    assert (await Checksums(there).diff(db)).tables["t"].only_here == 603


async def test_equal_databases_are_equal(both, db, there):
    await both(
        "CREATE TABLE a (id int PRIMARY KEY, t text); CREATE TABLE keyless (t text);"
        "CREATE TABLE empty (id int PRIMARY KEY); INSERT INTO keyless VALUES ('x');"
        "INSERT INTO a SELECT i, i FROM generate_series(1, 99) i"
    )
    report = await Checksums(db).diff(there)
    assert report.equal
    assert {table.status for table in report.tables.values()} == {"same"}
    assert {table.differing for table in report.tables.values()} == {0}


async def test_values_that_change_places_are_found(both, db, there):
    await both(
        "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE keyless (id int, v text)",
        here="INSERT INTO t SELECT i, i FROM generate_series(1, 9999) i; INSERT INTO keyless SELECT * FROM t",
        elsewhere="INSERT INTO t SELECT i, 10000 - i FROM generate_series(1, 9999) i;"
        "INSERT INTO keyless SELECT * FROM t",
    )
    tables = (await Checksums(db).diff(there)).tables
    assert tables["t"].differing == 9998
    assert tables["keyless"].status == "different"


async def test_more_jobs_than_connections_do_not_wait_for_each_other(both, db):
    await both(";".join(f"CREATE TABLE t{i} (id int PRIMARY KEY)" for i in range(30)))
    assert (await Checksums(db, jobs=40).diff(db)).equal
    assert len((await Checksums(db, jobs=40).tables()).tables) == 30


async def test_when_everything_differs_all_is_counted_and_some_are_named(both, db, there, monkeypatch):
    monkeypatch.setattr(diff, "NAMED_ROWS", 10)
    monkeypatch.setattr(diff, "_FETCHED", 100)
    await both(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        here="INSERT INTO t SELECT i, 'x' FROM generate_series(1, 2000) i",
        elsewhere="INSERT INTO t SELECT i, 'y' FROM generate_series(1001, 5000) i",
    )
    table = (await Checksums(db).diff(there)).tables["t"]
    assert (table.only_here, table.only_there, table.differing) == (1000, 3000, 1000)
    assert [len(named(table, status)) for status in ("only here", "only there", "differs")] == [10, 10, 10]


async def test_orders_of_two_collations_do_not_make_differences(both, db, there):
    """In one database 'B' < 'a', in the other 'a' < 'B': where a row is sought is no part of the answer.

    A server that knows no such collation has C on both sides.
    """
    async with db.acquire() as connection:
        other = await connection.fetchval(
            "SELECT quote_ident(collname) FROM pg_collation WHERE collprovider IN ('c', 'i')"
            " AND collname <> 'unicode' AND collcollate IS DISTINCT FROM 'C' AND collcollate !~ '^(C|POSIX)'"
            " OR collname = 'en-x-icu' ORDER BY collname = 'en-x-icu' DESC LIMIT 1"
        )
    rows = "INSERT INTO t SELECT chr(65 + i % 26 + 32 * (i % 2)) || i, i FROM generate_series(1, 3000) i"
    await both(
        "",
        here=f'CREATE TABLE t (id text COLLATE "C" PRIMARY KEY, n int); {rows}',
        elsewhere=f"""CREATE TABLE t (id text COLLATE {other or '"C"'} PRIMARY KEY, n int); {rows};
            UPDATE t SET n = 0 WHERE n = 77""",
    )
    table = (await Checksums(db).diff(there)).tables["t"]
    assert (table.only_here, table.only_there, table.differing) == (0, 0, 1)
    assert (await Checksums(there).diff(db)).tables["t"].differing == 1


async def test_columns_in_another_order_or_of_another_type_are_compared_by_their_values(both, db, there):
    await both(
        "CREATE TYPE kind AS ENUM ('x', 'y')",
        here="CREATE TABLE t (id int PRIMARY KEY, v text, n int, k kind);"
        "INSERT INTO t VALUES (1, 'a', 5, 'x'), (2, 'b', 6, 'y'), (3, 'c', 7, 'x')",
        elsewhere="CREATE TABLE t (k text, n numeric, v varchar(9), gone int, id bigint PRIMARY KEY);"
        "ALTER TABLE t DROP gone; INSERT INTO t VALUES ('x', 5, 'a', 1), ('y', 6, 'b', 2), ('y', 7, 'c', 3)",
    )
    table = (await Checksums(db).diff(there)).tables["t"]
    assert (table.columns_only_here, table.columns_only_there) == ((), ())
    assert named(table, "differs") == [("3",)]


async def test_columns_of_one_side_are_listed_and_the_rest_is_compared(both, db, there):
    await both(
        "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'a'), (2, 'b')",
        here="ALTER TABLE t ADD nickname text; CREATE TABLE mine (i int)",
        elsewhere="ALTER TABLE t ADD mark int; UPDATE t SET v = 'B' WHERE id = 2; CREATE TABLE yours (i int)",
    )
    report = await Checksums(db).diff(there)
    table = report.tables["t"]
    assert (table.columns_only_here, table.columns_only_there) == (("nickname",), ("mark",))
    assert named(table, "differs") == [("2",)]
    assert (report.tables["mine"].status, report.tables["yours"].status) == ("only here", "only there")
    async with there.acquire() as connection:
        await connection.execute("UPDATE t SET v = 'b' WHERE id = 2")
    same_rows = (await Checksums(db).diff(there)).tables["t"]
    assert (same_rows.status, same_rows.differing) == ("different", 0)


async def test_without_a_common_key_tables_are_compared_whole(both, db, there):
    await both(
        "CREATE TABLE bare (v text); CREATE TABLE t (id int, v int); CREATE VIEW w AS SELECT 1",
        here="INSERT INTO bare VALUES ('a'); ALTER TABLE t ADD PRIMARY KEY (id); CREATE TABLE w2 (i int)",
        elsewhere="INSERT INTO bare VALUES ('b'); ALTER TABLE t ADD PRIMARY KEY (v);"
        "CREATE VIEW w2 AS SELECT 1 AS i",
    )
    tables = (await Checksums(db).diff(there)).tables
    assert (tables["bare"].status, tables["bare"].differing) == ("different", None)
    assert "no primary key in common" in tables["bare"].note
    assert (tables["t"].status, tables["t"].key) == ("same", ())
    assert "a view" in tables["w2"].note


async def test_a_partitioned_table_equals_a_plain_one(both, db, there):
    rows = "INSERT INTO t SELECT i, i FROM generate_series(1, 999) i"
    await both(
        "",
        here=f"CREATE TABLE t (id int PRIMARY KEY, v int); {rows}",
        elsewhere="CREATE TABLE t (id int PRIMARY KEY, v int) PARTITION BY HASH (id);"
        "CREATE TABLE t0 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
        f"CREATE TABLE t1 PARTITION OF t FOR VALUES WITH (MODULUS 2, REMAINDER 1); {rows};"
        "UPDATE t SET v = 0 WHERE id = 500",
    )
    assert named((await Checksums(db).diff(there, ["t"])).tables["t"], "differs") == [("500",)]
    assert named((await Checksums(there).diff(db, ["t"])).tables["t"], "differs") == [("500",)]


async def test_a_sensitive_key_is_never_shown_nor_sent_as_a_bound(db, there, both, monkeypatch):
    """The number is of the published test ones; the other columns of the key name the row."""
    asked = []
    monkeypatch.setattr(diff, "bounds_of", lambda *args: asked.append(args))
    await both(
        "CREATE TABLE users (tfn text, n int, v text, PRIMARY KEY (tfn, n))",
        here="INSERT INTO users VALUES ('123456782', 1, 'a')",
        elsewhere="INSERT INTO users VALUES ('123456782', 1, 'b')",
    )
    report = await Checksums(db).diff(there)
    assert report.tables["users"].rows == (RowDifference(status="differs", key=("[sensitive]", "1")),)
    assert "123456782" not in repr(attrs.asdict(report))
    assert not asked


async def test_the_second_look_goes_by_the_index(both, db, there):
    """What makes the search of few differences cheap in a table that does not fit into memory."""
    await both("CREATE TABLE t (id int PRIMARY KEY, v text)")
    async with db.acquire() as connection:
        await connection.execute(
            "INSERT INTO t SELECT i, repeat('x', 300) FROM generate_series(1, 50000) i; ANALYZE t"
        )
        relation = await find_relation(connection, "t")
        bounds = await ranges.bounds_of(connection, relation, relation.key_columns[0])
        assert len(bounds) > 500
        within = ranges.conditions(relation.key_columns[0], {3, 4, 5, 700}, len(bounds))
        lines = await connection.fetch(f"EXPLAIN SELECT FROM t WHERE {within}", bounds)
    plan = "\n".join(line[0] for line in lines)
    assert re.search("Index", plan), plan
    assert "Seq Scan" not in plan


async def test_ranges_take_each_row_once_and_in_the_bucket_that_is_looked_up(connection):
    """The condition of some ranges holds for exactly the rows that width_bucket puts there."""
    await connection.execute(
        "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 500)"
    )
    [lead] = (await find_relation(connection, "t")).key_columns
    bounds = [str(bound) for bound in (20, 50, 51, 300)]
    for wanted in ([0], [4], [1, 2], [0, 4], [2, 3, 4], [0, 1, 2, 3, 4]):
        found = await connection.fetchval(
            f"SELECT array_agg(DISTINCT width_bucket(id, $1::text[]::int[])) FROM t"
            f" WHERE {ranges.conditions(lead, wanted, len(bounds))}",
            bounds,
        )
        assert sorted(found) == wanted


async def test_random_databases_are_compared_as_python_compares_them(both, db, there):
    chance = random.Random(7)
    await both("CREATE TABLE t (a text, b int, v text, PRIMARY KEY (a, b))")
    for _ in range(12):
        sides = [
            {
                (chance.choice(["", "a", "a,", '"', "Z", "é"]), chance.randrange(40)): chance.choice(
                    [None, "", "x"]
                )
                for _ in range(chance.choice([0, 60]))
            }
            for _ in range(2)
        ]
        for key in list(sides[0])[:30]:
            sides[1][key] = sides[0][key]
        for database, rows in zip((db, there), sides, strict=True):
            async with database.acquire() as connection:
                await connection.execute("TRUNCATE t")
                await connection.executemany(
                    "INSERT INTO t VALUES ($1, $2, $3)", [(*key, value) for key, value in rows.items()]
                )
        here, elsewhere = sides
        table = (await Checksums(db).diff(there)).tables["t"]
        assert {(a, int(b)) for a, b in named(table, "only here")} == here.keys() - elsewhere.keys()
        assert {(a, int(b)) for a, b in named(table, "only there")} == elsewhere.keys() - here.keys()
        assert {(a, int(b)) for a, b in named(table, "differs")} == {
            key for key in here.keys() & elsewhere.keys() if here[key] != elsewhere[key]
        }


async def test_databases_of_different_encodings_are_refused(db, server_dsn):
    owner = await asyncpg.connect(server_dsn)
    name = f"{db.server.database}_latin"
    try:
        await owner.execute(f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
        async with Database.connect(with_database(server_dsn, name), settings=Settings()) as other:
            with pytest.raises(RefusedError, match="UTF8 here and LATIN1 there"):
                await Checksums(db).diff(other)
    finally:
        await owner.execute(f'DROP DATABASE IF EXISTS "{name}"')
        await owner.close()

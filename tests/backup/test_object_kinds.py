"""Every kind of object comes back from a backup as it was, on this version and from an older one."""

from __future__ import annotations

import io
import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import pytest

from taaxdog_datamig import Database
from taaxdog_datamig.backup import choosing, tools
from taaxdog_datamig.backup import contents as reading
from taaxdog_datamig.backup.large_objects import restore_large_objects
from taaxdog_datamig.backup.loading import OpenBackup
from taaxdog_datamig.backup.parts import read_part
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import BackupError
from taaxdog_datamig.pg.quoting import qualified
from tests.backup import objects
from tests.backup.conftest import in_a_process, manager_of
from tests.backup.test_backup_format_page import read
from tests.conftest import with_database

OLDER = Path("/usr/lib/postgresql/15/bin")


async def put_back(manager, manifest, key, target, dump, views=("filled", "of_filled")):
    """Restore with PostgreSQL's own means, part by part: a reader of the format that knows no trick."""

    def stream(name):
        return b"".join(read_part(manager.store, manifest.id, manifest.parts[name], key=key))

    least = int(manifest.pg_dump_version.split(".")[0])
    dump.write_bytes(stream(manifest.schema_part))
    async with Database.connect(target) as db:
        tool = tools.find("pg_restore", max(least, db.server.version))
        into = ["--exit-on-error", f"--dbname={db.server.database}", str(dump)]
        await tools.run(tool, ["--section=pre-data", *into], target)
        async with db.acquire() as connection:

            async def load(part, table, form, columns=None, schema=None):
                async def pieces():
                    yield stream(part)

                await connection.copy_to_table(
                    table, schema_name=schema, source=pieces(), columns=columns, format=form
                )

            for table in manifest.tables:
                schema, _, name = (table.root or "").partition(".")
                into_root = (name, schema) if table.root else (table.name, table.schema)
                for part in table.parts:
                    columns = list(table.columns) or None
                    await load(part, into_root[0], table.format, columns, into_root[1])
            if manifest.large_objects is not None:
                async with connection.transaction():
                    backup = OpenBackup(store=manager.store, manifest=manifest, key=key)
                    await restore_large_objects(connection, backup)
            for state in manifest.sequences:
                await connection.execute(
                    "SELECT setval(format('%I.%I', $1::text, $2::text)::regclass, $3, $4)",
                    state.schema,
                    state.name,
                    state.last_value,
                    state.is_called,
                )
        await tools.run(tool, ["--section=post-data", *into], target)
        async with db.acquire() as connection:
            await connection.execute("SET search_path = ''")
            assert sorted(manifest.filled_views) == [f"app.{view}" for view in views]
            for view in views:
                await connection.execute(f"REFRESH MATERIALIZED VIEW app.{view}")
    return await inspect(target)


async def inspect(dsn):
    async with Database.connect(dsn) as db:
        return await objects.contents(db), await objects.catalog(dsn, 18)


@pytest.fixture(scope="module")
def round_trip(databases, tmp_path_factory):
    """The rich database, its backup, and what came of it: made once for all tests of the module."""
    source, target = databases.create(), databases.create()
    folder = tmp_path_factory.mktemp("objects")

    async def go():
        await objects.make_roles(source)
        await objects.fill(source)
        async with manager_of(source, folder) as manager:
            with pytest.MonkeyPatch.context() as patched:
                # One page: a table of several then comes in several parts, as large ones do.
                patched.setattr(reading, "PIECE", 8192)
                made = await manager.create()
            manifest, key = await manager.find(made.id)
            after = await put_back(manager, manifest, key, target, folder / "schema.dump")
            return made, manifest, await inspect(source), after

    yield source, target, folder, *anyio.run(go)
    databases.drop(source)
    databases.drop(target)


def test_every_definition_comes_back(round_trip):
    *_, (_, before), (_, after) = round_trip
    assert after.splitlines() == before.splitlines()


def test_every_row_large_object_and_sequence_comes_back(round_trip):
    *_, (before, _), (after, _) = round_trip
    different = sorted(name for name in before | after if before.get(name) != after.get(name))
    assert different == []
    assert len(before) > 35


def test_a_restore_brings_all_of_it_back(databases, round_trip):
    _, _, folder, made, _, before, _ = round_trip
    target = databases.create()

    async def go():
        # Killed on the way, so that all that follows from rows is made twice.
        async with in_a_process("restore-indexes", target, folder, made.id):
            pass
        async with manager_of(target, folder) as manager:
            await manager.restore(made.id)
        return await inspect(target)

    try:
        contents, definitions = anyio.run(go)
    finally:
        databases.drop(target)
    assert definitions.splitlines() == before[1].splitlines()
    assert sorted(name for name in before[0] if before[0][name] != contents.get(name)) == []


def test_what_a_restore_needs_or_lacks_is_said_before(round_trip):
    warnings = "\n".join(round_trip[3].warnings)
    for name in (
        "app.remote",
        "app.unlogged",
        "citext 1",
        "objects_reader",
        "event trigger stay_out",
        "publication schema_wide",
        "has_boss on app.lax",
        "app.untidy(text)",
    ):
        assert name in warnings, name
    assert "app.tidy" not in warnings, "it sets its search path"
    assert "passwords" not in warnings, "the schema is sealed"


def test_rows_travel_in_binary_unless_the_form_is_bound_to_the_database(round_trip):
    text = {table.label for table in round_trip[4].tables if table.format == "text"}
    assert text == {"app.shapes", "app.own_types", "app.names_of", "app.rights"}


def test_the_reader_of_the_format_page_gives_the_same_rows(round_trip):
    _, target, folder, made, manifest, *_ = round_trip
    assert max(len(table.parts) for table in manifest.tables) > 1

    async def go():
        connection = await asyncpg.connect(target)
        for number, table in enumerate(manifest.tables):
            rows = read(folder / made.id, table.label)
            name, columns = qualified(table.schema, table.name), list(table.columns) or None
            await connection.execute(f"CREATE TEMP TABLE read_{number} (LIKE {name} INCLUDING GENERATED)")
            await connection.copy_to_table(
                f"read_{number}", source=io.BytesIO(rows), columns=columns, format=table.format
            )
            if "events_rest" not in table.name:  # other rows here, see objects.py
                same = await connection.fetchval(
                    f"SELECT array(SELECT t::text FROM read_{number} t ORDER BY 1)"
                    f" = array(SELECT t::text FROM ONLY {name} t ORDER BY 1)"
                )
                assert same, table.label
        await connection.close()

    anyio.run(go)


EXTENSION = {
    "datamig_objects.control": "default_version = '1'\nrelocatable = false\nschema = public\n",
    "datamig_objects--1.sql": """
        CREATE TABLE rules (id serial, name text, shipped bool DEFAULT false);
        CREATE TABLE built_in (id int);
        INSERT INTO rules (name, shipped) VALUES ('shipped', true);
        INSERT INTO built_in VALUES (1);
        SELECT pg_extension_config_dump('rules', 'WHERE NOT shipped');
        SELECT pg_extension_config_dump('rules_id_seq', '');
    """,
}


def test_an_extension_brings_its_tables_and_the_backup_the_users_rows(databases, data_folder, tmp_path):
    scripts = data_folder.parent / "extension"
    scripts.mkdir(mode=0o755)
    for name, text in EXTENSION.items():
        (scripts / name).write_text(text)
    source, target = databases.create(), databases.create()

    async def go():
        for dsn in (source, target):
            connection = await asyncpg.connect(dsn)
            if connection.get_server_version().major < 18:
                pytest.skip("servers before 18 take extensions from their own folder alone")
            name = urlsplit(dsn).path.lstrip("/")
            await connection.execute(
                f"ALTER DATABASE {name} SET extension_control_path = '{scripts.parent}:$system'"
            )
            await connection.close()
        connection = await asyncpg.connect(source)
        await connection.execute("CREATE EXTENSION datamig_objects")
        await connection.execute("INSERT INTO rules (name) VALUES ('mine')")
        await connection.execute("VACUUM built_in")
        await connection.close()
        async with manager_of(source, tmp_path / "backups") as manager:
            made = await manager.create()
            manifest, key = await manager.find(made.id)
            await put_back(manager, manifest, key, target, tmp_path / "schema.dump", views=())
        connection = await asyncpg.connect(target)
        rows = await connection.fetch("SELECT id, name FROM rules ORDER BY id")
        following = await connection.fetchval("SELECT nextval('rules_id_seq')")
        await connection.close()
        return made, [tuple(row) for row in rows], following

    try:
        made, rows, following = anyio.run(go)
    finally:
        databases.drop(source)
        databases.drop(target)
    assert (rows, following) == ([(1, "shipped"), (2, "mine")], 3)
    assert set(made.tables) == {"public.rules"}
    warnings = "\n".join(made.warnings)
    assert "left to their extension: public.built_in" in warnings
    assert "are not restored: extension_control_path" in warnings


async def refused(manager, **wishes):
    before = manager.store.sizes()
    with pytest.raises(BackupError) as caught:
        await manager.create(**wishes)
    assert manager.store.sizes() == before, "something was written"
    return caught.value


@pytest.mark.parametrize(
    ("role", "what"),
    [
        ("pg_read_all_data", "row-level security would hide rows of app.guarded"),
        ("pg_monitor", "the role may not read "),
    ],
)
def test_a_role_that_does_not_see_all_rows_gets_no_backup(databases, round_trip, tmp_path, role, what):
    source = round_trip[0]

    async def go():
        connection = await asyncpg.connect(source)
        try:
            await connection.execute(f"DROP ROLE IF EXISTS objects_{role}")
            await connection.execute(f"CREATE ROLE objects_{role} LOGIN IN ROLE {role}")
        finally:
            await connection.close()
        parts = urlsplit(source)
        reader = urlunsplit(parts._replace(netloc=f"objects_{role}@{parts.netloc.rpartition('@')[2]}"))
        async with manager_of(reader, tmp_path / "refused") as manager:
            return await refused(manager)

    assert what in anyio.run(go).what


async def test_an_ordinary_role_backs_up_what_is_its_own(database, tmp_path):
    connection = await asyncpg.connect(database)
    role = "objects_ordinary"
    await connection.execute(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN")
    await connection.execute(
        f"CREATE SCHEMA own AUTHORIZATION {role}; CREATE TABLE own.referred (id int PRIMARY KEY)"
    )
    await connection.execute(
        "CREATE TABLE own.t (id serial, at int REFERENCES own.referred); CREATE SEQUENCE other"
    )
    await connection.execute(f"ALTER TABLE own.t OWNER TO {role}; ALTER TABLE own.referred OWNER TO {role}")
    await connection.execute("SELECT lo_from_bytea(0, 'x')")
    parts = urlsplit(database)
    own = urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))
    async with manager_of(own, tmp_path / "own") as manager:
        made = await manager.create(tables=["own.t"])
        manifest, _ = await manager.find(made.id)
        await connection.execute("DROP SEQUENCE other")
        whole = await refused(manager)
    await connection.close()
    assert [sequence.name for sequence in manifest.sequences] == ["t_id_seq"]
    warnings = "\n".join(made.warnings)
    assert "1 large objects are not in it" in warnings
    assert "refer to tables that are not in it: t_at_fkey on own.t" in warnings
    assert "may not read the 1 large objects" in whole.what


async def test_a_table_truncated_between_snapshot_and_lock_gives_no_backup(database, tmp_path, monkeypatch):
    """Its rows are gone for the snapshot, too: nothing must be taken for all of them."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    chosen = choosing.choose

    async def late(*given, **more):
        found = await chosen(*given, **more)
        await connection.execute("TRUNCATE t")
        return found

    monkeypatch.setattr(choosing, "choose", late)
    async with manager_of(database, tmp_path / "truncated") as manager:
        assert "public.t was truncated" in (await refused(manager)).what
    await connection.close()


@pytest.mark.skipif(not OLDER.is_dir(), reason="PostgreSQL 15 is not installed here")
@pytest.mark.timeout(180)
def test_a_backup_of_postgresql_15_comes_back_on_this_version(databases, tmp_path, monkeypatch):
    target = databases.create()

    async def go(dsn):
        await objects.make_roles(dsn)
        await objects.make_roles(target)
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE DATABASE objects TEMPLATE template0")
        await connection.close()
        source = with_database(dsn, "objects")
        await objects.fill(source)
        async with manager_of(source, tmp_path / "backups") as manager:
            made = await manager.create()
            before = await inspect(source)
        async with manager_of(target, tmp_path / "backups") as manager:
            await manager.restore(made.id)
            after = await inspect(target)
        return made, before, after

    try:
        with monkeypatch.context() as patched:
            patched.setenv(tools.OVERRIDE, str(OLDER))
            server = EmbeddedServer()
            dsn = server.start()
        try:
            made, before, after = anyio.run(go, dsn)
        finally:
            server.stop()
    finally:
        databases.drop(target)
    assert made.server_version // 10_000 == 15
    assert after[0] == before[0]
    # Newer servers name a view's columns with fewer tables before them.
    definitions = [re.sub(r"\b\w+\.(?=\w)", "", text).splitlines() for _, text in (before, after)]
    assert definitions[0] == definitions[1]

"""Every kind of object comes back from a backup as it was, on this version and from an older one."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import pytest

from taaxdog_datamig import Database
from taaxdog_datamig.backup import create as creating
from taaxdog_datamig.backup import tools
from taaxdog_datamig.backup.large_objects import restore_large_objects
from taaxdog_datamig.backup.parts import read_part
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import BackupError
from tests.backup import objects
from tests.backup.conftest import manager_of
from tests.conftest import with_database

OLDER = Path("/usr/lib/postgresql/15/bin")


async def put_back(manager, manifest, key, target, dump):
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
                    await restore_large_objects(connection, manifest.large_objects, load)
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
            for view in ("filled", "of_filled"):
                assert f"app.{view}" in manifest.filled_views
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
            made = await manager.create()
            manifest, key = await manager.find(made.id)
            after = await put_back(manager, manifest, key, target, folder / "schema.dump")
            return made, manifest, await inspect(source), after

    yield source, folder, *anyio.run(go)
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


def test_what_a_restore_needs_or_lacks_is_said_before(round_trip):
    warnings = "\n".join(round_trip[2].warnings)
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
    text = {table.label for table in round_trip[3].tables if table.format == "text"}
    assert text == {"app.shapes", "app.own_types", "app.names_of", "app.rights"}


async def refused(manager, **wishes):
    with pytest.raises(BackupError) as caught:
        await manager.create(**wishes)
    assert not list(manager.settings.backup_dir.rglob("*")), "nothing was written"
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


async def test_a_table_truncated_between_snapshot_and_lock_gives_no_backup(database, tmp_path, monkeypatch):
    """Its rows are gone for the snapshot, too: nothing must be taken for all of them."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    chosen = creating._chosen

    async def late(*given, **more):
        found = await chosen(*given, **more)
        await connection.execute("TRUNCATE t")
        return found

    monkeypatch.setattr(creating, "_chosen", late)
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
            manifest, key = await manager.find(made.id)
            after = await put_back(manager, manifest, key, target, tmp_path / "schema.dump")
        return manifest, await inspect(source), after

    try:
        with monkeypatch.context() as patched:
            patched.setenv(tools.OVERRIDE, str(OLDER))
            server = EmbeddedServer()
            dsn = server.start()
        try:
            manifest, before, after = anyio.run(go, dsn)
        finally:
            server.stop()
    finally:
        databases.drop(target)
    assert manifest.server_version // 10_000 == 15
    assert after[0] == before[0]
    # Newer servers name a view's columns with fewer tables before them.
    definitions = [re.sub(r"\b\w+\.(?=\w)", "", text).splitlines() for _, text in (before, after)]
    assert definitions[0] == definitions[1]

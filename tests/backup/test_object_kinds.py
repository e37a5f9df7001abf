"""Every kind of object comes back from a backup as it was, on this version and from an older one."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import asyncpg
import pytest

from taaxdog_datamig import Database
from taaxdog_datamig.backup import tools
from taaxdog_datamig.backup.create import create
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
        async with objects.roles(source), manager_of(source, folder) as manager:
            await objects.fill(source)
            made = await manager.create()
            manifest, key = await manager.find(made.id)
            after = await put_back(manager, manifest, key, target, folder / "schema.dump")
            return made, manifest, await inspect(source), after

    yield source, folder, *anyio.run(go)
    databases.drop(source)
    databases.drop(target)
    databases._portal.call(databases._connection.execute, f"DROP ROLE IF EXISTS {', '.join(objects.ROLES)}")


def test_every_definition_comes_back(round_trip):
    *_, (_, before), (_, after) = round_trip
    assert after.splitlines() == before.splitlines()


def test_every_row_large_object_and_sequence_comes_back(round_trip):
    *_, (before, _), (after, _) = round_trip
    different = sorted(name for name in before | after if before.get(name) != after.get(name))
    assert different == []
    assert len(before) > 50


@pytest.mark.skipif(not OLDER.is_dir(), reason="PostgreSQL 15 is not installed here")
@pytest.mark.timeout(180)
def test_a_backup_of_postgresql_15_comes_back_on_this_version(databases, tmp_path, monkeypatch):
    target = databases.create()

    async def go(dsn):
        async with objects.roles(dsn), objects.roles(target):
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
    assert after[1].splitlines() == before[1].splitlines()

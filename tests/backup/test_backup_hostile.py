"""Backups in a bad world: a hostile manifest, a full disk, DDL, cut connections and kills meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import anyio
import asyncpg
import orjson
import pytest
import zstandard

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup import BackupManager, Policy
from taaxdog_datamig.backup.cleaning import judge
from taaxdog_datamig.backup.manifest import NAME
from taaxdog_datamig.crypto import document
from taaxdog_datamig.crypto.chunked import CHUNK, HEADER
from taaxdog_datamig.errors import BackupError, DatabaseError, DatamigError
from tests.backup.conftest import in_a_process, manager_of, settings_of

ROWS = 40_000
#: Some 30 MB that hardly compress, so that a backup of it takes a while.
TABLE = f"""
CREATE TABLE filled (id int PRIMARY KEY, noise text);
INSERT INTO filled SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 24) AS j)
FROM generate_series(1, {ROWS}) AS i
"""


@pytest.fixture
async def filled(database):
    connection = await asyncpg.connect(database)
    await connection.execute(TABLE)
    await connection.close()
    return database


async def test_parts_that_changed_places_between_backups_are_found(pristine, tmp_path):
    async with manager_of(pristine, tmp_path) as manager:
        first, second = [await manager.create(tables=["users"]) for _ in range(2)]
        name = next(iter((await manager.find(first.id))[0].parts))
        here, there = (tmp_path / made.id / name for made in (first, second))
        content = here.read_bytes()
        here.write_bytes(there.read_bytes())
        there.write_bytes(content)
        for made in (first, second):
            with pytest.raises(BackupError, match=name):
                await manager.verify(made.id)


@pytest.mark.parametrize("off", [-1, 0, 1])
@pytest.mark.parametrize("chunks", [0, 1, 2])
async def test_a_part_cut_at_and_beside_a_chunks_end_is_found(copied, looking, chunks, off):
    manifest, folder = copied
    part = max(manifest.parts.values(), key=lambda part: part.size)
    keep = HEADER + chunks * (CHUNK + 16) + off
    assert keep < part.size
    os.truncate(folder / manifest.id / part.name, keep)
    with pytest.raises(BackupError, match=part.name):
        await looking().verify(manifest.id)


@pytest.fixture
async def unsealed(pristine, tmp_path):
    """A manager, a backup that no key protects, and what writes its manifest anew."""
    async with manager_of(pristine, tmp_path / "backups") as manager:
        made = await manager.create(tables=["users", "goals"], encrypt=False)

    path = tmp_path / "backups" / made.id / NAME

    def rewrite(change):
        body = orjson.loads(path.read_bytes())
        del body["checksum"]
        change(body)
        path.write_bytes(document.encode(body, document.unkeyed))

    return BackupManager(None, settings_of("postgresql://nowhere", tmp_path / "backups")), made, rewrite


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "data/../../../secret", "data//x", "", "a\\b", "."]
)
async def test_a_manifest_that_names_what_is_outside_is_refused_and_nothing_outside_is_touched(
    unsealed, tmp_path, name
):
    manager, made, rewrite = unsealed
    secret = tmp_path / "secret"
    secret.write_text("outside")

    def change(body):
        old = body["parts"][0]["name"]
        body["parts"][0]["name"] = name
        for table in body["tables"]:
            table["parts"] = [name if part == old else part for part in table["parts"]]
        body["schema_part"] = name if body["schema_part"] == old else body["schema_part"]

    rewrite(change)
    with pytest.raises(BackupError, match=r"manifest\.json is damaged or was changed"):
        await manager.verify(made.id)
    assert [record.state for record in await manager.list()] == ["damaged"]
    manager.shelf.delete(made.id)
    assert secret.read_text() == "outside"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", -1),
        ("size", "9"),
        ("plain_size", 1.5),
        ("rows", 10**30),
        ("rows", None),
        ("plain_size", True),
    ],
)
async def test_a_manifest_with_numbers_that_are_none_is_refused(unsealed, field, value):
    manager, made, rewrite = unsealed

    def change(body):
        body["parts"][0][field] = float(value) if value == 10**30 else value

    rewrite(change)
    with pytest.raises(BackupError, match=r"manifest\.json is damaged or was changed"):
        await manager.show(made.id)


@pytest.mark.parametrize("said", [1_000, 10**15])
async def test_a_part_that_unpacks_to_far_more_than_it_says_is_stopped_at_that(unsealed, tmp_path, said):
    manager, made, rewrite = unsealed
    part = next(iter((await manager.find(made.id))[0].parts))
    bomb = zstandard.ZstdCompressor(level=3).compress(bytes(600 << 20))
    (tmp_path / "backups" / made.id / part).write_bytes(bomb)

    def change(body):
        body["parts"][0] |= {"size": len(bomb), "plain_size": said}

    rewrite(change)
    script = """
import asyncio, resource, sys
from pathlib import Path
from taaxdog_datamig import Settings
from taaxdog_datamig.backup import BackupManager
from taaxdog_datamig.errors import BackupError
manager = BackupManager(None, Settings(backup_dir=Path(sys.argv[1])))
try:
    asyncio.run(manager.verify(sys.argv[2]))
except BackupError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "backups"), made.id]
    done = await anyio.run_process(command)
    assert int(done.stdout) < 250


@pytest.fixture
def tiny(tmp_path):
    """A disk of four megabytes."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
    if sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_disk_that_fills_up_is_named_and_the_good_backup_stays(filled, tiny):
    async with manager_of(filled, tiny) as manager:
        good = await manager.create(exclude=["filled"])
        with pytest.raises(BackupError, match="No space left on device"):
            await manager.create()
        assert (await manager.verify(good.id)).verified is not None
        assert [record.state for record in await manager.list()].count("complete") == 1
        async with manager.db.acquire() as connection:
            assert await connection.fetchval("SELECT count(*) FROM filled") == ROWS


async def test_a_folder_that_cannot_be_written_is_named(pristine, tmp_path):
    (tmp_path / "file").write_text("")
    async with manager_of(pristine, tmp_path / "file" / "backups") as manager:
        with pytest.raises(BackupError, match="file/backups"):
            await manager.create(tables=["goals"])


async def test_two_backups_at_once_are_both_whole(filled, tmp_path):
    async with manager_of(filled, tmp_path) as one, manager_of(filled, tmp_path) as other:
        made = await asyncio.gather(one.create(), other.create())
        for each in made:
            assert (await one.verify(each.id)).tables["public.filled"].rows == ROWS


async def test_a_table_that_may_not_be_read_or_only_in_part_is_named(database, tmp_path):
    role = f"reader_{os.urandom(4).hex()}"
    connection = await asyncpg.connect(database)
    await connection.execute(f"""
        CREATE TABLE open_to_all (id int); CREATE TABLE closed (id int);
        CREATE ROLE {role} LOGIN; GRANT SELECT ON open_to_all TO {role}
    """)
    try:
        async with _as(database, tmp_path, role) as manager:
            with pytest.raises(BackupError, match=r"may not read public\.closed.*GRANT SELECT"):
                await manager.create()
            await connection.execute(
                f"GRANT SELECT ON closed TO {role}; ALTER TABLE closed ENABLE ROW LEVEL SECURITY"
            )
            with pytest.raises(DatamigError, match="closed"):
                await manager.create()
            assert await manager.list() == [] or {r.state for r in await manager.list()} == {"incomplete"}
    finally:
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()


@contextlib.asynccontextmanager
async def _as(dsn, folder, role):
    """A manager whose connections act as that role."""
    async with manager_of(dsn + ("&" if "?" in dsn else "?") + f"options=-crole%3D{role}", folder) as manager:
        yield manager


@pytest.mark.parametrize("ddl", ["ALTER TABLE filled ADD new int", "DROP TABLE filled", "TRUNCATE filled"])
async def test_ddl_meanwhile_waits_or_is_an_error_and_never_an_empty_table(filled, tmp_path, ddl):
    connection = await asyncpg.connect(filled)
    changing = None

    def meanwhile(label, rows):
        nonlocal changing
        changing = changing or asyncio.ensure_future(connection.execute(ddl))

    await connection.execute("CREATE TABLE big AS SELECT filled.* FROM filled, generate_series(1, 2)")
    async with manager_of(filled, tmp_path) as manager:
        made = await manager.create(jobs=1, progress=meanwhile)
        assert changing is not None
        assert made.tables["public.filled"].rows == ROWS
        assert (await manager.verify(made.id)).verified is not None
    await changing
    await connection.close()


async def test_a_table_that_somebody_holds_is_an_error_that_says_so(filled, tmp_path, monkeypatch):
    monkeypatch.setattr("taaxdog_datamig.backup.create._SETTLED", "SET LOCAL lock_timeout = '100ms'")
    connection = await asyncpg.connect(filled)
    async with manager_of(filled, tmp_path) as manager, connection.transaction():
        await connection.execute("ALTER TABLE filled ADD new int")
        with pytest.raises(BackupError, match="is being altered, dropped or truncated by another session"):
            await manager.create()
    await connection.close()


async def test_a_connection_that_is_cut_in_the_middle_is_an_error_and_leaves_no_backup(filled, tmp_path):
    connection = await asyncpg.connect(filled)
    cut = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE query LIKE 'COPY%' AND pid <> pg_backend_pid() AND datname = current_database()
    """

    async def cutter():
        while not await connection.fetch(cut):
            await asyncio.sleep(0.005)

    async with manager_of(filled, tmp_path) as manager:
        cutting = asyncio.ensure_future(cutter())
        with pytest.raises(DatabaseError):
            await manager.create(jobs=1)
        await cutting
        assert {record.state for record in await manager.list()} <= {"incomplete"}
    await connection.close()


@pytest.mark.parametrize("point", failpoints.CREATING)
async def test_after_a_kill_the_rest_is_incomplete_and_goes_after_a_day(database, tmp_path, point):
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000)")
    await connection.close()
    async with manager_of(database, tmp_path) as manager:
        good = await manager.create()
        async with in_a_process(point, database, tmp_path):
            pass
        # Both may be of the same second.
        records = sorted(await manager.list(), key=lambda record: record.state, reverse=True)
        begun = [] if point == "create-snapshot" else ["incomplete"]
        assert [record.state for record in records] == [*begun, "complete"]
        assert (await manager.verify("latest")).id == good.id
        later = datetime.now(UTC) + timedelta(days=1, minutes=1)
        verdicts = judge(records, Policy(keep=1), later, ())
        assert [verdict.goes for verdict in verdicts] == [True, False][-len(records) :]
        for record in records[:-1]:
            manager.shelf.delete(record.id)
        assert [path.name for path in tmp_path.iterdir()] == [good.id]
        assert (await manager.verify((await manager.create()).id)).rows == 1000


async def test_a_backup_whose_parts_are_taken_away_meanwhile_is_none(database, tmp_path):
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    await connection.close()

    def taken(label, rows):
        next(tmp_path.rglob("data/*.zst*")).unlink()

    async with manager_of(database, tmp_path) as manager:
        with pytest.raises(BackupError, match=r"part data/.* is no more in .*make the backup again"):
            await manager.create(progress=taken)
        assert "complete" not in [record.state for record in await manager.list()]

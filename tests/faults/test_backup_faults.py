"""Backups when the server dies, is full, or cannot be reached: an error that says so, and nothing lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup import BackupManager
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import BackupError, DatabaseError, DatabaseUnavailable, ServerRefused
from taaxdog_datamig.testing.proxy import Cut, Proxy
from tests.backup.conftest import manager_of
from tests.backup.test_restore_empty import ODD
from tests.conftest import with_database
from tests.sample import rows, script, state

#: Hardly compressible rows, some 8 MB.
FILLED = """
CREATE TABLE filled (id int PRIMARY KEY, noise text);
INSERT INTO filled SELECT i, (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 24) AS j)
FROM generate_series(1, 10000) AS i;
CREATE INDEX ON filled (noise);
"""
HALF = "start the same restore again, it goes on where it stopped"


def fixed(found: dict[str, object]) -> dict[str, object]:
    """What is the same in any database: where a row of a table hashed by an enum lies is not."""
    return {table: sums for table, sums in found.items() if not table.startswith("moods_")}


async def new_database(server: EmbeddedServer, name: str, how: str = "") -> str:
    await script(server.dsn, f"CREATE DATABASE {name} TEMPLATE template0 {how}")
    return with_database(server.dsn, name)


async def good_backup(manager: BackupManager, backup: str) -> None:
    """That backup is whole, and is the only one."""
    assert (await manager.verify("latest")).id == backup
    assert [r.id for r in await manager.list() if r.state != "incomplete"] == [backup]


async def test_a_server_that_crashes_leaves_good_backups_and_restores_that_go_on(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, target = [await new_database(server, name) for name in ("source", "target")]
    await script(source, ODD + "ALTER TABLE seen ADD PRIMARY KEY (id)")
    before = await state(source)

    def crash_at(point: str) -> None:
        def hit(name: str) -> None:
            if name == point:
                monkeypatch.undo()
                server.crash()

        monkeypatch.setattr(failpoints, "hit", hit)

    async def crashing(dsn: str, backup: str | None) -> DatabaseError | BackupError:
        async with manager_of(dsn, tmp_path) as manager:
            with pytest.raises((DatabaseError, BackupError)) as caught:
                await (manager.create() if backup is None else manager.restore(backup))
        await asyncio.to_thread(server.start)
        return caught.value

    async with manager_of(source, tmp_path) as manager:
        good = (await manager.create()).id
    for point in ("create-snapshot", "create-part"):
        crash_at(point)
        await crashing(source, None)
        async with manager_of(source, tmp_path) as manager:
            await good_backup(manager, good)
    for point in failpoints.RESTORING[:-1]:
        crash_at(point)
        assert HALF in (await crashing(target, good)).todo, point
    async with manager_of(target, tmp_path) as manager:
        assert (await manager.restore(good)).resumed_parts > 0
    assert fixed(await state(target)) == fixed(before)
    await script(source, 'UPDATE "Odd ""things" SET doc = NULL')
    changed = await state(source)
    for point in failpoints.CONVERGING:
        crash_at(point)
        assert isinstance(await crashing(source, good), DatabaseUnavailable)
        # What sessions that died had staged is the server's to take away, which it does when it starts.
        for _ in range(100):
            if not await rows(
                source, "SELECT FROM pg_class WHERE relnamespace::regnamespace::text ~ '^pg_temp'"
            ):
                break
            await asyncio.sleep(0.1)
        assert await state(source) == changed
    async with manager_of(source, tmp_path) as manager:
        await manager.restore(good)
    assert await state(source) == before


async def test_a_servers_full_disk_stops_a_restore_which_goes_on_when_there_is_room(
    server: EmbeddedServer, disk: Callable[[int], Path], tmp_path: Path
):
    source = await new_database(server, "source")
    await script(source, FILLED)
    before = await state(source)
    async with manager_of(source, tmp_path) as manager:
        good = (await manager.create()).id
    await script(server.dsn, f"CREATE TABLESPACE tiny LOCATION '{disk(9)}'")
    target = await new_database(server, "target", "TABLESPACE tiny")
    refusals: list[ServerRefused | BackupError] = []
    for size in itertools.count(9, 4):
        disk(size)
        async with manager_of(target, tmp_path) as manager:
            try:
                await manager.restore(good)
                break
            except (ServerRefused, BackupError) as error:
                refusals.append(error)
    assert all("disk is full" in error.what or "No space left" in error.what for error in refusals)
    assert all(HALF in error.todo for error in refusals)
    # While rows came, and while an index was built by pg_restore.
    assert {type(error) for error in refusals} == {ServerRefused, BackupError}
    assert await state(target) == before
    await script(target, "DELETE FROM filled WHERE id < 100")
    changed = await state(target)
    async with manager_of(target, tmp_path) as manager:
        with pytest.raises(ServerRefused, match=r"disk is full.*Free space"):
            await manager.restore(good)
        assert await state(target) == changed
        disk(100)
        await manager.restore(good)
    assert await state(target) == before


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_connection_may_be_cut_at_any_word_of_a_backup_and_a_restore(
    database: str, database_from: Callable[[str], str], tmp_path: Path, side: str
):
    await cut_at_every(database, database_from, tmp_path, side, steps=(90, 90, 30))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_connection_may_be_cut_at_every_word_of_a_backup_and_a_restore(
    database: str, database_from: Callable[[str], str], tmp_path: Path, side: str
):
    await cut_at_every(database, database_from, tmp_path, side, steps=(3, 3, 1))


async def cut(dsn: str, folder: Path, side: str, nth: int, backup: str | None) -> tuple[bool, bool]:
    """Make or restore a backup with one cut: whether it happened, and whether it was noticed."""
    async with Proxy(dsn) as proxy, manager_of(proxy.dsn(dsn), folder) as manager:
        proxy.cut = Cut(side, b"", nth, arrives=False)
        try:
            made = await (manager.create() if backup is None else manager.restore(backup))
        except (DatabaseError, BackupError):
            return proxy.cut.done, True
        if backup is None:
            await manager.verify(made.id)
            manager.shelf.delete(made.id)
        return proxy.cut.done, False


async def cut_at_every(
    source: str,
    database_from: Callable[[str], str],
    folder: Path,
    side: str,
    steps: tuple[int, int, int],
) -> None:
    """Cut where one side says anything, at each so manieth time, in a backup and both kinds of restore."""
    await script(source, ODD + "ALTER TABLE seen ADD PRIMARY KEY (id)")
    before = await state(source)
    async with manager_of(source, folder) as manager:
        good = (await manager.create()).id
    nth = 1
    while (await cut(source, folder, side, nth, None))[0]:
        async with manager_of(source, folder) as manager:
            await good_backup(manager, good)
        nth += steps[0]
    assert nth > steps[0]
    nth, struck = 2, True
    while struck:
        target = database_from("template0")
        struck, noticed = await cut(target, folder, side, nth, good)
        if noticed:
            async with manager_of(target, folder) as manager:
                await manager.restore(good)
        assert fixed(await state(target)) == fixed(before)
        nth += steps[1]
    assert nth > 3 * steps[1]
    nth, struck = 3, True
    while struck:
        await script(source, 'UPDATE "Odd ""things" SET doc = NULL')
        changed = await state(source)
        struck, noticed = await cut(source, folder, side, nth, good)
        assert await state(source) in ([changed, before] if noticed else [before])
        nth += steps[2]
    assert nth > 3 * steps[2]

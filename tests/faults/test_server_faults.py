"""The server dies or has no room: the run waits and goes on, or stops where it can be resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from shouting import WIDEN, Shout, assert_original, assert_shouted, fill, runner_on, settings_for

from taaxdog_datamig import Database, EventBus, Registry, Runner, RunOptions
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import DatabaseUnavailable, ServerRefused
from taaxdog_datamig.events import ChunkDone
from taaxdog_datamig.testing import FAULTS, assert_crash_safe, temporary_database

OPTIONS = RunOptions(batch_size=5, max_quarantine=100)


def at_chunk(number: int, action) -> EventBus:
    """A bus that calls `action` when the chunk of that number has been committed."""
    bus, seen = EventBus(), 0

    def on_event(event: object) -> None:
        nonlocal seen
        if isinstance(event, ChunkDone):
            seen += 1
            if seen == number:
                action()

    bus.subscribe(on_event)
    return bus


async def test_a_migration_of_ones_own_meets_every_fault(server: EmbeddedServer):
    async with temporary_database(server=server.dsn) as url:
        await fill(url)
        report = await assert_crash_safe(
            Shout,
            url,
            points=(),
            random_kills=0,
            faults=FAULTS,
            server=server,
            batch_size=5,
            max_quarantine=100,
        )
    assert report.faults == tuple(FAULTS)


async def test_a_run_waits_for_a_server_that_crashed(server: EmbeddedServer):
    """Chunks are committed without waiting for the disk: what the crash takes away is done again."""
    await fill(server.dsn)
    restart: list[asyncio.Task[str]] = []

    async def start_later() -> str:
        await asyncio.sleep(0.5)  # long enough to be noticed
        return await asyncio.to_thread(server.start)

    def crash() -> None:
        server.crash()
        restart.append(asyncio.create_task(start_later()))

    async with Database.connect(server.dsn, settings=settings_for(server.dsn)) as db:
        bus = at_chunk(4, crash)
        report = await Runner(db, events=bus, registry=Registry({"shout": Shout})).run("shout", OPTIONS)
        assert report.status == "succeeded"
        await restart[0]
        await assert_shouted(server.dsn)
        bus = at_chunk(4, crash)
        await Runner(db, events=bus, registry=Registry({"shout": Shout})).rollback("shout")
        await restart[1]
    await assert_original(server.dsn)


async def test_a_run_whose_server_stays_away_can_be_resumed(server: EmbeddedServer):
    await fill(server.dsn)
    settings = settings_for(server.dsn, outage_patience=0.5)
    async with Database.connect(server.dsn, settings=settings) as db:
        runner = Runner(db, events=at_chunk(3, server.crash), registry=Registry({"shout": Shout}))
        with pytest.raises(DatabaseUnavailable, match="start the same"):
            await runner.run("shout", OPTIONS)
    await asyncio.to_thread(server.start)
    async with Database.connect(server.dsn, settings=settings) as db:
        report = await runner_on(db).run("shout", OPTIONS)
    assert report.resumed
    await assert_shouted(server.dsn)


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id = 33 AND NEW.word LIKE '%!' THEN
        RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER full_disk BEFORE UPDATE ON words FOR EACH ROW EXECUTE FUNCTION full_disk();
"""


async def test_a_full_disk_pauses_the_run_with_what_to_do(words: str):
    """Simulated: a trigger raises the server's error. Nothing is rolled back for it, nothing quarantined."""
    connection = await asyncpg.connect(words)
    await connection.execute(FULL)
    async with Database.connect(words, settings=settings_for(words)) as db:
        runner = runner_on(db)
        with pytest.raises(ServerRefused, match=r"disk is full.*Free space") as caught:
            await runner.run("shout", OPTIONS)
        assert "word000" not in str(caught.value)
        (run,) = await runner.status()
        assert run.status == "paused"
        assert not run.alive
        assert run.affected_rows > 0
        await connection.execute("DROP TRIGGER full_disk ON words")
        await connection.close()
        report = await runner.run("shout", OPTIONS)
    assert report.resumed
    await assert_shouted(words)


async def test_a_disk_that_is_really_full_pauses_the_run(server: EmbeddedServer, disk: Callable[[int], Path]):
    """The table lies on a disk of 2 MiB that the application fills; more room, and the run goes on."""
    await fill(server.dsn)
    connection = await asyncpg.connect(server.dsn)
    await connection.execute(WIDEN.do)
    await connection.execute(f"CREATE TABLESPACE tiny LOCATION '{disk(2)}'")
    await connection.execute("ALTER TABLE words SET TABLESPACE tiny")
    await connection.execute("ALTER TABLE words ADD filler text")
    # Full pages: each change needs a new one.
    await connection.execute("ALTER TABLE words ALTER filler SET STORAGE PLAIN")
    await connection.execute("UPDATE words SET filler = repeat('x', 7500)")
    await connection.execute("CREATE TABLE rest (filler text) TABLESPACE tiny")
    for size in (100_000, 8_000):
        try:
            while True:
                await connection.execute(
                    "INSERT INTO rest SELECT repeat(md5(i::text), 200) FROM generate_series(1, $1) AS i",
                    size // 6_400,
                )
        except asyncpg.DiskFullError:
            pass
    async with Database.connect(server.dsn, settings=settings_for(server.dsn)) as db:
        runner = runner_on(db)
        with pytest.raises(ServerRefused, match="disk is full"):
            await runner.run("shout", OPTIONS)
        (run,) = await runner.status()
        assert run.status == "paused"
        await connection.execute("DROP TABLE rest")
        await connection.execute("CHECKPOINT")
        await connection.close()
        report = await runner.run("shout", OPTIONS)
    assert report.resumed
    await assert_shouted(server.dsn)

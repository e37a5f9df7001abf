"""Locks of the application, deadlocks, ended sessions, a second runner: nobody waits long, nothing lost."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest
from shouting import (
    ROWS,
    WIDEN,
    Shout,
    assert_ledger,
    assert_shouted,
    fetch,
    runner_on,
    settings_for,
    shouted,
    word,
)

from taaxdog_datamig import Database, EventBus, Registry, Runner, RunOptions
from taaxdog_datamig.errors import LeaseLost
from taaxdog_datamig.events import ChunkDone, Waiting

OPTIONS = RunOptions(batch_size=10, max_quarantine=100)


async def until(condition, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.02)
    return found


async def changed(dsn: str, at_least: int) -> bool:
    if not (await fetch(dsn, "SELECT to_regclass('datamig.chunks') IS NOT NULL AS there"))[0]["there"]:
        return False
    (row,) = await fetch(dsn, "SELECT coalesce(sum(changed), 0) AS rows FROM datamig.chunks")
    return row["rows"] >= at_least


@pytest.fixture
async def application(words: str):
    connection = await asyncpg.connect(words)
    # Wide already: a table's definition cannot be changed while somebody uses it.
    await connection.execute(WIDEN.do)
    yield connection
    await connection.close()


async def test_rows_that_the_application_holds_are_stepped_around_and_done_afterwards(
    words: str, application: asyncpg.Connection
):
    """All other rows are done while the lock lasts, in tens of milliseconds, not in seconds."""
    held = application.transaction()
    await held.start()
    await application.execute("UPDATE words SET word = 'wordnew' WHERE id = 13")
    async with Database.connect(words, settings=settings_for(words)) as db:
        run = asyncio.create_task(runner_on(db).run("shout", OPTIONS))
        waiting = [i for i in range(ROWS) if i % 10 > 2 and i != 13]
        await until(lambda: changed(words, len(waiting)))
        assert not run.done()
        # Meanwhile the application gets at every other row.
        await asyncio.wait_for(
            application.execute("UPDATE words SET seen = seen + 1 WHERE id <> 13"), timeout=5
        )
        await held.commit()
        report = await run
    assert report.status == "succeeded"
    assert report.conflicts >= 1
    expected = {i: shouted("wordnew" if i == 13 else word(i)) for i in range(ROWS)}
    assert dict(await fetch(words, "SELECT id, word FROM words")) == expected
    await assert_ledger(words, "succeeded")


async def test_the_application_never_waits_longer_than_the_lock_timeout_for_a_chunk_that_waits(
    words: str, application: asyncpg.Connection
):
    """A chunk that waits for one row holds the others no longer than `lock_timeout`."""
    held = application.transaction()
    await held.start()
    await application.execute("SELECT FROM words WHERE id = 19 FOR UPDATE")
    longest = 0.0
    other = await asyncpg.connect(words)
    settings = settings_for(words, lock_timeout=0.3)
    async with Database.connect(words, settings=settings) as db:
        run = asyncio.create_task(runner_on(db).run("shout", OPTIONS))
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and not await changed(words, ROWS * 7 // 10 - 1):
            began = time.monotonic()
            await other.execute("UPDATE words SET seen = seen + 1 WHERE id BETWEEN 13 AND 18")
            longest = max(longest, time.monotonic() - began)
        await held.rollback()
        await run
    await other.close()
    assert longest < 0.3 + 0.5, "the chunk's own time is the rest"
    await assert_shouted(words)


async def test_a_deadlock_with_the_application_is_never_the_applications_loss(
    words: str, application: asyncpg.Connection
):
    """It locks rows against the order of the run, again and again; the run gives way."""
    stop = False
    rounds = 0

    async def against() -> None:
        nonlocal rounds
        while not stop:
            async with application.transaction():
                for key in (59, 43, 28, 13, 3):
                    await application.execute("UPDATE words SET seen = seen + 1 WHERE id = $1", key)
                    await asyncio.sleep(0.01)
            rounds += 1

    app = asyncio.create_task(against())
    async with Database.connect(words, settings=settings_for(words, lock_timeout=0.1)) as db:
        await runner_on(db).run("shout", RunOptions(batch_size=50, max_quarantine=100))
    stop = True
    await app  # raises what the application got
    assert rounds
    await assert_shouted(words)


async def test_a_terminated_backend_is_only_a_lost_connection(words: str, application: asyncpg.Connection):
    """A DBA ends each of the run's sessions, several times."""
    bus, ended = EventBus(), 0

    def on_event(event: object) -> None:
        nonlocal ended
        if isinstance(event, ChunkDone) and ended < 3:
            ended += 1
            tasks.append(
                asyncio.create_task(
                    application.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                )
            )

    tasks: list[asyncio.Task[str]] = []
    bus.subscribe(on_event)
    async with Database.connect(words, settings=settings_for(words)) as db:
        runner = Runner(db, events=bus, registry=Registry({"shout": Shout}))
        report = await runner.run("shout", OPTIONS)
    await asyncio.gather(*tasks)
    assert report.status == "succeeded"
    assert ended == 3
    await assert_shouted(words)


async def test_who_lost_the_lease_commits_nothing_more(words: str, application: asyncpg.Connection):
    """Another process has taken the run over: its epoch is higher, whatever the first one believes."""
    bus, counts = EventBus(), []
    stolen = asyncio.Event()

    def on_event(event: object) -> None:
        if isinstance(event, ChunkDone):
            counts.append(event.changed)
            if len(counts) == 2:
                tasks.append(asyncio.create_task(steal()))

    async def steal() -> None:
        await application.execute("UPDATE datamig.leases SET epoch = epoch + 1")
        stolen.set()

    tasks: list[asyncio.Task[None]] = []
    bus.subscribe(on_event)
    async with Database.connect(words, settings=settings_for(words)) as db:
        runner = Runner(db, events=bus, registry=Registry({"shout": Shout}))
        with pytest.raises(LeaseLost):
            await runner.run("shout", RunOptions(batch_size=1, max_quarantine=100))
        assert stolen.is_set()
        (before,) = await fetch(words, "SELECT max(id), max(epoch) FROM datamig.chunks")
        (lease,) = await fetch(words, "SELECT epoch FROM datamig.leases")
        assert before[1] < lease["epoch"]
        (run,) = await runner.status()
        assert run.status == "running", "not its to pause"
        await application.execute("UPDATE datamig.runs SET lease_expires = now()")
        # Nor had it rolled anything back. The next run goes on.
        report = await runner.run("shout", OPTIONS)
    assert report.resumed
    await assert_shouted(words)


async def test_of_two_runners_that_work_at_once_one_is_fenced_off(words: str):
    """The first one's signs of life stop (its lease is made to look expired); the second takes over."""
    first_bus, second = EventBus(), []

    def on_event(event: object) -> None:
        if isinstance(event, ChunkDone) and not second:
            second.append(asyncio.create_task(take_over()))

    async def take_over():
        await fetch(words, "UPDATE datamig.runs SET lease_expires = now() - interval '1 s'")
        async with Database.connect(words, settings=settings_for(words)) as db:
            return await runner_on(db).run("shout", OPTIONS)

    first_bus.subscribe(on_event)
    async with Database.connect(words, settings=settings_for(words)) as db:
        runner = Runner(db, events=first_bus, registry=Registry({"shout": Shout}))
        with pytest.raises(LeaseLost):
            await runner.run("shout", RunOptions(batch_size=1, max_quarantine=100))
    report = await second[0]
    assert report.resumed
    await assert_shouted(words)


async def test_an_application_that_never_lets_go_ends_the_run_resumable(
    words: str, application: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
):
    """After its closing sweeps the run is paused; once the lock is gone it can be finished."""
    monkeypatch.setattr("taaxdog_datamig.engine.sweeps.MAX_SWEEPS", 3)
    held = application.transaction()
    await held.start()
    await application.execute("SELECT FROM words WHERE id = 13 FOR UPDATE")
    waits: list[str] = []
    bus = EventBus()
    bus.subscribe(lambda event: waits.append(event.reason) if isinstance(event, Waiting) else None)
    async with Database.connect(words, settings=settings_for(words, lock_timeout=0.05)) as db:
        runner = Runner(db, events=bus, registry=Registry({"shout": Shout}))
        for _ in range(2):  # the second one gets its own sweeps
            with pytest.raises(Exception, match="pending again"):
                await runner.run("shout", OPTIONS)
            (run,) = await runner.status()
            assert run.status == "paused"
            assert not run.alive
        assert any("locks" in reason for reason in waits)
        await held.rollback()
        report = await runner.run("shout", OPTIONS)
    assert report.resumed
    await assert_shouted(words)

"""A run waits while the server is under pressure, says why, hears requests meanwhile, and fails closed."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from functools import partial

import anyio
import asyncpg
import attrs
import pytest
from shouting import ROWS, WIDEN, Shout, assert_original, assert_shouted, fetch, settings_for, word
from test_locks import changed, until

from taaxdog_datamig import Database, EventBus, Registry, Runner, RunOptions
from taaxdog_datamig.engine.gate import Gate, Seats
from taaxdog_datamig.errors import RunCancelled, RunPaused, SettingsError, UsageError
from taaxdog_datamig.events import ChunkDone, Waiting, WorkersSet
from taaxdog_datamig.limits import limits
from taaxdog_datamig.pressure import CommitClock, choice, signals_of
from taaxdog_datamig.throttle import WorkerCount

OPTIONS = RunOptions(batch_size=10, max_quarantine=100, skip_validation=True)


@contextlib.asynccontextmanager
async def runner_with(dsn, *seen, connections=24, **changed):
    """A runner whose events go to `seen`, with so many connections."""
    bus = EventBus()
    for each in seen:
        bus.subscribe(each)
    settings = settings_for(dsn, **changed)
    async with Database.connect(dsn, settings=settings, max_connections=connections) as db:
        yield Runner(db, events=bus, registry=Registry({"shout": Shout}))


async def why(dsn):
    """What the run waits for, as another terminal sees it."""
    if not (await fetch(dsn, "SELECT to_regclass('datamig.runs') IS NOT NULL AS there"))[0]["there"]:
        return None
    rows = await fetch(dsn, "SELECT waiting FROM datamig.runs")
    return rows[0]["waiting"] if rows else None


async def test_a_flag_file_stops_each_chunk_and_pause_resume_and_cancel_are_heeded_meanwhile(words, tmp_path):
    flag, events = tmp_path / "stop", []
    flag.touch()
    options = RunOptions(batch_size=10, max_quarantine=100, skip_validation=True, workers=2)
    async with runner_with(words, events.append, pressure={"flag_file": str(flag)}) as runner:
        for ask, ending in ((runner.pause, RunPaused), (runner.cancel, RunCancelled)):
            events.clear()
            run = asyncio.create_task(runner.run("shout", options))
            assert f"the file {flag} is there" in await until(lambda: why(words))
            assert dict(await fetch(words, "SELECT id, word FROM words")) == {i: word(i) for i in range(ROWS)}
            waits = [event for event in events if isinstance(event, Waiting)]
            assert len(waits) == 1, "told once, not at every look"
            began = time.monotonic()
            await ask("shout")
            with pytest.raises(ending):
                await run
            took = time.monotonic() - began
            assert took < 10, "seen while it waits: in a third of a second on a quiet machine"
    await assert_original(words)


async def test_what_cannot_be_read_holds_the_run_and_pauses_it_with_what_to_do(words):
    broken = {"sql": "SELECT load FROM nowhere", "patience": "300 ms"}
    seen = []
    async with runner_with(words, seen.append, pressure=broken) as runner:
        with pytest.raises(RunPaused, match=r"sql could not be read .* UndefinedTable .*42P01") as caught:
            await runner.run("shout", OPTIONS)
        assert "sql = false under [pressure]" in caught.value.todo
        assert not any(isinstance(event, ChunkDone) for event in seen)
        (record,) = await runner.status()
        assert (record.status, record.affected_rows, record.waiting) == ("paused", 0, None)
        assert "pressure signal sql" in record.error
    async with runner_with(words, pressure={"sql": "SELECT false"}) as runner:
        await runner.resume("shout", OPTIONS)
    await assert_shouted(words)


async def test_pressure_that_lasts_too_long_pauses_a_dry_run_too(words):
    async with runner_with(words, pressure={"sql": "SELECT 1", "longest_wait": 0.2}) as runner:
        for options in (RunOptions(dry_run=True, skip_validation=True), OPTIONS):
            with pytest.raises(RunPaused, match=r"under pressure for .*pressure.sql says so"):
                await runner.run("shout", options)


async def test_a_function_that_is_not_there_is_refused_before_anything_is_recorded(words):
    async with runner_with(words, pressure={"function": "nowhere_at_all:busy"}) as runner:
        with pytest.raises(SettingsError, match="nowhere_at_all"):
            await runner.run("shout", OPTIONS)
        assert await runner.status() == []


async def test_a_session_that_waits_behind_us_goes_first(words):
    """The next chunk does not begin before it has what it waited for."""
    application = await asyncpg.connect(words)
    # Wide already: a table's definition cannot be changed while somebody uses it.
    await application.execute(WIDEN.do)
    async with runner_with(words, pressure={"lock_wait": "50 ms"}) as runner:
        async with runner.db.acquire() as ours, ours.transaction():
            await ours.execute("SELECT FROM words WHERE id = 59 FOR UPDATE")
            theirs = asyncio.ensure_future(application.execute("UPDATE words SET seen = 1 WHERE id = 59"))
            await asyncio.sleep(0.1)
            run = asyncio.create_task(runner.run("shout", OPTIONS))
            assert "has waited for a lock of ours" in await until(lambda: why(words))
            assert not await changed(words, 1)
        await theirs
        await run
    await application.close()
    await assert_shouted(words)


async def test_a_rollback_waits_for_pressure_too(words, tmp_path):
    flag, seen = tmp_path / "stop", []
    async with runner_with(words, seen.append, pressure={"flag_file": str(flag)}) as runner:
        await runner.run("shout", OPTIONS)
        flag.touch()
        rollback = asyncio.create_task(runner.rollback("shout"))
        await until(lambda: why(words))
        flag.unlink()
        await rollback
    await assert_original(words)


async def test_whoever_watches_learns_how_many_workers_are_at_work_and_of_how_many(
    words, tmp_path, monkeypatch
):
    flag, told, heard = tmp_path / "stop", [], []
    flag.touch()

    def moves(events):
        return [(event.working, event.most) for event in events if isinstance(event, WorkersSet)]

    async with (
        runner_with(words, told.append, pressure={"flag_file": str(flag)}) as runner,
        runner_with(words, heard.append) as watcher,
    ):
        run = asyncio.create_task(runner.run("shout", attrs.evolve(OPTIONS, workers=2)))
        await until(lambda: why(words))
        (record,) = await watcher.status("shout")
        assert (record.workers, record.most_workers) == (2, 2)
        watching = asyncio.create_task(watcher.follow("shout"))
        await until(lambda: asyncio.sleep(0, moves(heard)))
        await watcher.pause("shout")
        with pytest.raises(RunPaused):
            await run
        assert (await watching).workers is None, "nobody works on it any more"
        assert moves(told) == moves(heard) == [(2, 2)]
        # Any pace will do here: a move at each look, and a look before each chunk.
        monkeypatch.setattr("taaxdog_datamig.throttle.SETTLING", 0.0)
        monkeypatch.setattr("taaxdog_datamig.engine.gate.INTERVAL", 0.0)
        told.clear()
        flag.unlink()
        await runner.run("shout", attrs.evolve(OPTIONS, workers="auto"))
        assert moves(told)[:3] == [(2, 4), (3, 4), (4, 4)], "one more while the server has it easy"
    await assert_shouted(words)


async def test_workers_are_as_many_as_the_pool_has_connections_for(words):
    many = attrs.evolve(OPTIONS, workers=7)
    async with runner_with(words, connections=4) as runner:
        with pytest.raises(UsageError, match="pool of 4 connections") as caught:
            await runner.run("shout", OPTIONS)
        assert "max_connections=5" in caught.value.todo
    async with runner_with(words, connections=23) as runner:
        with pytest.raises(UsageError, match="7 workers: from 1 to 6"):
            await runner.run("shout", many)
    with anyio.fail_after(60):
        async with runner_with(words, connections=24) as runner:
            first = await runner.run("shout", many)
        await assert_shouted(words)
        # One worker, and neither waits for a connection that never comes.
        async with runner_with(words, connections=5) as runner:
            await runner.rollback("shout")
            await assert_original(words)
            second = await runner.run("shout", attrs.evolve(OPTIONS, workers="auto"))
    assert second.changed_rows == first.changed_rows > 0


async def test_nice_rests_workers_that_are_too_many_wait_and_old_transactions_are_told(words, monkeypatch):
    """`--nice 2` takes three times what the chunks take; a single worker of four works to begin with."""
    monkeypatch.setattr(choice, "XminAge", partial(choice.XminAge, worth_a_word=0.01))
    other = await asyncpg.connect(words)
    await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
    chunks = []
    options = RunOptions(batch_size=10, max_quarantine=100, skip_validation=True, workers="auto", nice=2)
    async with runner_with(words, lambda e: isinstance(e, ChunkDone) and chunks.append(e.seconds)) as runner:
        began = time.monotonic()
        report = await runner.run("shout", options)
        took = time.monotonic() - began
    await other.close()
    (warning,) = [text for text in report.warnings if "dead rows cannot be pruned" in text]
    assert f"backend {other.get_server_pid()}" in warning
    assert took >= 3 * sum(chunks[:-1]) + chunks[-1]
    await assert_shouted(words)


async def test_seats_are_as_many_as_the_controller_says_and_the_end_frees_the_waiting(monkeypatch):
    monkeypatch.setattr("taaxdog_datamig.engine.gate.INTERVAL", 0.05)
    count = WorkerCount(most=3, fixed=False)
    seats, at_work = Seats(count), []

    async def work(number):
        with seats.taken() as seat:
            if await seats.may_claim(seat):
                at_work.append(number)
                await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        async with anyio.create_task_group() as first:
            first.start_soon(work, 0)
            await anyio.sleep(0.01)
            for number in (1, 2, 3):
                group.start_soon(work, number)
            await anyio.sleep(0.1)
            assert at_work == [0]
            first.cancel_scope.cancel()
        with anyio.fail_after(10):
            while at_work != [0, 1]:  # who was lost makes room
                await anyio.sleep(0.01)
        count.learn(0.0, 0.1)
        count.learn(15.0, 0.1)
        with anyio.fail_after(10):
            while at_work != [0, 1, 2]:
                await anyio.sleep(0.01)
        seats.end()
        await anyio.sleep(0.1)
        group.cancel_scope.cancel()
    assert at_work == [0, 1, 2]


async def test_signals_are_read_once_a_second_however_many_workers_come_by(words):
    looks = []

    async def busy():
        looks.append(1)
        return False

    async with runner_with(words, pressure={"function": busy}) as runner:
        ticks = itertools.count()
        gate = Gate(
            limits=limits(runner.settings.pressure),
            signals=signals_of(limits({"function": busy}), (), CommitClock()),
            commits=CommitClock(),
            workers=WorkerCount(most=4),
            clock=lambda: next(ticks) / 100,
        )
        job = Stub(runner.db)
        for _ in range(20):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(gate.turn, job)
        assert 1 <= len(looks) <= 1 + next(ticks) / 100


class Stub:
    """As much of a dry run as the gate asks for."""

    dry_run = True

    def __init__(self, db):
        self.db, self.warnings = db, []

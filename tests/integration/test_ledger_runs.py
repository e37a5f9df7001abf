from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid

import asyncpg
import pytest

from taaxdog_datamig.events import EventBus
from taaxdog_datamig.ledger import UNFINISHED, ChunkEntry, Ledger, NewRun, Refusal, install, owner_is_dead
from taaxdog_datamig.ledger.runs import owner
from taaxdog_datamig.planning import Window
from taaxdog_datamig.settings import Settings

LEDGER = Ledger.of()
RUNS, WORK = LEDGER.runs, LEDGER.work


@pytest.fixture
async def ledger(connection):
    await install(connection, Settings(), EventBus())
    return connection


async def add(connection, migration="m", relations=('"public"."t"',)):
    run_id = uuid.uuid4()
    await RUNS.add(
        connection,
        NewRun(
            id=run_id, migration=migration, version="1", fingerprint="f", relations=relations,
            targets=[], options={}, estimated_rows=3, actor={"role": "r"}, kid=None, data_key=None,
        ),
    )  # fmt: skip
    return run_id


async def state(connection, run_id):
    (record,) = await RUNS.find(connection, run_id=run_id)
    return record


async def test_taking_a_lease_ends_the_one_before(ledger):
    run = await add(ledger)
    first = await RUNS.take(ledger, run, 15)
    assert (await RUNS.guard(ledger, run, first))["control"] is None
    second = await RUNS.take(ledger, run, 15)
    assert second == first + 1
    assert await RUNS.guard(ledger, run, first) is None
    assert not await RUNS.heartbeat(ledger, run, first, 15, None)
    await RUNS.release(ledger, run, first)  # not ours any more: changes nothing
    assert (await state(ledger, run))["owner"] == owner()
    assert await RUNS.heartbeat(ledger, run, second, 15, "a lock")
    assert (await state(ledger, run))["waiting"] == "a lock"
    await RUNS.release(ledger, run, second)
    record = await state(ledger, run)
    assert (record["owner"], record["alive"], record["leased"]) == (None, False, False)


async def test_a_failure_ends_the_epoch_of_its_own_workers(ledger):
    """A chunk that goes forward needs its run to be running; who ended the epoch can tell."""
    run = await add(ledger)
    epoch = await RUNS.take(ledger, run, 15)
    assert await RUNS.guard(ledger, run, epoch, "pg_class") is not None
    assert not await RUNS.is_fenced(ledger, run, epoch)
    assert await RUNS.fence(ledger, run, epoch) == epoch + 1
    await RUNS.set_status(ledger, run, "rolling_back")
    assert await RUNS.guard(ledger, run, epoch) is None
    assert await RUNS.guard(ledger, run, epoch + 1) is not None
    assert await RUNS.guard(ledger, run, epoch + 1, "pg_class") is None
    assert await RUNS.fence(ledger, run, epoch) is None
    assert await RUNS.is_fenced(ledger, run, epoch)
    await RUNS.take(ledger, run, 15)
    assert not await RUNS.is_fenced(ledger, run, epoch)


async def test_whoever_takes_over_waits_for_the_chunk_that_holds_the_lease(db, ledger):
    run = await add(ledger)
    epoch = await RUNS.take(ledger, run, 15)
    async with db.acquire() as worker, db.acquire() as other:
        transaction = worker.transaction()
        await transaction.start()
        assert await RUNS.guard(worker, run, epoch) is not None
        taking = asyncio.ensure_future(RUNS.take(other, run, 15))
        # Signs of life and requests do not wait meanwhile.
        assert await RUNS.heartbeat(ledger, run, epoch, 15, None)
        await RUNS.request(ledger, run, "pause")
        assert not taking.done()
        await transaction.commit()
        assert await taking == epoch + 1
    assert await RUNS.guard(ledger, run, epoch) is None
    assert (await RUNS.guard(ledger, run, epoch + 1))["control"] == "pause"


async def test_a_run_is_alive_while_its_session_is_and_its_lease_lasts(ledger, database):
    run = await add(ledger)
    assert not (await state(ledger, run))["alive"]
    session = await asyncpg.connect(database)
    epoch = await RUNS.take(session, run, 60)
    assert (await state(ledger, run))["alive"]
    pid = await ledger.fetchval("SELECT backend FROM datamig.runs")
    assert await ledger.fetchval("SELECT pg_terminate_backend($1, 20000)", pid)
    session.terminate()
    assert not (await state(ledger, run))["alive"]
    assert (await state(ledger, run))["leased"]
    assert await RUNS.heartbeat(ledger, run, epoch, 0.05, None)
    await asyncio.sleep(0.1)
    record = await state(ledger, run)
    assert (record["alive"], record["leased"]) == (False, False)


async def test_another_session_that_got_the_same_process_number_keeps_no_run_alive(ledger):
    run = await add(ledger)
    await RUNS.take(ledger, run, 60)
    await ledger.execute("UPDATE datamig.runs SET backend_start = backend_start - interval '1 h'")
    assert not (await state(ledger, run))["alive"]


def test_a_process_of_this_host_that_is_gone_is_dead_and_nobody_else():
    host = owner().rpartition(":")[0]
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert owner_is_dead(f"{host}:{child.pid}")
    for alive in (owner(), f"{host}:1", f"elsewhere:{child.pid}", f"{host}:x", "", None):
        assert not owner_is_dead(alive)


async def test_unfinished_runs_of_the_migration_or_on_the_table_are_in_the_way(ledger):
    mine = await add(ledger, "mine", ["a", "b"])
    assert await RUNS.overlapping(ledger, "other", ["c"]) == []
    assert await RUNS.overlapping(ledger, "other", ["b", "c"]) == [mine]
    assert await RUNS.overlapping(ledger, "mine", ["z"]) == [mine]
    other = await add(ledger, "other", ["c"])
    assert await RUNS.overlapping(ledger, "other", ["a"]) == [other, mine]
    for status in ("paused", "rolling_back"):
        await RUNS.set_status(ledger, mine, status)
        assert await RUNS.overlapping(ledger, "x", ["a"]) == [mine]
    for status in ("succeeded", "failed", "rolled_back"):
        await RUNS.set_status(ledger, mine, status)
        assert await RUNS.overlapping(ledger, "mine", ["a"]) == []
        assert (await state(ledger, mine))["completed_at"] is not None


async def test_no_migration_has_two_unfinished_runs(ledger):
    await add(ledger, "mine")
    with pytest.raises(asyncpg.UniqueViolationError):
        await add(ledger, "mine")


async def test_what_a_run_goes_through_is_recorded(ledger):
    run = await add(ledger)
    await RUNS.request(ledger, run, "cancel")
    await RUNS.set_status(ledger, run, "failed", "it broke")
    record = await state(ledger, run)
    assert (record["status"], record["error"], record["control"]) == ("failed", "it broke", None)
    await RUNS.reopen(ledger, run, "rolling_back")
    await RUNS.set_ddl_done(ledger, run, done=True)
    record = await state(ledger, run)
    assert (record["error"], record["completed_at"], record["ddl_done"]) == ("it broke", None, True)
    await RUNS.finish(ledger, run, 7, b'{"a": 1}')
    record = await state(ledger, run)
    assert (record["status"], record["error"]) == ("succeeded", None)
    assert await RUNS.find(ledger, migration="m", status=UNFINISHED) == []
    assert await RUNS.find_ids(ledger, str(run)[:8]) == [run]
    assert await RUNS.find_ids(ledger, "zz") == []


async def windows(connection, count=30):
    run = await add(connection)
    covered = [(number % 2, Window('"public"."t"', number, number + 1)) for number in range(count)]
    await WORK.add_windows(connection, run, 0, covered)
    await WORK.add_windows(connection, run, 0, covered)  # after a crash: once more, and no more of them
    return run


async def test_each_window_is_claimed_once_by_workers_at_once(db, ledger):
    run = await windows(ledger)
    epoch = await RUNS.take(ledger, run, 15)

    async def worker():
        mine = []
        async with db.acquire() as connection:
            while claims := await WORK.claim(connection, run, 0, epoch, 1 + len(mine) % 3):
                mine += claims
                await asyncio.sleep(0)
        return mine

    claims = [claim for mine in await asyncio.gather(*(worker() for _ in range(4))) for claim in mine]
    assert sorted((claim.window.start, claim.target) for claim in claims) == [(n, n % 2) for n in range(30)]


async def test_claims_of_an_older_lease_are_free_again_unless_they_were_done(ledger):
    run = await windows(ledger, 3)
    old = await RUNS.take(ledger, run, 15)
    done, late = await WORK.claim(ledger, run, 0, old, 2)
    await WORK.windows_done(ledger, run, 0, old, [(done, 5)])
    new = await RUNS.take(ledger, run, 15)
    await WORK.windows_done(ledger, run, 0, old, [(late, 5)])  # whoever lost the lease has no say
    again = []
    while claims := await WORK.claim(ledger, run, 0, new):
        again += [claim.number for claim in claims]
        await WORK.windows_done(ledger, run, 0, new, [(claim, 0) for claim in claims])
    assert sorted([done.number, *again]) == [0, 1, 2]
    assert await WORK.claim(ledger, run, 0, new + 1) == []
    assert (await WORK.totals(ledger, run))[done.target]["skipped"] == 5


async def chunk(connection, run, changed, image, refusals=(), sweep=0):
    entry = ChunkEntry(
        run_id=run, token=uuid.uuid4(), epoch=1, sweep=sweep, target=0, relation='"public"."t"',
        changed=changed, conflicts=1, refusals=refusals, first_key=("1",), last_key=("9", "b"), seconds=0.1,
    )  # fmt: skip
    row = await WORK.add_chunk(connection, entry, "t", image)
    return entry.token, row["id"]


async def test_chunks_are_undone_newest_first_and_once(ledger):
    run = await add(ledger)
    (_, one), (token, two), (_, _empty) = [
        await chunk(ledger, run, *what) for what in ((3, b"one"), (4, b"two"), (0, None))
    ]
    assert (await WORK.find_chunk(ledger, token))["changed"] == 4
    assert await WORK.find_chunk(ledger, uuid.uuid4()) is None
    assert (await WORK.totals(ledger, run))[0]["changed"] == 7
    newest = await WORK.next_to_restore(ledger, run, 1 << 62)
    assert (newest["id"], newest["image"]) == (two, b"two")
    assert await WORK.restored(ledger, two, 3, 1, {"chunk": two})
    assert not await WORK.restored(ledger, two, 3, 1, {"chunk": two})
    assert (await WORK.next_to_restore(ledger, run, 1 << 62))["id"] == one
    assert await WORK.next_to_restore(ledger, run, one) is None
    record = await state(ledger, run)
    assert (record["changed"], record["restored"], record["kept"], record["images"]) == (7, 3, 1, 2)


async def test_refused_rows_and_conflicts_are_kept_once_whatever_their_keys(ledger):
    run = await add(ledger)
    keys = [('a"b\\', "{NULL}"), ("", "ö,"), ("1", "null")]
    refusals = [Refusal(key=key, code="c", reason="r") for key in keys]
    await chunk(ledger, run, 0, None, refusals)
    await chunk(ledger, run, 0, None, refusals[:1])
    await WORK.add_conflicts(ledger, run, "t", "t", keys)
    await WORK.add_conflicts(ledger, run, "t", "t", keys)
    assert {tuple(row["key"]) for row in await WORK.quarantine(ledger, run, 10)} == set(keys)
    assert {tuple(row["key"]) for row in await WORK.conflicts(ledger, run, 10)} == set(keys)
    assert await WORK.count_quarantine(ledger, run) == 3
    assert await WORK.quarantine_by_table(ledger, run) == {"t": (3, 0)}

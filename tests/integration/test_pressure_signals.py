"""Each signal, read from a real server in the state that it watches, and from a role that may not see it."""

from __future__ import annotations

import asyncio
import contextlib
import os

import asyncpg
import pytest

from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.engine.gate import _read
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.pressure import CommitClock, Unreadable
from taaxdog_datamig.pressure.commits import CommitLatency
from taaxdog_datamig.pressure.own import FlagFile, Function, Query
from taaxdog_datamig.pressure.sessions import ActiveSessions, LockWaits, TableMaintenance, XminAge
from taaxdog_datamig.pressure.standbys import ReplicationLag, SlotWal
from taaxdog_datamig.pressure.wal import ArchiveBacklog, WalRate, unarchived
from taaxdog_datamig.settings import Settings

SECRET = "123 456 782"


@pytest.fixture(scope="module")
def database(databases):
    """One for all: what is read here is of the whole server anyhow."""
    dsn = databases.create()
    yield dsn
    databases.drop(dsn)


@pytest.fixture
async def other(database):
    """A session of the application's."""
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def comes(signal, connection, *, seconds=20.0):
    """The first reading over the limit."""
    async with asyncio.timeout(seconds):
        while True:
            reading = await signal.read(connection)
            if reading.level >= 1:
                return reading
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def working(dsn, query):
    """A session at work on a query that is cancelled in the end."""
    connection = await asyncpg.connect(dsn)
    task = asyncio.ensure_future(connection.execute(query))
    try:
        yield connection.get_server_pid()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()


async def test_a_session_that_waits_behind_us_is_seen_and_one_behind_somebody_else_is_not(
    db, other, database
):
    signal = LockWaits(0.1)
    await other.execute("CREATE TABLE t AS SELECT 1 AS id, 0 AS n")
    async with db.acquire() as connection, db.acquire() as ours:
        async with other.transaction():
            await other.execute("UPDATE t SET n = 1")
            async with working(database, "UPDATE t SET n = 2"):
                await asyncio.sleep(0.15)
                assert (await signal.read(connection)).level == 0
        async with ours.transaction():
            await ours.execute("UPDATE t SET n = 3")
            async with working(database, "UPDATE t SET n = 4") as pid:
                reading = await comes(signal, connection)
        assert f"backend {pid} has waited for a lock of ours" in reading.reason
        assert (await signal.read(connection)).level == 0


async def test_an_old_snapshot_is_seen_as_a_warning_and_against_a_limit(connection, other):
    assert (await XminAge(3600).read(connection)).level < 1
    async with other.transaction(isolation="repeatable_read"):
        await other.fetchval("SELECT count(*) FROM pg_class")
        reading = await comes(XminAge(0.05, worth_a_word=0.05), connection)
        assert f"the transaction of backend {other.get_server_pid()} is" in reading.reason
        assert "dead rows cannot be pruned" in reading.warning
        warned = await XminAge(None, worth_a_word=0.05).read(connection)
        assert (warned.level, warned.warning) == (0.0, reading.warning)


async def test_a_busy_server_is_seen_and_our_own_sessions_do_not_count(db, connection, database):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(working(database, "SELECT pg_sleep(60)"))
        reading = await comes(ActiveSessions(2), connection)
        assert "other sessions are at work (limit 2)" in reading.reason
        assert (await ActiveSessions(10_000).read(connection)).level < 1


async def test_a_vacuum_of_a_partition_of_our_table_is_seen(connection, other, database):
    await other.execute(
        "CREATE TABLE parted (id int) PARTITION BY RANGE (id);"
        "CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (1000000);"
        "CREATE TABLE apart AS SELECT 1 AS id;"
        "INSERT INTO parted SELECT generate_series(1, 40000); DELETE FROM parted WHERE id % 2 = 0"
    )
    signal = TableMaintenance(("parted", "nowhere"))
    assert (await signal.read(connection)).level == 0
    vacuum = asyncpg.connect(
        database, server_settings={"vacuum_cost_delay": "100ms", "vacuum_cost_limit": "1"}
    )
    slow = await vacuum
    task = asyncio.ensure_future(slow.execute("VACUUM part"))
    reading = await comes(signal, connection)
    assert "works on part" in reading.reason
    assert (await TableMaintenance(("apart",)).read(connection)).level == 0
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await slow.close()


async def test_wal_that_is_written_and_a_slot_that_nobody_reads(connection, other):
    """A slot without a consumer makes the server keep what is written from then on."""
    now = [0.0]
    rate, name = WalRate(1 << 20, clock=lambda: now[0]), f"datamig_{os.urandom(4).hex()}"
    await other.execute("SELECT pg_create_physical_replication_slot($1, true)", name)
    try:
        assert (await rate.read(connection)).level == 0
        await other.execute("SET synchronous_commit = on")  # what is not written out does not count
        await other.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 3 << 20))")
        now[0] = 2.0
        reading = await rate.read(connection)
        assert reading.level > 1.4
        assert "of WAL a second (limit 1 MB)" in reading.reason
        kept = await SlotWal(2 << 20).read(connection)
        assert kept.level > 1
        assert f"replication slot {name} keeps" in kept.reason
        assert (await SlotWal(1 << 50).read(connection)).level < 1
    finally:
        await other.execute("SELECT pg_drop_replication_slot($1)", name)


def test_the_rate_of_wal_is_that_of_the_last_seconds():
    rate = WalRate(100)
    levels = [rate.learn(float(t), 1000.0 * min(t, 10)).level for t in range(17)]
    assert levels[1:11] == [10] * 10
    assert levels[16] == 0


async def test_the_users_own_query_says_it_or_cannot_be_read(connection, other, monkeypatch):
    monkeypatch.setattr("taaxdog_datamig.pressure.own.PATIENCE", 0.2)
    await other.execute("CREATE TABLE load (busy int); INSERT INTO load VALUES (0)")
    query = Query("SELECT busy FROM load")
    assert (await query.read(connection)).level == 0
    await other.execute("UPDATE load SET busy = 7")
    assert (await query.read(connection)).reason == "the query pressure.sql says so"
    for calm in ("SELECT false", "SELECT NULL", "SELECT 0.0", "SELECT busy FROM load WHERE false"):
        assert (await Query(calm).read(connection)).level == 0
    for broken, why in (
        ("SELECT nope FROM load", "UndefinedColumn"),
        (f"SELECT '{SECRET}'", "answered a str"),
        (f"SELECT '{SECRET}'::int", "InvalidTextRepresentation"),
        ("DELETE FROM load RETURNING true", "may only read"),
        ("SELECT pg_sleep(9) IS NULL", "QueryCanceled"),
    ):
        found = await _read(Query(broken), connection)
        assert isinstance(found, Unreadable)
        assert why in found.why
        assert SECRET not in str(found)
    assert await connection.fetchval("SELECT busy FROM load") == 7


async def test_the_users_own_function_and_file(connection, tmp_path, monkeypatch):
    monkeypatch.setattr("taaxdog_datamig.pressure.own.PATIENCE", 0.05)

    async def raises():
        raise ValueError(SECRET)

    async def says(answer):
        return answer

    async def hangs():
        await asyncio.sleep(60)

    for answer, reason in (
        (False, ""),
        (None, ""),
        (True, "f says so"),
        ("backup is running", "backup is running"),
    ):
        assert (await Function("f", lambda answer=answer: says(answer)).read(connection)).reason == reason
    for call, why in (
        (raises, "f raised ValueError"),
        (hangs, "did not answer"),
        (lambda: True, "raised TypeError"),
    ):
        found = await _read(Function("f", call), connection)
        assert isinstance(found, Unreadable)
        assert why in found.why
        assert SECRET not in str(found)
    flag = tmp_path / "stop"
    assert (await FlagFile(str(flag)).read(connection)).level == 0
    flag.touch()
    assert str(flag) in (await FlagFile(str(flag)).read(connection)).reason
    assert isinstance(await _read(FlagFile(str(flag / "below")), connection), Unreadable)


async def test_what_a_role_may_not_see_is_unreadable_and_never_calm(db, other, role, database):
    async with (
        role() as name,
        working(database, "SELECT pg_sleep(60)"),
        db.acquire() as connection,
        connection.transaction(),
    ):
        await connection.execute(f"SET LOCAL ROLE {name}")
        for signal in (ActiveSessions(10_000), XminAge(10_000.0)):
            found = await _read(signal, connection)
            assert isinstance(found, Unreadable)
            assert "GRANT pg_monitor" in found.todo
        assert (await XminAge(None).read(connection)).level == 0
        # Everybody may see these.
        for signal in (LockWaits(1), SlotWal(1 << 50), WalRate(1 << 50), TableMaintenance(("pg_class",))):
            assert (await signal.read(connection)).level < 1


def test_unarchived_wal_is_told_by_the_latest_segment():
    segment = 16 << 20
    here = (2 << 32) + 5 * segment + 100.0
    assert unarchived(here, segment, None, None) == 0
    assert unarchived(here, segment, "000000010000000200000004", None) == 100
    assert unarchived(here, segment, "0000000100000002000000FF", None) == 0, "a timeline before this one"
    assert unarchived(here, segment, "000000010000000200000002.00000028.backup", "x") == 2 * segment + 100
    assert unarchived(here, segment, "00000002.history", "000000010000000200000003") == 2 * segment + 100


async def test_wal_that_cannot_be_archived_and_commits_that_no_standby_acknowledges():
    """On a server of its own: an archive command that fails, and a synchronous standby that is away."""
    settings = {"archive_mode": "on", "archive_command": "false", "fsync": "off"}
    async with (
        EmbeddedServer(settings=settings) as server,
        Database.connect(settings=Settings(database_url=server.dsn)) as db,
        db.acquire() as connection,
    ):
        signal = ArchiveBacklog(20 << 20)
        assert (await signal.read(connection)).level < 1
        for _ in range(2):
            await connection.execute("CREATE TABLE IF NOT EXISTS t (i int); SELECT pg_switch_wal()")
            await connection.execute("INSERT INTO t VALUES (1)")
        reading = await comes(signal, connection)
        assert "of WAL wait to be archived (limit 20 MB)" in reading.reason
        await connection.execute("CREATE ROLE nobody")
        async with connection.transaction():
            await connection.execute("SET LOCAL ROLE nobody")
            # Told by the segment that failed first.
            async with asyncio.timeout(20):
                while not await connection.fetchval("SELECT last_failed_wal FROM pg_stat_archiver"):
                    await connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.05)")
            assert (await signal.read(connection)).level > 1

        clock = CommitClock()
        latency = CommitLatency(0.2, clock)
        with clock.timed():
            await connection.execute("INSERT INTO t VALUES (2)")
        await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await connection.execute("SELECT pg_reload_conf()")
        async with asyncio.timeout(20):
            while await connection.fetchval("SHOW synchronous_standby_names") != "nobody":
                await asyncio.sleep(0.02)

        released = asyncio.Event()

        async def commit():
            # The server begins to make commits wait a moment after sessions have seen the setting.
            while not released.is_set():
                with clock.timed():
                    await connection.execute("INSERT INTO t VALUES (3)")
                await asyncio.sleep(0.02)

        task = asyncio.ensure_future(commit())
        reading = await comes(latency, None)
        assert "a small commit takes" in reading.reason
        assert not task.done()
        released.set()
        async with db.acquire() as second:
            await second.execute("ALTER SYSTEM RESET synchronous_standby_names")
            await second.execute("SELECT pg_reload_conf()")
        await task
        with clock.timed():
            await connection.execute("INSERT INTO t VALUES (4)")
        assert (await latency.read(None)).level < 1


async def test_a_server_without_standbys_has_no_lag(connection):
    assert (await ReplicationLag(10).read(connection)).level == 0

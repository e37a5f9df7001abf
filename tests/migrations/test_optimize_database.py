"""optimize-database: what needs it is vacuumed, analysed and rebuilt beside the application, and told."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import attrs
import orjson
import pytest

from taaxdog_datamig import Database, Runner, RunOptions, Settings, failpoints
from taaxdog_datamig.engine.maintenance import waiting
from taaxdog_datamig.errors import RefusedError, RunCancelled, RunPaused, UsageError
from taaxdog_datamig.events import EventBus, Progress, Waiting
from taaxdog_datamig.ledger import Ledger
from taaxdog_datamig.migrations import optimize_database
from taaxdog_datamig.pg.condition import Condition, Measure, index_conditions
from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import engine, has_ledger, rows, script, state

NAME = "optimize-database"
REINDEX = RunOptions(arguments={"reindex": "yes"})

#: Three tables with dead rows, which autovacuum leaves alone.
TABLES = """
CREATE TABLE {0} (id int PRIMARY KEY, word text) WITH (autovacuum_enabled = off);
INSERT INTO {0} SELECT i, 'word ' || i FROM generate_series(1, {1}) AS i;
UPDATE {0} SET word = word || '!' WHERE id % 2 = 0;
"""


async def fill(dsn, *names, rows_each=1000):
    for name in names:
        await script(dsn, TABLES.format(name, rows_each))


async def bloat(dsn, name="words", rows_each=100_000):
    """A table whose primary key has room for ten times its rows; vacuumed, with statistics."""
    await script(
        dsn,
        f"CREATE TABLE {name} (id int PRIMARY KEY, word text) WITH (autovacuum_enabled = off);"
        f"INSERT INTO {name} SELECT i, 'w' FROM generate_series(1, {rows_each}) AS i;"
        f"DELETE FROM {name} WHERE id % 10 <> 0",
    )


async def counts(dsn):
    """How often each table of the test was vacuumed or analysed."""
    found = await rows(
        dsn,
        "SELECT relname, vacuum_count + CASE WHEN vacuum_count = 0 THEN analyze_count ELSE 0 END AS n"
        " FROM pg_stat_user_tables WHERE schemaname = 'public'",
    )
    return {row["relname"]: row["n"] for row in found}


async def dead_rows(dsn, table):
    ((dead,),) = await rows(dsn, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = $1", table)
    return dead


async def indexes(dsn):
    found = await rows(
        dsn,
        "SELECT c.relname, i.indisvalid, pg_relation_size(c.oid) AS bytes FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace",
    )
    return {row["relname"]: (row["indisvalid"], row["bytes"]) for row in found}


def by_name(tasks):
    return {task.relation: task for task in tasks}


@asynccontextmanager
async def session(dsn, *statements):
    """Another session, in a transaction that has run these statements."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in ("BEGIN", *statements):
            await connection.execute(statement)
        yield connection
    finally:
        await connection.close()


def killed(dsn, failpoint, **options):
    """Run it in a process of its own that is killed at the failpoint."""
    task = {"dsn": dsn, "migration": NAME, "module": "", "action": "run", "options": options}
    done = subprocess.run(
        [sys.executable, "-m", "taaxdog_datamig.testing.child"],
        input=orjson.dumps(task),
        env=os.environ | {failpoints.VARIABLE: failpoint},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout


async def test_what_needs_it_is_optimized_once_and_then_nothing_is_left(sample):
    # Else the server's own vacuum may come first.
    await script(
        sample,
        "ALTER TABLE bank_transactions SET (autovacuum_enabled = false);"
        "UPDATE bank_transactions SET description = description",
    )
    before = await state(sample)
    async with engine(sample) as runner:
        plan = await runner.plan(NAME)
        (listed,) = [known for known in await runner.states() if known.name == NAME]
        assert (plan.applicable, plan.pending_rows, plan.tables) == (True, 0, ())
        planned = by_name(plan.tasks)
        assert listed.tasks == len(planned) > 10
        worst = planned["public.bank_transactions"]
        assert (worst.action, worst.outcome) == ("vacuum", "pending")
        # Some of the 10,000 go whenever a page is pruned, and are told of with a delay.
        dead = worst.before["dead_rows"]
        assert await dead_rows(sample, "bank_transactions") in range(9_000, dead + 1)
        assert worst.reason.startswith(f"{dead:,} dead rows beside ")

        dry = await runner.run(NAME, RunOptions(dry_run=True))
        assert (dry.status, dry.run_id) == ("succeeded", None)
        assert [task.relation for task in dry.tasks] == list(planned)
        assert set((await counts(sample)).values()) == {0}
        assert not await has_ledger(sample)

        report = await runner.run(NAME)
        assert (report.status, report.changed_rows, report.warnings) == ("succeeded", 0, ())
        done = by_name(report.tasks)
        assert done.keys() == planned.keys()
        for task in report.tasks:
            assert task.outcome == "done"
            assert task.after["dead_rows"] == task.after["changed_rows"] == 0
            assert task.after["statistics_age"] < 60
        assert done["public.bank_transactions"].before["dead_rows"] in range(9_000, dead + 1)
        assert done["public.bank_transactions"].after["all_visible"] == 1.0
        assert await dead_rows(sample, "bank_transactions") == 0

        again = await runner.run(NAME)
        assert (again.status, again.run_id, again.tasks) == ("nothing_to_do", None, ())
        forced = await runner.run(NAME, RunOptions(force=True))
        assert {task.outcome for task in forced.tasks} == {"done"}
        everything = {table for table in before if table != "catalog"}
        labels = {task.relation for task in forced.tasks}
        assert {f"public.{table}" for table in everything} <= labels
        assert "datamig.audit" in labels
        assert [run.status for run in await runner.history()] == ["succeeded", "succeeded"]
        with pytest.raises(RefusedError, match="nothing to roll back"):
            await runner.rollback(NAME)
        assert [run.status for run in await runner.history()] == ["succeeded", "succeeded"]
        async with runner.db.acquire() as connection:
            assert await Ledger.of().audit.verify(connection) is None
    assert await state(sample) == before


@pytest.mark.parametrize("mode", ["ACCESS EXCLUSIVE", "SHARE UPDATE EXCLUSIVE"])
async def test_a_table_that_is_locked_is_skipped_and_said_and_left_for_the_next_run(database, mode):
    await fill(database, "held", "open")
    async with engine(database, lock_timeout=0.1) as runner:
        async with session(database, f"LOCK TABLE held IN {mode} MODE"):
            began = time.monotonic()
            report = await runner.run(NAME)
            assert time.monotonic() - began < 10
        tasks = by_name(report.tasks)
        assert (tasks["public.open"].outcome, tasks["public.held"].outcome) == ("done", "locked")
        assert tasks["public.held"].after is None
        assert report.warnings == ("public.held: another session holds a lock on it; vacuum skipped",)
        assert (await counts(database))["held"] == 0
        after = await runner.run(NAME)
        assert [(task.relation, task.outcome) for task in after.tasks] == [("public.held", "done")]


async def test_a_lock_that_is_gone_at_the_end_of_the_run_is_no_reason_to_skip(database):
    await fill(database, "held", "open")
    async with session(database, "LOCK TABLE held IN SHARE UPDATE EXCLUSIVE MODE") as other:
        rolled_back = []
        bus = EventBus()

        def release(event):
            if isinstance(event, Waiting):
                rolled_back.append(asyncio.ensure_future(other.execute("ROLLBACK")))

        bus.subscribe(release)
        settings = Settings.load(environ={}, database_url=database)
        async with Database.connect(settings=settings) as db:
            report = await Runner(db, events=bus).run(NAME)
        await asyncio.gather(*rolled_back)
    assert len(rolled_back) == 1
    assert {task.relation: task.outcome for task in report.tasks} == {
        "public.held": "done",
        "public.open": "done",
    }


async def test_the_application_writes_and_reads_meanwhile(database):
    """None of its statements waits for longer than the engine's own wait for locks, on a busy machine."""
    await bloat(database, rows_each=300_000)
    stop, slowest, written = asyncio.Event(), 0.0, 0

    async def application():
        nonlocal slowest, written
        connection = await asyncpg.connect(database)
        try:
            while not stop.is_set():
                began = time.monotonic()
                await connection.execute(
                    "UPDATE words SET word = word || 'x' WHERE id = $1", 10 * (written % 100)
                )
                await connection.fetchval("SELECT count(*) FROM words WHERE id < 1000")
                slowest = max(slowest, time.monotonic() - began)
                written += 1
        finally:
            await connection.close()

    async with engine(database) as runner:
        work = asyncio.create_task(application())
        report = await runner.run(NAME, RunOptions(force=True, arguments={"reindex": "yes"}))
        stop.set()
        await work
    assert {task.action for task in report.tasks} == {"vacuum", "reindex"}
    assert {task.outcome for task in report.tasks} == {"done"}
    assert written > 20
    assert slowest < 1.0


async def test_a_bloated_index_is_rebuilt_on_request_alone(database):
    """Its bloat shows when the table has been vacuumed and analysed, in the same run."""
    await bloat(database)
    (_, size), *_ = (await indexes(database)).values()
    async with engine(database) as runner:
        without = await runner.run(NAME)
        assert {task.action for task in without.tasks} == {"vacuum"}
        assert (await indexes(database))["words_pkey"] == (True, size)
        await script(database, "UPDATE words SET word = 'x'")
        report = await runner.run(NAME, REINDEX)
        vacuum, reindex = report.tasks
        assert (vacuum.relation, reindex.relation) == ("public.words", "public.words_pkey")
        assert (reindex.action, reindex.outcome) == ("reindex", "done")
        assert reindex.before["bytes"] >= size
        assert reindex.after["bytes"] < size / 4
        assert reindex.after["bloat_bytes"] <= 0.1 * reindex.after["bytes"]
        assert (await indexes(database)) == {"words_pkey": (True, reindex.after["bytes"])}
        assert (await runner.run(NAME, REINDEX)).status == "nothing_to_do"


async def test_bloat_is_estimated_for_keys_of_several_columns_expressions_and_nulls(database):
    """A fresh build has next to none, whatever its columns; without statistics it is not known."""
    await script(
        database,
        "CREATE TABLE t (id uuid PRIMARY KEY, word text, number bigint) WITH (autovacuum_enabled = off);"
        "INSERT INTO t SELECT gen_random_uuid(), CASE WHEN i % 3 = 0 THEN 'word ' || i END, i"
        " FROM generate_series(1, 50000) AS i;"
        "CREATE INDEX several ON t (number, word); CREATE INDEX expression ON t (upper(word));"
        "CREATE INDEX partial ON t (number) WHERE number % 2 = 0; REINDEX TABLE t",
    )
    async with engine(database) as runner, runner.db.acquire() as connection:
        assert {index.measure.bloat_bytes for index in await index_conditions(connection)} == {None}
        await connection.execute("ANALYZE t")
        for index in await index_conditions(connection):
            bloat_bytes = index.measure.bloat_bytes
            assert bloat_bytes is not None
            assert bloat_bytes < 0.2 * index.measure.bytes, index.name


@pytest.mark.parametrize("point", ["after-tasks", "before-task:2", "after-task:2", "after-task-record:2"])
async def test_a_killed_run_is_gone_on_with_and_nothing_that_was_done_is_repeated(database, point):
    await fill(database, "a", "b", "c")
    killed(database, point)
    async with engine(database) as runner:
        (left,) = await runner.status()
        assert left.status == "running"
        report = await runner.run(NAME)
        assert (report.status, report.resumed, report.run_id) == ("succeeded", True, left.run_id)
        assert {task.relation: task.outcome for task in report.tasks} == {
            f"public.{name}": "done" if point != "after-task:2" or name != "b" else "not-needed"
            for name in "abc"
        }
    assert await counts(database) == {"a": 1, "b": 1, "c": 1}


async def test_it_may_be_killed_at_every_point(sample):
    await script(sample, "UPDATE bank_transactions SET description = description")
    # What it does here takes too short for a look at how far it is; see the killed rebuild.
    points = ["after-plan", "after-ledger", "after-begin-run", *failpoints.MAINTENANCE_NAMES, "after-record"]
    points.remove("during-task")
    report = await assert_crash_safe(NAME, sample, points=points, random_kills=1)
    assert report.changed_rows == 0
    assert report.killed_at == tuple(points)


async def test_what_a_killed_forced_run_had_done_is_not_done_twice(database):
    await fill(database, "a", "b", "c")
    killed(database, "after-task-record:2", force=True)
    async with engine(database) as runner:
        report = await runner.resume(NAME)
    assert report.resumed
    tables = {task.relation for task in report.tasks if task.outcome == "done"}
    assert {"public.a", "public.b", "public.c", "datamig.runs"} <= tables
    assert await counts(database) == {"a": 1, "b": 1, "c": 1}


@asynccontextmanager
async def rebuild_that_waits(dsn):
    """A bloated index, and a transaction for whose end its rebuild must wait."""
    await bloat(dsn)
    await script(dsn, "VACUUM ANALYZE words")
    async with session(dsn, "INSERT INTO words VALUES (-1, 'w')") as other:
        yield other


async def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_what_a_killed_rebuild_has_left_is_dropped_and_the_index_rebuilt(database):
    async def server_noticed():
        return not await rows(
            database,
            "SELECT FROM pg_stat_activity WHERE query LIKE 'REINDEX INDEX%' AND datname = current_database()",
        )

    async with rebuild_that_waits(database) as other:
        killed(database, "during-task", arguments={"reindex": "yes"})
        # The statement ends with its process, not with what it waits for.
        await until(server_noticed)
        assert {name: valid for name, (valid, _) in (await indexes(database)).items()} == {
            "words_pkey": True,
            "words_pkey_ccnew": False,
        }
        await other.execute("ROLLBACK")
    (_, size) = (await indexes(database))["words_pkey"]
    async with engine(database) as runner:
        report = await runner.resume(NAME)
    assert (report.status, report.resumed) == ("succeeded", True)
    assert [(task.relation, task.outcome) for task in report.tasks] == [("public.words_pkey", "done")]
    ((name, (valid, now)),) = (await indexes(database)).items()
    assert (name, valid) == ("words_pkey", True)
    assert now < size / 4


async def test_another_sessions_rebuild_is_left_alone(database):
    """It holds a lock for as long as it lasts, and so its new index is not taken for a leftover."""
    async with rebuild_that_waits(database) as other:
        rebuilder = await asyncpg.connect(database)
        rebuild = asyncio.create_task(rebuilder.execute("REINDEX INDEX CONCURRENTLY words_pkey"))

        async def begun():
            return "words_pkey_ccnew" in await indexes(database)

        await until(begun)
        async with engine(database, lock_timeout=0.1) as runner:
            report = await runner.run(NAME, REINDEX)
            ((relation, outcome),) = [(task.relation, task.outcome) for task in report.tasks]
            assert (relation, outcome) == ("public.words_pkey", "locked")
            assert "words_pkey_ccnew" in await indexes(database)
            await other.execute("ROLLBACK")
            await rebuild
            await rebuilder.close()
            assert list(await indexes(database)) == ["words_pkey"]


@pytest.mark.parametrize("request_", ["pause", "cancel"])
async def test_a_long_statement_tells_how_far_it_is_and_ends_when_it_is_asked_to(database, request_):
    events = []
    bus = EventBus()
    bus.subscribe(events.append)

    async def waits():
        return any(isinstance(event, Progress) and event.phase.startswith("waiting") for event in events)

    settings = Settings.load(environ={}, database_url=database)
    async with rebuild_that_waits(database) as other, Database.connect(settings=settings) as db:
        runner = Runner(db, events=bus)
        work = asyncio.create_task(runner.run(NAME, REINDEX))
        await until(waits)
        began = time.monotonic()
        await (runner.pause(NAME) if request_ == "pause" else runner.cancel(NAME))
        with pytest.raises(RunPaused if request_ == "pause" else RunCancelled) as caught:
            await work
        assert time.monotonic() - began < 5
        (left,) = await runner.status()
        await other.execute("ROLLBACK")
        if request_ == "pause":
            assert left.status == "paused"
            report = await runner.resume(NAME)
            assert report.resumed
        else:
            assert left.status == "failed"
            assert "what was done stays" in str(caught.value)
            report = await runner.run(NAME, REINDEX)
            assert not report.resumed
        assert {task.outcome for task in report.tasks} == {"done"}
    assert list(await indexes(database)) == ["words_pkey"]


async def test_a_run_that_nobody_works_on_can_be_cancelled(database):
    await fill(database, "a", "b")
    killed(database, "before-task:2")
    async with engine(database) as runner:
        await until(lambda: _left(runner))
        record = await runner.cancel(NAME)
        assert (record.status, record.error) == ("failed", "the run was cancelled")
        report = await runner.run(NAME)
        assert not report.resumed
        assert [(task.relation, task.outcome) for task in report.tasks] == [("public.b", "done")]


async def _left(runner):
    (record,) = await runner.status()
    return not record.alive


async def test_tables_of_others_are_listed_as_skipped(database):
    role = f"datamig_test_{secrets.token_hex(4)}"
    await fill(database, "theirs")
    await script(database, f"CREATE ROLE {role} LOGIN PASSWORD 'pw'; GRANT CREATE ON SCHEMA public TO {role}")
    name = urlsplit(database).path.lstrip("/")
    await script(database, f'GRANT CREATE ON DATABASE "{name}" TO {role}')
    try:
        parts = urlsplit(database)
        place = parts.netloc.rpartition("@")[2]
        own = urlunsplit(parts._replace(netloc=f"{role}:pw@{place}"))
        await fill(own, "own")
        async with engine(own) as runner:
            report = await runner.run(NAME)
        tasks = by_name(report.tasks)
        assert (tasks["public.own"].outcome, tasks["public.theirs"].outcome) == ("done", "not-permitted")
        assert len(report.warnings) == 1
        assert "may maintain it; vacuum skipped" in report.warnings[0]
        assert (await counts(database))["theirs"] == 0
    finally:
        await script(database, f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_a_partitioned_table_gets_statistics_of_its_own(database):
    """Autovacuum makes them for partitions alone."""
    await script(
        database,
        "CREATE TABLE whole (id int, word text) PARTITION BY RANGE (id);"
        "CREATE TABLE low PARTITION OF whole FOR VALUES FROM (0) TO (1000);"
        "CREATE TABLE high PARTITION OF whole FOR VALUES FROM (1000) TO (2000);"
        "INSERT INTO whole SELECT i, 'w' FROM generate_series(0, 1999) AS i;",
    )
    await script(database, "ANALYZE low")
    await script(database, "ANALYZE high")
    async with engine(database) as runner:
        report = await runner.run(NAME)
        assert [(task.relation, task.action, task.outcome) for task in report.tasks] == [
            ("public.whole", "analyze", "done")
        ]
        assert (await rows(database, "SELECT count(*) FROM pg_stats WHERE tablename = 'whole'"))[0][0] == 2
        assert (await runner.run(NAME)).status == "nothing_to_do"


async def test_what_the_own_sessions_did_a_moment_ago_counts(database):
    """They report to the server's counters at leisure."""
    await fill(database, "a")
    await script(database, "VACUUM ANALYZE a")
    async with engine(database) as runner:
        async with runner.db.acquire() as connection:
            await connection.execute("UPDATE a SET word = 'x' WHERE id = 1")
            for word in "yz":
                await connection.execute("UPDATE a SET word = $1", word)
        (task,) = (await runner.plan(NAME)).tasks
        assert task.before["changed_rows"] == 2001


FINE = Measure(
    bytes=1 << 20,
    rows=1000,
    dead_rows=100,
    changed_rows=100,
    all_visible=0.75,
    statistics_age=1e6,
    freeze_share=0.49,
    bloat_bytes=None,
)


@pytest.mark.parametrize(
    ("kind", "schema", "figures", "action", "reason"),
    [
        ("r", "public", {}, "vacuum", ""),
        ("r", "public", {"dead_rows": 101}, "vacuum", "101 dead rows beside 1,000"),
        ("r", "public", {"changed_rows": 101}, "analyze", "101 rows changed since"),
        ("r", "public", {"statistics_age": None}, "analyze", "no statistics"),
        ("r", "public", {"statistics_age": None, "bytes": 0, "all_visible": None}, "vacuum", ""),
        ("r", "public", {"all_visible": 0.74}, "vacuum", "74% of its pages are all-visible"),
        ("r", "public", {"all_visible": 0.0, "bytes": 31 * 8192}, "vacuum", ""),
        ("r", "public", {"freeze_share": 0.5}, "freeze", "50% of the way to a forced vacuum"),
        ("r", "datamig", {"dead_rows": 1050, "changed_rows": 1050, "statistics_age": None}, "vacuum", ""),
        ("r", "datamig", {"dead_rows": 1051}, "vacuum", "1,051 dead rows"),
        ("p", "public", {"dead_rows": 101, "freeze_share": 0.9}, "analyze", "statistics are 12 days old"),
        ("p", "public", {"statistics_age": 86_400}, "analyze", ""),
    ],
)
def test_what_a_table_needs_and_why(kind, schema, figures, action, reason):
    table = Condition(
        schema=schema,
        name="t",
        kind=kind,
        table=f"{schema}.t",
        may_maintain=True,
        measure=attrs.evolve(FINE, **figures),
    )
    needed, why = optimize_database._need(table)
    assert needed == action
    assert why.startswith(reason) if reason else why == ""


async def test_only_the_tables_that_are_named(database):
    await fill(database, "a", "b", "c")
    async with engine(database) as runner:
        report = await runner.run(NAME, RunOptions(arguments={"tables": "a, public.c"}))
        assert [task.relation for task in report.tasks] == ["public.a", "public.c"]
        with pytest.raises(UsageError, match="no such table"):
            await runner.run(NAME, RunOptions(arguments={"tables": "absent"}))
        with pytest.raises(UsageError, match="takes no, yes"):
            await runner.plan(NAME, {"reindex": "maybe"})


async def test_dead_rows_that_an_old_transaction_may_still_see_are_told(database):
    await fill(database, "a")
    await script(database, "VACUUM a")
    async with session(database, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT FROM a LIMIT 1"):
        await script(database, "UPDATE a SET word = 'x'")
        async with engine(database) as runner:
            report = await runner.run(NAME)
    assert [task.outcome for task in report.tasks] == ["done"]
    assert report.warnings == ("public.a: 1,000 dead rows stay: an older transaction may still see them",)


async def test_what_the_server_refuses_ends_the_run_after_everything_else_and_quotes_nothing(database):
    await fill(database, "bad", "good")
    await script(
        database,
        "CREATE FUNCTION loud(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS"
        " $$ BEGIN IF $1 LIKE '%!' THEN RAISE EXCEPTION 'value %', $1; END IF; RETURN $1; END $$;"
        "CREATE STATISTICS s ON (loud(word)) FROM bad",
    )
    async with engine(database) as runner:
        with pytest.raises(Exception, match=r"vacuum of public\.bad") as caught:
            await runner.run(NAME)
        assert "word 2" not in str(caught.value)
        (left,) = await runner.status()
        assert left.status == "paused"
        assert waiting(await runner.plan(NAME))[0].relation == "public.bad"
        await script(database, "DROP STATISTICS s")
        report = await runner.run(NAME)
    # Its dead rows had gone before its statistics failed.
    assert [(task.relation, task.action, task.outcome) for task in report.tasks] == [
        ("public.good", "vacuum", "done"),
        ("public.bad", "analyze", "done"),
        ("public.bad", "vacuum", "not-needed"),
    ]

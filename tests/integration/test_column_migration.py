"""What a declarative migration of a user's own is promised, over keys, types and faults of every kind."""

from __future__ import annotations

import asyncio
import textwrap
from datetime import datetime
from decimal import Decimal

import anyio
import asyncpg
import attrs
import orjson
import pytest

from taaxdog_datamig import Changes, ColumnMigration, Reject, RunOptions, Skip
from taaxdog_datamig.errors import (
    PlanDrift,
    QuarantineExceeded,
    RunCancelled,
    RunError,
    RunPaused,
    SettingsError,
)
from taaxdog_datamig.events import ChunkDone, StepStarted, TableStarted
from taaxdog_datamig.planning import WINDOW_BLOCKS
from tests.sample import NAME, allowing, engine, has_ledger, rows, script, state


class Shout(ColumnMigration):
    """Puts `v` in capitals. What tests refuse begins with a word that says how."""

    name = "shout"
    version = "1.0.0"
    description = "Capitals."
    table = "things"
    columns = ("v",)
    pending = "v <> upper(v)"

    def transform(self, row):
        match row["v"].split(":")[0]:
            case "skip":
                return Skip()
            case "reject":
                return Reject("not-liked", "v is not liked")
            case "raise":
                raise ValueError(row["v"])
            case "other":
                return Changes(w="x")
        return Changes(v=row["v"].upper())


THINGS = "CREATE TABLE things (id int PRIMARY KEY, v text);"


async def values(dsn, table="things"):
    return dict(await rows(dsn, f"SELECT id, v FROM {table}"))


@pytest.fixture
async def things(database, keyed):
    """A table of 100 rows to shout."""
    await script(database, THINGS + "INSERT INTO things SELECT n, 'v' || n FROM generate_series(1, 100) AS n")
    return database


# -- keys


@pytest.mark.parametrize(
    ("key", "made"),
    [
        ("id bigint PRIMARY KEY", "9007199254740000 + n"),
        ("id uuid PRIMARY KEY", "md5(n::text)::uuid"),
        ("id text PRIMARY KEY", "E'k\"\\\\,{}\\'\\n' || n || 'ü'"),
        ("id timestamptz PRIMARY KEY", "'2026-01-01 00:00:00.123456+11'::timestamptz + n * interval '1 day'"),
        ("id numeric PRIMARY KEY", "n + 0.10"),
        ('id int, "Zwei Wörter" date, PRIMARY KEY ("Zwei Wörter", id)', "n, '2026-01-31'::date + n"),
    ],
)
async def test_keys_of_any_type_name_rows_exactly(key, made, database, keyed):
    await script(
        database,
        f"CREATE TABLE things ({key}, v text); INSERT INTO things SELECT {made}, 'v' || n"
        " FROM generate_series(1, 30) AS n; INSERT INTO things (SELECT * FROM things LIMIT 0)",
    )
    before = await state(database)
    async with engine(database, Shout) as runner:
        report = await runner.run("shout")
        assert (report.changed_rows, report.chunks) == (30, 1)
        assert (await rows(database, "SELECT count(*) FROM things WHERE v = upper(v)"))[0][0] == 30
        await runner.rollback("shout")
    assert await state(database) == before


class Quoted(ColumnMigration):
    name = "quoted"
    version = "1.0.0"
    description = "Names that need quotes."
    table = 'Odd "Näme; --'
    columns = ('Col"umn', "größe")
    pending = '"größe" IS NULL'

    def transform(self, row):
        return Changes({"größe": len(row['Col"umn'])})


async def test_names_that_need_quotes(database, keyed):
    await script(
        database,
        'CREATE TABLE "Odd ""Näme; --" ("sele ct" int PRIMARY KEY, "Col""umn" text, "größe" int);'
        "INSERT INTO \"Odd \"\"Näme; --\" VALUES (1, 'abc'), (2, '')",
    )
    before = await state(database)
    async with engine(database, Quoted) as runner:
        assert (await runner.run("quoted")).changed_rows == 2
        assert await rows(database, 'SELECT "größe" FROM "Odd ""Näme; --" ORDER BY 1') == [(0,), (3,)]
        await runner.rollback("quoted")
    assert await state(database) == before


# -- types

TYPES = {
    "numeric": ("numeric", "1.50", lambda v: v + Decimal("1.5"), "3.00"),
    "scaled": ("numeric(6,1)", "1.5", lambda _: Decimal("2.26"), "2.3"),
    "moment": ("timestamp(3)", "2026-01-01 10:00:00.125", lambda v: v.replace(microsecond=987654), None),
    "binary_json": ("jsonb", '{"a": [1, null]}', lambda v: {**orjson.loads(v), "b": "é"}, None),
    "json": ("json", '{"b":1,  "a":2}', lambda v: v.replace("2", "3"), '{"b":1,  "a":3}'),
    "list": ("text[]", '{"a,b","x\\"y",NULL}', lambda v: [*v, 'q"\\{', "NULL", ""], None),
    "matrix": ("int[]", "{{1,2},{3,4}}", lambda _: [[10, 20], [30, 40]], "{{10,20},{30,40}}"),
    "enum": ("mood", "So So", lambda _: "happy", "happy"),
    "bool": ("boolean", "t", lambda v: not v, "false"),
    "bytea": ("bytea", "\\x00ff", lambda v: v + b"\x01\\", "\\x00ff015c"),
    "real": ("double precision", "NaN", lambda _: float("inf"), "Infinity"),
    "float": ("real", "0.1", lambda _: 0.2, "0.2"),
    "domain": ("percent", "40", lambda v: v + 2, "42"),
    "char": ("char(5)", "ab", lambda _: "abc", "abc"),
    "bits": ("bit(3)", "101", lambda _: "010", "010"),
    "range": ("int4range", "[1,5)", lambda _: "[2,7)", "[2,7)"),
    "address": ("inet", "10.0.0.1", lambda _: "10.0.0.2", "10.0.0.2/32"),
    "span": ("interval", "2 days 03:00:00", lambda v: v * 2, None),
    "nothing": ("text", None, lambda _: "was null", "was null"),
    "gone": ("text", "was there", lambda _: None, None),
}


class EveryType(ColumnMigration):
    name = "every-type"
    version = "1.0.0"
    description = "Changes a column of each type."
    table = "things"
    columns = (*TYPES, "done")
    pending = "NOT done"

    def transform(self, row):
        changed = {name: change(row[name]) for name, (_, _, change, _) in TYPES.items()}
        return Changes(changed, done=True)


async def test_values_of_any_type_are_read_changed_proven_and_restored(database, keyed):
    """A transform gets native values; what it returns is stored as the type has it; undo is exact."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, *_) in TYPES.items())
    given = ", ".join(
        "NULL" if text is None else "'" + text.replace("'", "''") + "'" for _, text, *_ in TYPES.values()
    )
    await script(
        database,
        "CREATE TYPE mood AS ENUM ('So So', 'happy'); CREATE DOMAIN percent AS int CHECK (VALUE < 101);"
        f"CREATE TABLE things (id int PRIMARY KEY, {columns}, done boolean NOT NULL DEFAULT false);"
        f"INSERT INTO things SELECT n, {given} FROM generate_series(1, 3) AS n",
    )
    before = await state(database)
    async with engine(database, EveryType) as runner:
        await runner.run("every-type", RunOptions(dry_run=True))
        assert await state(database) == before
        report = await runner.run("every-type")
        assert report.proof["read_back"] == report.changed_rows == 3
        (row, *_) = await rows(database, f"SELECT {', '.join(f'{name}::text' for name in TYPES)} FROM things")
        wrong = {
            name: row[name]
            for name, (_, _, _, expected) in TYPES.items()
            if expected is not None and row[name] != expected
        }
        assert wrong == {}
        (native, *_) = await rows(database, "SELECT * FROM things")
        assert native["moment"] == datetime(2026, 1, 1, 10, 0, 0, 988000)  # noqa: DTZ001 - as the column is
        assert orjson.loads(native["binary_json"]) == {"a": [1, None], "b": "é"}
        assert native["list"] == ["a,b", 'x"y', None, 'q"\\{', "NULL", ""]
        assert row["span"] == "4 days 06:00:00"
        assert native["gone"] is None
        await runner.rollback("every-type")
    assert await state(database) == before


async def test_what_a_trigger_made_of_a_value_is_recognised_and_undone(things):
    await script(
        things,
        "CREATE FUNCTION decorate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " NEW.v := NEW.v || CASE WHEN NEW.v = upper(NEW.v) THEN '!' ELSE '' END; RETURN NEW; END $$;"
        "CREATE TRIGGER decorate BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION decorate()",
    )
    before = await state(things)
    async with engine(things, Shout) as runner:
        report = await runner.run("shout")
        assert report.changed_rows == 100
        assert report.proof["read_back"] == 0
        assert report.proof["rewritten_by_triggers"] > 0
        assert any("decorate" in warning for warning in report.warnings)
        assert (await values(things))[7] == "V7!"
        done = await runner.rollback("shout")
    assert (done.restored_rows, done.conflicts) == (100, 0)
    assert await state(things) == before


# -- rows that are refused


async def test_skip_reject_and_a_raising_transform_concern_one_row_each(things):
    await script(
        things,
        "UPDATE things SET v = 'skip:1' WHERE id = 1; UPDATE things SET v = 'reject:2' WHERE id = 2;"
        "UPDATE things SET v = 'raise: 123456782' WHERE id = 3",
    )
    async with engine(things, Shout) as runner:
        report = await runner.run("shout", allowing(2))
        assert (report.changed_rows, report.skipped_rows, report.quarantined_rows) == (97, 1, 2)
        assert report.proof["need_nothing"] == 1
        found = {record.key: (record.code, record.reason) for record in await runner.quarantine("shout")}
    assert found["2",] == ("not-liked", "v is not liked")
    code, reason = found["3",]
    assert code == "transform-error"
    assert "ValueError at test_column_migration.py:" in reason
    assert "123456782" not in reason
    after = await values(things)
    assert (after[1], after[2], after[3], after[4]) == ("skip:1", "reject:2", "raise: 123456782", "V4")


async def test_a_transform_that_changes_an_undeclared_column_is_told_so(things):
    await script(things, "ALTER TABLE things ADD w text; UPDATE things SET v = 'other:1' WHERE id = 1")
    before = await state(things)
    async with engine(things, Shout) as runner:
        with pytest.raises(RunError, match="changes w, which is not among"):
            await runner.run("shout")
        assert (await runner.history())[0].status == "rolled_back"
    assert await state(things) == before


SERVER_REFUSES = """
ALTER TABLE things ADD CONSTRAINT no_forty CHECK (v <> 'V40');
CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF NEW.v = 'V50' THEN RAISE EXCEPTION 'I do not like %', OLD.v; END IF; RETURN NEW; END $$;
CREATE TRIGGER picky BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION picky();
INSERT INTO things VALUES (900, 'V60');
CREATE UNIQUE INDEX one_v ON things (v);
"""


async def test_rows_the_server_refuses_are_found_by_bisecting(things):
    """A CHECK, a trigger that raises, a unique index: those three rows, and the rest is migrated."""
    await script(things, SERVER_REFUSES)
    before = await state(things)
    async with engine(things, Shout) as runner:
        dry = await runner.run("shout", RunOptions(dry_run=True))
        assert (dry.changed_rows, dry.quarantined_rows) == (97, 3)
        assert await state(things) == before
        with pytest.raises(QuarantineExceeded, match="3 rows were refused, 2 are allowed"):
            await runner.run("shout", allowing(2))
        assert await state(things) == before
        report = await runner.run("shout", allowing(3))
        assert (report.changed_rows, report.quarantined_rows) == (97, 3)
        found = {record.key[0]: (record.code, record.reason) for record in await runner.quarantine("shout")}
        assert {key: code for key, (code, _) in found.items()} == {
            "40": "refused-23514",
            "50": "refused-P0001",
            "60": "refused-23505",
        }
        assert "no_forty" in found["40"][1]
        assert "one_v" in found["60"][1]
        assert not [reason for _, reason in found.values() if "v50" in reason or "V60" in reason]
        await runner.rollback("shout")
    assert await state(things) == before


async def test_on_failure_pause_keeps_what_was_done_and_goes_on_when_allowed(things):
    await script(things, "UPDATE things SET v = 'reject:' || id WHERE id IN (30, 31)")
    async with engine(things, Shout) as runner:
        with pytest.raises(QuarantineExceeded):
            await runner.run("shout", RunOptions(on_failure="pause", batch_size=10))
        (record,) = await runner.history()
        assert (record.status, record.alive) == ("paused", False)
        assert record.affected_rows > 0
        assert "refused" in (record.error or "")
        report = await runner.run("shout", allowing(2))
        assert (report.resumed, report.run_id) == (True, record.run_id)
        assert (report.changed_rows, report.quarantined_rows) == (98, 2)
        (record,) = await runner.history()
        assert (record.status, record.affected_rows, record.error) == ("succeeded", 98, None)


# -- steering


async def stopped(dsn, request, error):
    """Run in small chunks, and have another connection ask for something after the first."""
    workers, counts = 2, []
    chunks = "SELECT count(*) FROM datamig.chunks"
    async with engine(dsn, Shout) as runner, engine(dsn, Shout) as other:
        begun = anyio.Event()

        async def ask():
            await begun.wait()
            await getattr(other, request)("shout")
            counts.extend(await rows(dsn, chunks))

        runner.events.subscribe(lambda event: begun.set() if isinstance(event, ChunkDone) else None)
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            with pytest.raises(error):
                await runner.run("shout", RunOptions(batch_size=1, workers=workers))
        # Nothing more than what each worker was at.
        counts.extend(await rows(dsn, chunks))
        assert counts[1][0] - counts[0][0] <= workers
        return (await other.history())[0]


async def test_pause_from_another_connection_stops_between_chunks_and_resume_ends_it(things):
    record = await stopped(things, "pause", RunPaused)
    assert (record.status, record.alive, record.control) == ("paused", False, None)
    assert 0 < record.affected_rows < 100
    before = record.affected_rows
    async with engine(things, Shout) as runner:
        report = await runner.resume(record.run_id[:8])
        assert (report.resumed, report.changed_rows) == (True, 100)
        (record,) = await runner.history()
        assert (record.status, record.affected_rows) == ("succeeded", 100)
    # What was done before the pause was not done again.
    ((chunks, keys),) = await rows(
        things, "SELECT count(*), count(DISTINCT first_key) FROM datamig.chunks WHERE changed > 0"
    )
    assert chunks - keys == 0
    assert before < 100


class Dawdle(Shout):
    pending = "v <> upper(v) AND dawdles()"


@pytest.mark.parametrize(("request_", "status"), [("pause", "paused"), ("cancel", "rolled_back")])
async def test_a_request_is_seen_also_where_no_chunk_is_written(things, request_, status):
    """Reading the rows takes minutes, once the run has begun."""
    await script(
        things,
        "CREATE FUNCTION dawdles() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN"
        " IF to_regclass('datamig.runs') IS NOT NULL THEN PERFORM pg_sleep(3); END IF; RETURN true; END $$",
    )
    async with engine(things, Dawdle, lease_seconds=0.6) as runner, engine(things, Dawdle) as other:
        async with anyio.create_task_group() as group:

            async def ask():
                while not await other.status():
                    await anyio.sleep(0.02)
                await getattr(other, request_)("shout")

            group.start_soon(ask)
            with anyio.fail_after(60), pytest.raises((RunPaused, RunCancelled)):
                await runner.run("shout")
        (record,) = await other.history()
        assert (record.status, record.alive, record.affected_rows) == (status, False, 0)


async def test_cancel_from_another_connection_rolls_back(things):
    before = await state(things)
    record = await stopped(things, "cancel", RunCancelled)
    assert (record.status, record.affected_rows) == ("rolled_back", 0)
    assert "cancelled" in (record.error or "")
    assert await state(things) == before


async def test_cancelling_a_paused_run_rolls_it_back_here(things):
    before = await state(things)
    await stopped(things, "pause", RunPaused)
    async with engine(things, Shout) as runner:
        assert (await runner.cancel("shout")).status == "rolled_back"
    assert await state(things) == before


# -- plans


async def test_a_pinned_plan_that_no_longer_holds_is_refused(things):
    class Quieter(Shout):
        pending = "v <> upper(v) AND id > 0"

    async with engine(things, Shout) as runner:
        pinned = orjson.loads(orjson.dumps(attrs.asdict(await runner.plan("shout"))))
    before = await state(things)
    async with engine(things, Quieter) as runner:
        with pytest.raises(PlanDrift, match="code, tables or predicates"):
            await runner.run("shout", RunOptions(pinned_plan=pinned))
    await script(things, "INSERT INTO things SELECT n, 'v' || n FROM generate_series(101, 400) AS n")
    async with engine(things, Shout) as runner:
        with pytest.raises(PlanDrift, match="things has 400 pending rows, the pinned plan 100"):
            await runner.run("shout", RunOptions(pinned_plan=pinned))
        assert not await has_ledger(things)
        await script(things, "DELETE FROM things WHERE id > 190")
        assert (await runner.run("shout", RunOptions(pinned_plan=pinned))).changed_rows == 190
    assert before["catalog"] == (await state(things))["catalog"]


# -- the application writes meanwhile


async def test_rows_the_application_changes_or_inserts_meanwhile_are_migrated_too(things):
    """Compare-and-set never overwrites; the closing sweep finds what is left."""
    async with engine(things, Shout) as runner, engine(things) as application:
        begun = anyio.Event()

        async def write():
            await begun.wait()
            async with application.db.acquire() as connection:
                await connection.execute(
                    "UPDATE things SET v = 'new ' || id WHERE id > 50;"
                    "INSERT INTO things SELECT n, 'late ' || n FROM generate_series(101, 110) AS n"
                )

        runner.events.subscribe(
            lambda event: begun.set() if isinstance(event, ChunkDone) and event.changed else None
        )
        async with anyio.create_task_group() as group:
            group.start_soon(write)
            report = await runner.run("shout", RunOptions(batch_size=1))
    after = await values(things)
    assert {key: v for key, v in after.items() if key > 50} == {
        **{n: f"NEW {n}" for n in range(51, 101)},
        **{n: f"LATE {n}" for n in range(101, 111)},
    }
    assert report.proof["pending"] == 0
    ((changed,),) = await rows(things, "SELECT sum(changed) FROM datamig.chunks")
    assert changed == report.changed_rows >= 110


async def test_rows_the_application_holds_locked_are_waited_for_not_overwritten(things):
    application = await asyncpg.connect(things)
    try:
        await application.execute("BEGIN; UPDATE things SET v = 'mine' WHERE id = 7")
        async with engine(things, Shout, lock_timeout=0.05) as runner:
            proving = []
            runner.events.subscribe(
                lambda event: (
                    proving.append(event)
                    if isinstance(event, StepStarted) and event.step == "prove"
                    else None
                )
            )
            async with anyio.create_task_group() as group:

                async def let_go():
                    while (await values(things))[8] != "V8":
                        await anyio.sleep(0.05)
                    assert not proving
                    await application.execute("COMMIT")

                group.start_soon(let_go)
                report = await runner.run("shout")
    finally:
        await application.close()
    assert (await values(things))[7] == "MINE"
    assert report.changed_rows == 100


async def test_several_workers_share_a_run_and_change_each_row_once(database, keyed):
    await script(
        database,
        "CREATE TABLE things (id int PRIMARY KEY, v text, padding text DEFAULT repeat('x', 800))"
        " WITH (fillfactor = 10); INSERT INTO things SELECT n, 'v' || n FROM generate_series(1, 4100) AS n",
    )
    before = await state(database)
    async with engine(database, Shout) as runner:
        report = await runner.run("shout", RunOptions(workers=3))
        assert (report.changed_rows, report.conflicts, report.proof["pending"]) == (4100, 0, 0)
        windows = await rows(database, "SELECT done FROM datamig.windows WHERE sweep = 1")
        assert [done for (done,) in windows] == [True] * -(-4100 // WINDOW_BLOCKS)
        assert (await rows(database, "SELECT count(*) FROM things WHERE v = 'V' || id"))[0][0] == 4100
        assert (await runner.rollback("shout")).restored_rows == 4100
    assert await state(database) == before


# -- where migrations come from

MODULE = """
from taaxdog_datamig import Changes, ColumnMigration

class First(ColumnMigration):
    name = "first"; version = "2.1.0"; description = "First."; after = ("second", "absent")
    table = "things"; columns = ("v",); pending = "v <> upper(v)"

    def transform(self, row):
        return Changes(v=row["v"].upper())

class Second(First):
    name = "second"; after = ("encrypt-user-data",)
"""


async def test_migrations_of_a_module_in_the_settings_run_in_their_order(things, tmp_path, monkeypatch):
    (tmp_path / "their_migrations.py").write_text(textwrap.dedent(MODULE), "utf-8")
    (tmp_path / "twice.py").write_text(textwrap.dedent(MODULE), "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    async with engine(things, migrations=("their_migrations",)) as runner:
        assert runner.order(["first", "second", "encrypt-user-data", "first"]) == [
            "encrypt-user-data",
            "second",
            "first",
        ]
        assert runner.order(["first"]) == ["first"]
        states = {state.name: (state.version, state.pending) for state in await runner.states()}
        assert states["first"] == ("2.1.0", 100)
        assert (await runner.run("first")).changed_rows == 100
    with pytest.raises(SettingsError, match="two migrations are called first"):
        async with engine(things, migrations=("their_migrations", "twice")):
            pass
    with pytest.raises(SettingsError, match="cannot import migrations from nowhere_at_all"):
        async with engine(things, migrations=("nowhere_at_all",)):
            pass


async def test_another_session_can_follow_a_run_from_beginning_to_end(sample):
    """What a follower hears adds up to what the run did."""
    heard, begun = [], asyncio.Event()
    async with engine(sample) as runner, engine(sample) as watcher:
        watcher.events.subscribe(heard.append)
        runner.events.subscribe(lambda event: begun.set() if isinstance(event, ChunkDone) else None)
        running = asyncio.create_task(runner.run(NAME, attrs.evolve(allowing(99), batch_size=20)))
        await begun.wait()
        last = await watcher.follow(NAME)
        report = await running
    assert last.status == "succeeded"
    chunks = [event for event in heard if isinstance(event, ChunkDone)]
    assert sum(chunk.changed for chunk in chunks) == report.changed_rows
    assert sum(chunk.quarantined for chunk in chunks) == report.quarantined_rows
    expected = {event.table: event.rows for event in heard if isinstance(event, TableStarted)}
    assert sum(expected.values()) == report.estimated_rows

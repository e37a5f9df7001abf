"""What an imperative migration is promised."""

from __future__ import annotations

import textwrap

import anyio
import asyncpg
import orjson
import pytest

from taaxdog_datamig import Migration, RunOptions, failpoints
from taaxdog_datamig.engine import handling
from taaxdog_datamig.errors import (
    KeyMissing,
    LeaseHeld,
    NotReversible,
    PlanDrift,
    PreflightFailed,
    RefusedError,
    RunCancelled,
    RunError,
    RunPaused,
    UsageError,
)
from taaxdog_datamig.events import ChunkDone, Told
from taaxdog_datamig.migration import NotApplicable
from taaxdog_datamig.testing import assert_crash_safe
from tests.exclaiming import ROWS, Exclaim, fill
from tests.sample import engine, has_ledger, rows, script, state

EXCLAIMED = {i: (f"thing {i}!", 1) for i in range(1, ROWS + 1)}


@pytest.fixture
async def things(template_database, database_from, keyed):
    return database_from(template_database("things", fill))


async def found(dsn):
    return {
        row["id"]: (row["v"], row["n"]) for row in await rows(dsn, "SELECT id, v, n FROM things ORDER BY id")
    }


async def tally(dsn):
    return (await rows(dsn, "SELECT total FROM tally"))[0][0]


def of(up, **more):
    """A migration with this `up`."""
    body = {"name": "of-mine", "version": "1", "description": "Something.", "up": up}
    return type("OfMine", (Migration,), body | more)


async def run(dsn, kind, **options):
    async with engine(dsn, kind) as runner:
        return await runner.run(kind.name, RunOptions(**options))


async def undone(dsn, kind):
    async with engine(dsn, kind) as runner:
        return await runner.rollback(kind.name)


async def mark(connection, batch):
    await connection.execute("UPDATE things SET n = n + 1 WHERE id = ANY ($1::int[])", [*batch])


async def test_plan_dry_run_run_again_force_and_rollback(things):
    before = await state(things)
    async with engine(things, Exclaim) as runner:
        told = []
        runner.events.subscribe(lambda event: told.append(event) if isinstance(event, Told) else None)
        plan = await runner.plan("exclaim")
        assert (plan.pending_rows, plan.tables[0].estimate) == (2 * ROWS, "stated")
        (listed,) = [each for each in await runner.states() if each.name == "exclaim"]
        assert (listed.pending, listed.applicable) == (2 * ROWS, True)

        dry = await runner.run("exclaim", RunOptions(dry_run=True, batch_size=9))
        assert (dry.changed_rows, dry.chunks, dry.run_id) == (2 * ROWS, 14, None)
        assert await state(things) == before
        assert not await has_ledger(things)

        report = await runner.run("exclaim", RunOptions(batch_size=10))
        assert (report.changed_rows, report.estimated_rows, report.chunks) == (2 * ROWS, 2 * ROWS, 12)
        assert report.status == "succeeded"
        assert await found(things) == EXCLAIMED
        assert await tally(things) == ROWS
        assert told == [Told(message="exclaiming")] * 2

        again = await runner.run("exclaim")
        assert again.status == "already_run"
        (record,) = await runner.status("exclaim")
        assert record.affected_rows == 2 * ROWS
        assert record.rollback.startswith(
            "by down() of exclaim: rollback data of 12 chunks, sealed under key "
        )

        tried = await runner.rollback("exclaim", dry_run=True)
        assert (tried.restored_rows, tried.dry_run) == (6 + ROWS, True)
        assert await found(things) == EXCLAIMED
        undo = await runner.rollback("exclaim")
        assert (undo.restored_rows, undo.conflicts) == (2 * ROWS, 0)
        assert await state(things) == before
        with pytest.raises(RefusedError, match="was rolled back at"):
            await runner.rollback("exclaim")
        (record,) = await runner.status("exclaim")
        assert (record.status, record.affected_rows) == ("rolled_back", 0)


async def test_force_runs_it_again(things):
    async def up(self):
        await self.process_batch([1, 2], mark)

    kind = of(up)
    await run(things, kind)
    assert (await run(things, kind)).status == "already_run"
    assert (await run(things, kind, force=True)).changed_rows == 2
    assert [n for _, n in (await found(things)).values()] == [2, 2] + [0] * (ROWS - 2)


async def test_it_may_be_killed_at_every_point(things):
    # Without that one, which is not reached, the harness gets to the last.
    points = [name for name in failpoints.NAMES if name != "rollback-before-ddl"]
    report = await assert_crash_safe(Exclaim, things, points=points, random_kills=2, batch_size=10)
    assert report.changed_rows == 2 * ROWS
    assert set(report.killed_at) == {
        *("after-plan", "after-ledger", "after-begin-run", "after-update", "after-image", "before-commit"),
        *("after-commit", "after-record"),
        *("rollback-begin", "rollback-before-commit", "rollback-after-commit", "rollback-end"),
    }


async def test_arguments_reach_it_and_their_choices_are_kept_to(things):
    await run(things, Exclaim, arguments={"sign": "?"})
    assert (await found(things))[1] == ("thing 1?", 1)
    with pytest.raises(UsageError, match="sign=x"):
        await run(things, Exclaim, arguments={"sign": "x"}, force=True)


async def paused_after(dsn, kind, chunks, **options):
    """Leave a run paused after so many batches."""
    async with engine(dsn, kind) as runner:
        left = [chunks]

        def interrupt(event):
            left[0] -= isinstance(event, ChunkDone)
            if not left[0]:
                raise RunPaused("enough")

        runner.events.subscribe(interrupt)
        with pytest.raises(RunPaused):
            await runner.run(kind.name, RunOptions(**options))


@pytest.mark.parametrize("chunks", [1, 3, 6, 9, 11])
async def test_a_paused_run_goes_on_with_other_batch_sizes(things, chunks):
    await paused_after(things, Exclaim, chunks, batch_size=10)
    async with engine(things, Exclaim) as runner:
        (record,) = await runner.status()
        assert record.status == "paused"
        report = await runner.run("exclaim", RunOptions(batch_size=3))
        assert report.resumed
        assert report.changed_rows == 2 * ROWS
        assert await found(things) == EXCLAIMED
        assert await tally(things) == ROWS
        await runner.rollback("exclaim")
    assert await tally(things) == 0


async def test_a_paused_run_is_rolled_back_for_the_part_it_did(things):
    before = await state(things)
    await paused_after(things, Exclaim, 8, batch_size=10)
    assert await state(things) != before
    assert (await undone(things, Exclaim)).restored_rows == ROWS + 2 * 10
    assert await state(things) == before


async def test_a_run_is_not_resumed_with_other_arguments(things):
    await paused_after(things, Exclaim, 2, batch_size=10)
    with pytest.raises(PlanDrift, match="began with sign=!"):
        await run(things, Exclaim, arguments={"sign": "?"})
    async with engine(things, Exclaim) as runner:
        report = await runner.resume("exclaim")
    assert report.changed_rows == 2 * ROWS


async def test_pause_and_cancel_are_heeded_between_batches(things):
    before = await state(things)
    async with engine(things, Exclaim) as runner, engine(things, Exclaim) as other:
        asked = []

        async def ask(what):
            while not asked:
                await anyio.sleep(0.01)
            await getattr(other, what)("exclaim")

        async def slowly(self, connection, batch):
            asked.append(batch)
            await anyio.sleep(0.05)
            return await Exclaim.exclaim(self, connection, batch)

        slow = type("Slow", (Exclaim,), {"exclaim": slowly, "__module__": Exclaim.__module__})
        runner.registry = runner.registry.__class__({"exclaim": slow})
        for what, error in (("pause", RunPaused), ("cancel", RunCancelled)):
            with pytest.RaisesGroup(error, allow_unwrapped=True, flatten_subgroups=True):
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, what)
                    await runner.run("exclaim", RunOptions(batch_size=1))
            asked.clear()
            assert (await runner.status("exclaim"))[0].status == {"pause": "paused"}.get(what, "rolled_back")
    assert await state(things) == before


async def test_validate_says_no(things):
    async def up(self):
        raise AssertionError

    async def no(self):
        return False

    async def because(self):
        raise RefusedError("there is no full moon")

    with pytest.raises(PreflightFailed, match=r"validate\(\) of of-mine says that it should not run here"):
        await run(things, of(up, validate=no))
    with pytest.raises(RefusedError, match="full moon"):
        await run(things, of(up, validate=because))
    with pytest.raises(PreflightFailed):
        await run(things, of(up, validate=no), dry_run=True)
    assert not await has_ledger(things)


async def test_validate_is_not_asked_of_a_run_that_goes_on(things):
    answers = [True]

    async def validate(self):
        return answers.pop()

    kind = type("Once", (Exclaim,), {"validate": validate})
    await paused_after(things, kind, 2, batch_size=10)
    assert (await run(things, kind)).status == "succeeded"


async def test_a_failing_up_is_rolled_back_by_down(things):
    before = await state(things)

    async def fails(self, connection, batch):
        if any(row["id"] > ROWS // 2 for row in batch):
            raise ValueError("thing 7 is secret")
        await Exclaim.count(self, connection, batch)

    kind = type("Fails", (Exclaim,), {"count": fails, "__module__": __name__})
    with pytest.raises(RunError) as caught:
        await run(things, kind)
    assert "up() of exclaim failed: ValueError at test_imperative.py:" in caught.value.what
    assert "was rolled back" in caught.value.what
    assert "secret" not in str(caught.value)
    assert await state(things) == before
    with pytest.raises(RunError, match="the run is paused"):
        await run(things, kind, on_failure="pause")
    assert await state(things) != before
    assert (await run(things, Exclaim)).resumed
    assert await found(things) == EXCLAIMED


async def test_without_down_a_failed_run_stays_as_it_is_and_a_rollback_is_refused(things):
    async def up(self):
        await self.process_batch([1, 2], mark)
        await self.process_batch(["x"], mark)

    kind = of(up)
    async with engine(things, kind) as runner:
        assert "not reversible" in (await runner.plan("of-mine")).warnings[0]
    with pytest.raises(RunError, match=r"call 2 of of-mine: .*it is not reversible: `datamig resume"):
        await run(things, kind)
    with pytest.raises(NotReversible, match="Restore from a backup instead"):
        await undone(things, kind)
    async with engine(things, kind) as runner:
        (record,) = await runner.status("of-mine")
    assert (record.status, record.affected_rows) == ("paused", 2)
    assert "not reversible" in record.rollback


async def test_nothing_was_changed_where_an_irreversible_run_fails_at_once(things):
    async def up(self):
        raise KeyError

    with pytest.raises(RunError, match="nothing was changed"):
        await run(things, of(up))
    async with engine(things) as runner:
        assert (await runner.status("of-mine"))[0].status == "failed"


@pytest.mark.parametrize("error", [NotImplementedError("no"), NotReversible("there is no way")])
async def test_a_down_that_refuses_leaves_the_run_as_it_was(things, error):
    async def up(self):
        await self.process_batch([1, 2], mark)

    async def down(self):
        raise error

    kind = of(up, down=down)
    await run(things, kind)
    with pytest.raises(NotReversible):
        await undone(things, kind)
    async with engine(things, kind) as runner:
        (record,) = await runner.status("of-mine")
        assert (record.status, record.owner) == ("succeeded", None)
        assert (await runner.run("of-mine")).status == "already_run"


async def test_rollback_needs_the_code(things):
    await run(things, Exclaim)
    async with engine(things) as runner:
        with pytest.raises(UsageError, match="no migration 'exclaim'"):
            await runner.rollback("exclaim")
    assert (await undone(things, Exclaim)).restored_rows == 2 * ROWS


async def test_rollback_data_come_newest_first(things):
    async def up(self):
        async def keep(connection, batch):
            for item in batch:
                self.store_rollback([item, None, {"a": 1.5}])

        await self.process_batch(range(5), keep, batch_size=2)
        await self.process_batch(["x", "y"], keep)

    seen = []

    async def down(self):
        async def note(connection, batch):
            seen.extend(batch)

        await self.process_batch(self.rollback_data(), note, batch_size=2)

    kind = of(up, down=down)
    await run(things, kind)
    await undone(things, kind)
    assert seen == [[item, None, {"a": 1.5}] for item in ("y", "x", 4, 3, 2, 1, 0)]


async def test_rollback_data_may_be_taken_one_by_one(things):
    """A call for each piece: calls are numbered, so that those that were done are passed over."""
    before = await state(things)

    async def down(self):
        async for data in self.rollback_data():
            await self.process_batch([data], self.give_back)

    kind = type("OneByOne", (Exclaim,), {"down": down})
    await run(things, kind, batch_size=10)
    async with engine(things, kind) as runner:
        done = []

        def interrupt(event):
            done.append(event)
            if sum(isinstance(each, ChunkDone) for each in done) == 20:
                raise RuntimeError

        runner.events.subscribe(interrupt)
        with pytest.raises(RunError):
            await runner.rollback("exclaim")
    assert await state(things) != before
    await undone(things, kind)
    assert await state(things) == before


async def test_an_unfinished_rollback_is_ended_before_a_new_run(things):
    await run(things, Exclaim, batch_size=10)
    async with engine(things, Exclaim) as runner:
        done = []

        def interrupt(event):
            done.append(event)
            if sum(isinstance(each, ChunkDone) for each in done) == 3:
                raise RuntimeError

        runner.events.subscribe(interrupt)
        with pytest.raises(RunError):
            await runner.rollback("exclaim")
        assert (await runner.status("exclaim"))[0].status == "rolling_back"
    report = await run(things, Exclaim)
    assert not report.resumed
    assert await found(things) == EXCLAIMED
    assert await tally(things) == ROWS


async def test_rollback_data_are_sealed_or_said_not_to_be(things):
    async def up(self):
        async def keep(connection, batch):
            self.store_rollback("hush hush hush")

        await self.process_batch([1], keep)

    async def down(self):
        await self.process_batch(self.rollback_data(), mark)

    kind = of(up, down=down)
    with pytest.raises(KeyMissing, match="sensitive rollback data"):
        async with engine(things, of(up, sensitive=True), environ={}) as runner:
            await runner.run("of-mine")
    assert not await has_ledger(things)
    await run(things, kind)
    ((image,),) = await rows(things, "SELECT image FROM datamig.before_images")
    assert b"hush" not in image
    async with engine(things, kind, environ={}) as runner:
        with pytest.raises(RefusedError, match="sealed under key"):
            await runner.rollback("of-mine")
    await rows(things, "DELETE FROM datamig.before_images")
    with pytest.raises(RefusedError, match=r"rollback data of run .* are gone"):
        await undone(things, kind)


@pytest.mark.parametrize("data", [{1, 2}, object(), b"x", {"a": 1j}])
async def test_rollback_data_that_are_no_json_are_refused(things, data):
    async def up(self):
        async def keep(connection, batch):
            await mark(connection, batch)
            self.store_rollback(data)

        await self.process_batch([1], keep)

    with pytest.raises(UsageError, match="must be JSON values"):
        await run(things, of(up))
    assert (await found(things))[1] == ("thing 1", 0)


async def test_a_list_that_the_migration_makes_shorter_is_found_out(things):
    async def up(self):
        async with self.context.db.acquire() as connection:
            ids = [
                row["id"] for row in await connection.fetch("SELECT id FROM things WHERE n = 0 ORDER BY id")
            ]
        await self.process_batch(ids, mark, batch_size=10)

    kind = of(up)
    await paused_after(things, kind, 2)
    with pytest.raises(PlanDrift, match="is not given the items"):
        await run(things, kind)
    assert sum(n for _, n in (await found(things)).values()) == 20


async def test_a_pending_query_that_stays_pending_is_an_error_and_does_not_loop(things):
    async def up(self):
        await self.process_batch("SELECT id FROM things ORDER BY id", nothing, batch_size=10)

    async def nothing(connection, batch):
        return len(batch)

    with pytest.raises(RunError, match="finds the rows again that the last batch was given"):
        await run(things, of(up))
    assert (await run(things, of(up), dry_run=True)).changed_rows == ROWS

    async def idle(self):
        await self.process_batch("SELECT id, random() FROM things", zero)

    async def zero(connection, batch):
        return 0

    with pytest.raises(RunError, match="one after the other, changed nothing"):
        await run(things, of(idle))


async def test_what_is_written_past_the_batches_is_refused(things):
    async def up(self):
        async with self.context.db.acquire() as connection:
            await connection.execute("UPDATE things SET n = 7")

    before = await state(things)
    for dry_run in (True, False):
        with pytest.raises(RunError, match=r"up\(\) of of-mine writes outside of process_batch"):
            await run(things, of(up), dry_run=dry_run)
    assert await state(things) == before


async def test_a_dry_run_shows_the_mode_and_leaves_nothing(things):
    modes = []

    async def up(self):
        modes.append(self.context.dry_run)
        await self.process_batch("SELECT id FROM things WHERE n = 0 ORDER BY id", once, batch_size=7)

    async def once(connection, batch):
        await mark(connection, [row["id"] for row in batch])
        assert await connection.fetchval("SELECT sum(n) FROM things") == len(batch)

    before = await state(things)
    assert (await run(things, of(up), dry_run=True)).changed_rows == ROWS
    assert await state(things) == before
    assert not await has_ledger(things)
    assert modes == [True]


@pytest.mark.parametrize(
    ("items", "error"),
    [({1, 2}, "a set"), ([object()], "no plain value"), ([{"a": {1}}], "no plain value")],
)
async def test_items_without_an_order_or_a_spelling_are_refused(things, items, error):
    async def up(self):
        await self.process_batch(items, nothing)

    async def nothing(connection, batch):
        return 0

    with pytest.raises(UsageError, match=error):
        await run(things, of(up))


async def test_items_may_be_rows_and_come_from_a_generator(things):
    async def up(self):
        async def rising():
            async with self.context.db.acquire() as connection:
                for row in await connection.fetch("SELECT id, now() FROM things ORDER BY id"):
                    yield row["id"]

        async with self.context.db.acquire() as connection:
            ids = await connection.fetch("SELECT id, 1.5::numeric FROM things ORDER BY id")
        await self.process_batch(rising(), mark, batch_size=9)
        await self.process_batch(ids, of_rows, batch_size=9)

    async def of_rows(connection, batch):
        await mark(connection, [row["id"] for row in batch])

    kind = of(up)
    await paused_after(things, kind, 10)
    assert (await run(things, kind)).changed_rows == 2 * ROWS
    assert {n for _, n in (await found(things)).values()} == {2}


async def handled(dsn, statement):
    async def up(self):
        await self.process_batch([1], handle)

    async def handle(connection, batch):
        await mark(connection, batch)
        await connection.execute(statement)

    await run(dsn, of(up))


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("INSERT INTO things VALUES (2, 'secret')", "UniqueViolation .23505. on constraint things_pkey"),
        ("INSERT INTO late VALUES (2, 99)", "ForeignKeyViolation .23503."),
        ("UPDATE nowhere SET x = 'secret'", "UndefinedTable .42P01."),
        ("COMMIT", "the handler ended the transaction"),
    ],
)
async def test_what_the_server_refuses_fails_the_run_without_quoting_it(things, statement, told):
    await script(
        things, "CREATE TABLE late (id int, thing int REFERENCES things DEFERRABLE INITIALLY DEFERRED)"
    )
    with pytest.raises(RunError, match=f"batch 1 of call 1 of of-mine: .*{told}") as caught:
        await handled(things, statement)
    assert "secret" not in str(caught.value)


async def test_a_handler_that_goes_on_after_a_failed_statement_is_told_so(things):
    async def up(self):
        await self.process_batch([1], handle)

    async def handle(connection, batch):
        try:
            await connection.execute("SELECT 1/0")
        except asyncpg.PostgresError:
            return 1

    with pytest.raises(RunError, match="went on after a statement that had failed"):
        await run(things, of(up))


async def test_a_batch_that_meets_a_lock_or_a_lost_connection_is_done_again_once(things):
    tries = []

    async def up(self):
        await self.process_batch([1, 2, 3], handle)

    async def handle(connection, batch):
        tries.append(batch)
        await mark(connection, batch)
        if len(tries) == 1:
            raise asyncpg.DeadlockDetectedError
        if len(tries) == 2:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    report = await run(things, of(up))
    assert (report.changed_rows, len(tries)) == (3, 3)
    assert [n for _, n in (await found(things)).values()][:4] == [1, 1, 1, 0]


async def test_a_commit_whose_answer_was_lost_is_not_done_again(things, monkeypatch):
    lost = []
    real = handling.transaction

    class Lossy:
        def __init__(self, connection):
            self.inner = real(connection)

        async def __aenter__(self):
            return await self.inner.__aenter__()

        async def __aexit__(self, *error):
            answer = await self.inner.__aexit__(*error)
            if error[0] is None and not lost:
                lost.append(True)
                raise ConnectionResetError
            return answer

    monkeypatch.setattr(handling, "transaction", Lossy)

    async def up(self):
        assert await self.process_batch([1, 2], mark) == 2
        assert await self.process_batch([3], mark) == 1

    assert (await run(things, of(up))).changed_rows == 3
    assert lost
    assert [n for _, n in (await found(things)).values()][:4] == [1, 1, 1, 0]


async def no(connection, batch):
    raise AssertionError


async def nested(self):
    async def inner(connection, batch):
        await self.process_batch([2], no)

    await self.process_batch([1], inner)


async def outside(self):
    self.store_rollback(1)


async def forward(self):
    await self.process_batch(self.rollback_data(), no)


async def empty(self):
    await self.process_batch([1], no, batch_size=0)


async def text(self):
    async def handle(connection, batch):
        return "two"

    await self.process_batch([1], handle)


@pytest.mark.parametrize(
    ("up", "told"),
    [
        (nested, "one call of it at a time"),
        (outside, "store_rollback is for handlers"),
        (forward, "rollback_data is for down"),
        (empty, "batch_size=0"),
        (text, "returned no number of rows"),
    ],
)
async def test_misuse_is_told(things, up, told):
    with pytest.raises(UsageError, match=told):
        await run(things, of(up))


async def test_process_batch_before_up_is_told(things):
    async def early(self):
        await self.process_batch([1], no)

    with pytest.raises(UsageError, match=r"works inside up\(\) and down\(\) alone"):
        await run(things, of(early, validate=early))


async def test_a_table_it_names_is_nobody_elses_meanwhile(things):
    async def up(self):
        await self.process_batch([1], mark)

    other = of(up, tables=("things",))
    await paused_after(things, Exclaim, 2, batch_size=10)
    with pytest.raises(LeaseHeld, match="works on the same table"):
        await run(things, other)
    await run(things, Exclaim)
    await run(things, other)
    with pytest.raises(RefusedError, match="changed the same tables since"):
        await undone(things, Exclaim)


async def test_without_its_table_it_does_not_apply(things):
    async def up(self):
        raise AssertionError

    async def estimate(self):
        raise NotApplicable("no clock")

    for kind in (of(up, tables=("nowhere",)), of(up, estimate_affected_records=estimate)):
        report = await run(things, kind)
        assert report.status == "nothing_to_do"


async def test_the_audit_trail_and_the_chunks_tell_what_happened(things):
    await run(things, Exclaim, batch_size=30)
    await undone(things, Exclaim)
    entries = await rows(things, "SELECT event, entry FROM datamig.audit ORDER BY seq")
    events = [row["event"] for row in entries]
    assert events[:2] == ["run-started", "validated"]
    assert events.count("chunk") == 4
    assert "run-succeeded" in events
    assert events[-1] == "run-rolled-back"
    first = orjson.loads(entries[2]["entry"])
    assert {name: first[name] for name in ("call", "batch", "changed", "rollback_data")} == {
        "call": 1,
        "batch": 1,
        "changed": 30,
        "rollback_data": 1,
    }


TEMPLATE = """
from taaxdog_datamig import Migration


class CustomMigration(Migration):
    name = "custom-migration"
    description = "Description of what this migration does"
    version = "1.0.0"

    async def validate(self) -> bool:
        # Check if migration should run
        # Return true if valid, false otherwise
        return True

    async def estimate_affected_records(self) -> int:
        # Return count of records that will be modified
        return 0

    async def up(self) -> None:
        # Implement forward migration
        # Use self.context.dry_run to check mode
        # Use self.process_batch() for large datasets
        ...

    async def down(self) -> None:
        # Implement rollback logic
        # May throw error if not reversible
        ...
"""


@pytest.fixture
def template(tmp_path, monkeypatch):
    (tmp_path / "guides_template.py").write_text(textwrap.dedent(TEMPLATE))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


async def works(runner):
    assert (await runner.run("custom-migration", RunOptions(dry_run=True))).status == "succeeded"
    assert (await runner.run("custom-migration")).status == "succeeded"
    assert (await runner.run("custom-migration")).status == "already_run"
    assert (await runner.rollback("custom-migration")).restored_rows == 0
    assert (await runner.history())[0].status == "rolled_back"


async def test_the_guides_template_works_as_it_is_named_in_datamig_toml(things, template, monkeypatch):
    (template / "datamig.toml").write_text('migrations = ["guides_template"]\n')
    monkeypatch.chdir(template)
    async with engine(things) as runner:
        await works(runner)


async def test_the_guides_template_works_as_an_entry_point(things, template):
    installed = template / "guides_template-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: guides-template\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[taaxdog_datamig.migrations]\ncustom = guides_template:CustomMigration\n"
    )
    async with engine(things) as runner:
        await works(runner)

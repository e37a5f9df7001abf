"""`quarantine retry`: refused rows again, and no other, each exactly once, on the same record."""

from __future__ import annotations

import asyncpg
import attrs
import pytest

from taaxdog_datamig import (
    ArchiveManager,
    Changes,
    ColumnMigration,
    Leave,
    Reject,
    RunOptions,
    Skip,
)
from taaxdog_datamig.engine import retry
from taaxdog_datamig.errors import QuarantineExceeded, RefusedError, RunPaused, UsageError
from taaxdog_datamig.ledger import Ledger
from tests.sample import allowing, engine, rows, script
from tests.tidying import Tidy, library


class Shout(ColumnMigration):
    """What begins with ? looks done, and is only found by the inspection."""

    name = "shout"
    version = "1.0.0"
    description = "Capitals."
    table = "things"
    columns = ("v",)
    pending = "v <> upper(v)"

    async def targets(self):
        (target,) = await super().targets()
        return [attrs.evolve(target, inspect="v LIKE '?%'")]

    def transform(self, row):
        match row["v"].split(":")[0]:
            case "skip":
                return Skip()
            case "reject" | "?":
                return Reject("not-liked", "v is not liked")
            case "leave":
                return Leave("let-be", "v is let be")
        return Changes(v=row["v"].upper())


class Words(Shout):
    name = "words"
    columns = ("v", "w")
    pending = "w <> upper(w)"

    async def targets(self):
        return await ColumnMigration.targets(self)

    def transform(self, row):
        return Reject("numb", "w is numb") if row["w"] == "numb" else Changes(w=row["w"].upper())


THINGS = """
CREATE TABLE things (id int PRIMARY KEY, v text, w text NOT NULL DEFAULT '');
INSERT INTO things SELECT n, 'v' || n FROM generate_series(1, 20) AS n;
UPDATE things SET v = 'reject:' || id WHERE id <= 9;
UPDATE things SET v = '?:' || id WHERE id IN (10, 11);
ALTER TABLE things ADD CONSTRAINT no_twelve CHECK (v <> 'V12');
"""


@pytest.fixture
async def things(database, keyed):
    await script(database, THINGS)
    return database


async def told(runner):
    report = await runner.retry_quarantined("shout")
    return report, {row.key[0]: row.outcome for row in report.rows}


async def counted(dsn) -> tuple[int, int]:
    """Rows that the ledger counts as changed, and before-images of them."""
    ((changed, images),) = await rows(
        dsn,
        "SELECT sum(c.changed), count(b.chunk_id) FROM datamig.chunks c"
        " LEFT JOIN datamig.before_images b ON b.chunk_id = c.id",
    )
    return changed, images


async def test_each_refused_row_is_done_again_and_its_outcome_told(things, monkeypatch):
    monkeypatch.setattr(retry, "_LOOKS", 2)
    async with engine(things, Shout) as runner:
        run = await runner.run("shout", allowing(12))
        assert (run.changed_rows, run.quarantined_rows) == (8, 12)
        before = dict(await rows(things, "SELECT id, v FROM things"))
        await script(
            things,
            "UPDATE things SET v = 'good' WHERE id IN (1, 2, 10); UPDATE things SET v = 'DONE' WHERE id = 3;"
            "DELETE FROM things WHERE id = 4; UPDATE things SET v = 'leave:5' WHERE id = 5;"
            "UPDATE things SET v = 'skip:6' WHERE id = 6; ALTER TABLE things DROP CONSTRAINT no_twelve;"
            "INSERT INTO things VALUES (99, 'came later')",
        )
        mended = dict(await rows(things, "SELECT id, v FROM things"))
        application = await asyncpg.connect(things)
        held = application.transaction()
        await held.start()
        await application.execute("SELECT FROM things WHERE id = 2 FOR UPDATE")
        report, outcomes = await told(runner)
        await held.rollback()
        await application.close()
        assert outcomes == {
            **dict.fromkeys(("1", "10", "12"), "changed"),
            "2": "busy",
            "3": "unneeded",
            "4": "gone",
            "5": "left",
            "6": "unneeded",
            **dict.fromkeys(("7", "8", "9", "11"), "refused"),
        }
        assert report.outcomes == {"changed": 3, "busy": 1, "unneeded": 2, "gone": 1, "left": 1, "refused": 4}
        assert (report.status, report.still_refused, report.proof["read_back"]) == ("succeeded", 5, 3)
        assert {(row.code, row.reason) for row in report.rows if row.outcome == "refused"} == {
            ("not-liked", "v is not liked")
        }
        (record,) = await runner.history()
        assert (record.run_id, record.status, record.owner) == (run.run_id, "succeeded", None)
        assert (record.affected_rows, record.quarantined_rows) == (11, 5)
        listed = {entry.key[0]: entry.left for entry in await runner.quarantine("shout")}
        assert listed == {"2": False, "5": True, "7": False, "8": False, "9": False, "11": False}
        # Now it lets go of the row; those that are done are not met again.
        _, outcomes = await told(runner)
        assert outcomes == {"2": "changed", **dict.fromkeys(("7", "8", "9", "11"), "refused")}
        after = dict(await rows(things, "SELECT id, v FROM things"))
        assert (after[1], after[2], after[12], after[99]) == ("GOOD", "GOOD", "V12", "came later")
        assert (await runner.run("shout")).status == "already_run"
        rolled = await runner.rollback("shout")
        assert (rolled.restored_rows, rolled.conflicts) == (12, 0)
        back = dict(await rows(things, "SELECT id, v FROM things"))
        assert back == {**mended, **{key: before[key].lower() for key in range(13, 21)}}
        with pytest.raises(UsageError, match="rolled back"):
            await told(runner)
    async with asyncpg.create_pool(things, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        assert await Ledger.of().audit.verify(connection) is None


async def test_a_paused_run_stays_paused_and_a_later_run_on_the_table_forbids_a_retry(things):
    async with engine(things, Shout, Words) as runner:
        with pytest.raises(QuarantineExceeded):
            await runner.run("shout", RunOptions(on_failure="pause", batch_size=3))
        (paused,) = await runner.status()
        await script(things, "UPDATE things SET v = 'good' WHERE v ~ '[?:]'")
        report, outcomes = await told(runner)
        assert report.status == "paused"
        assert set(outcomes.values()) == {"changed"}
        assert (await runner.status())[0].status == "paused"
        assert (await runner.retry_quarantined("shout")).outcomes == {}
        await script(things, "ALTER TABLE things DROP CONSTRAINT no_twelve")
        done = await runner.resume(paused.run_id)
        assert (done.status, done.changed_rows, done.quarantined_rows) == ("succeeded", 20, 0)
        await script(
            things, "UPDATE things SET w = 'numb' WHERE id = 1; UPDATE things SET w = 'a' WHERE id = 2"
        )
        assert (await runner.run("words", allowing(1))).quarantined_rows == 1
        await script(things, "INSERT INTO things VALUES (30, 'late')")
        await runner.run("shout", RunOptions(force=True))
        with pytest.raises(RefusedError, match="has changed the same tables since"):
            await runner.retry_quarantined("words")


async def test_a_retry_that_is_stopped_is_gone_on_with(things):
    """Stopped after each of its chunks: no row is done twice, or forgotten."""
    async with engine(things, Shout) as runner:
        await runner.run("shout", RunOptions(max_quarantine=12, batch_size=2))
        await script(
            things, "UPDATE things SET v = 'good' WHERE v ~ '[?:]'; UPDATE things SET v = 'x' WHERE id = 12"
        )
        done = runner.events

        def once(event, seen=[]):  # noqa: B006 - that is the point
            if type(event).__name__ == "ChunkDone" and len(seen) < 3:
                seen.append(event)
                raise RunPaused("as if somebody had asked")

        done.subscribe(once)
        for _ in range(3):
            with pytest.raises(RunPaused):
                await told(runner)
            (record,) = await runner.history()
            assert (record.status, record.alive) == ("succeeded", False)
        report, _ = await told(runner)
        assert report.outcomes == {"changed": 6}
        assert await counted(things) == (20, 4 + 6)
        assert (await runner.rollback("shout")).conflicts == 0


LIBRARY = f"""{library(20)}
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
CREATE TRIGGER no BEFORE DELETE ON authors FOR EACH ROW WHEN (OLD.id IN (2, 4, 6)) EXECUTE FUNCTION no();
"""


async def test_rows_that_could_not_be_deleted_are_archived_and_deleted(
    database, keyed, tmp_path, monkeypatch
):
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path))
    await script(database, LIBRARY)
    async with engine(database, Tidy) as runner:
        run = await runner.run("tidy", allowing(3))
        assert (run.deleted_rows, run.quarantined_rows) == ({"authors": 7, "books": 21}, 3)
        await script(
            database,
            "DROP TRIGGER no ON authors; UPDATE authors SET old = false WHERE id = 6;"
            "INSERT INTO authors VALUES (30, true)",
        )
        before = await rows(database, "SELECT * FROM authors ORDER BY id")
        report = await runner.retry_quarantined("tidy")
        assert {row.key[0]: row.outcome for row in report.rows} == {
            "2": "changed",
            "4": "changed",
            "6": "unneeded",
        }
        assert await rows(database, "SELECT id FROM authors WHERE old") == [(30,)]
        archive = await ArchiveManager(settings=runner.settings).show(run.run_id)
        assert {table.table: table.rows for table in archive.tables} == {"authors": 9, "books": 27}
        rolled = await runner.rollback("tidy")
        assert (rolled.restored_rows, rolled.conflicts) == (9, 0)
        back = await rows(database, "SELECT * FROM authors ORDER BY id")
        assert [row for row in back if row in before] == before
        assert await rows(database, "SELECT count(*) FROM books") == [(60,)]

"""Validation around a run: of what the run changes, told before, and held against the run after."""

from __future__ import annotations

import threading
from functools import partial

import anyio
import attrs
import orjson
import pytest

from taaxdog_datamig import Changes, ColumnMigration, Migration, RunOptions, Validator
from taaxdog_datamig.engine import validating
from taaxdog_datamig.errors import PreflightFailed, ProofFailed, RunPaused
from taaxdog_datamig.events import ChunkDone, StepFinished
from tests.sample import engine, rows, script

TABLES = """
CREATE TABLE users (id int PRIMARY KEY, state text, note text);
INSERT INTO users SELECT i, CASE WHEN i <= 4 THEN 'nsw' ELSE 'VIC' END, 'x' FROM generate_series(1, 10) AS i
"""


class UpperState(ColumnMigration):
    name = "upper-state"
    version = "1"
    description = "Spell states in capitals"
    table = "users"
    columns = ("state",)
    pending = "state <> upper(state)"

    def transform(self, row):
        return Changes(state=row["state"].upper())


class LowerState(ColumnMigration):
    """A migration with a fault, as seen by the rule that states are capitals."""

    name = "lower-state"
    version = "1"
    description = "Spell states in small letters"
    table = "users"
    columns = ("state",)
    pending = "state <> lower(state)"

    def transform(self, row):
        return Changes(state=row["state"].lower())


class LowerByCode(Migration):
    name = "lower-by-code"
    version = "1"
    description = "The same, by code of its own"
    tables = ("users",)

    async def estimate_affected_records(self):
        return 6

    async def up(self):
        await self.process_batch("SELECT id FROM users WHERE state <> lower(state) ORDER BY id", self.handle)

    async def handle(self, connection, batch):
        ids = [row["id"] for row in batch]
        await connection.execute("UPDATE users SET state = lower(state) WHERE id = ANY ($1::int[])", ids)
        return len(ids)

    async def down(self):
        await self.process_batch(self.rollback_data(), self.handle)


SMALL = {
    "id": "small-letters",
    "title": "State in small letters",
    "category": "data-consistency",
    "severity": "medium",
    "table": "users",
    "violation": "{state} = lower({state})",
    "fix": "upper-state",
}
NOTED = SMALL | {"id": "has-note", "violation": "{note} IS NOT NULL", "fix": "nothing-here"}


def runner(dsn, *checks, **settings):
    migrations = (UpperState, LowerState, LowerByCode)
    return engine(dsn, *migrations, environ={}, checks=checks, **settings)


@pytest.fixture
async def small(database):
    await script(database, TABLES)
    return database


async def states(dsn):
    return [row["state"] for row in await rows(dsn, "SELECT state FROM users ORDER BY id")]


def counts(report):
    return {check.id: (check.before, check.after) for check in report.validation.checks}


def meanwhile(dsn, statements):
    """Do something over another connection, now, although an event loop runs here."""
    thread = threading.Thread(target=anyio.run, args=(script, dsn, statements))
    thread.start()
    thread.join()


async def test_a_report_says_what_was_found_before_and_after(small):
    async with runner(small, SMALL, NOTED) as engine:
        dry = await engine.run("upper-state", RunOptions(dry_run=True))
        real = await engine.run("upper-state")
        record = await rows(small, "SELECT report FROM datamig.runs")
    assert counts(dry) == {"small-letters": (4, None)}
    assert counts(real) == {"small-letters": (4, 0)}
    assert real.validation.seconds_after > 0
    assert not real.warnings
    kept = orjson.loads(record[0]["report"])["validation"]["checks"][0]
    assert (kept["id"], kept["before"], kept["after"], kept["fix"]) == ("small-letters", 4, 0, "upper-state")


async def test_only_what_the_run_changes_is_looked_at(small):
    async with runner(small, SMALL, NOTED) as engine:
        report = await engine.run("upper-state")
    assert report.validation.checks_made == 1


async def test_validation_may_be_skipped(small):
    async with runner(small, SMALL) as engine:
        report = await engine.run("lower-state", RunOptions(skip_validation=True))
    assert report.validation is None
    assert not await rows(small, "SELECT FROM datamig.audit WHERE event = 'validated'")


async def test_a_run_that_breaks_rows_is_rolled_back(small):
    before = await states(small)
    async with runner(small, SMALL) as engine:
        with pytest.raises(
            ProofFailed, match=r"the run has broken \(small-letters: .*\): 10, 5, 6, 7, 8; .* rolled back"
        ):
            await engine.run("lower-state")
    assert await states(small) == before


async def test_or_is_left_as_it_is_where_that_was_asked_for(small):
    async with runner(small, SMALL) as engine:
        with pytest.raises(ProofFailed, match="the run is paused"):
            await engine.run("lower-state", RunOptions(on_failure="pause"))
    assert set(await states(small)) == {"nsw", "vic"}


async def test_as_many_findings_as_before_are_no_excuse(small):
    """Rows that were mended do not make up for rows that were broken."""
    async with runner(
        small, SMALL | {"violation": "{state} = 'nsw' AND {id} <= 4 OR {state} = 'vic'"}
    ) as engine:

        def mend(event):
            if isinstance(event, StepFinished) and event.step == "execute":
                meanwhile(
                    small, "UPDATE users SET state = 'NSW' WHERE id <= 4; DELETE FROM users WHERE id > 8"
                )

        engine.events.subscribe(mend)
        with pytest.raises(ProofFailed, match=r"\(small-letters: .*\): 5, 6, 7, 8"):
            await engine.run("lower-state")


@pytest.mark.parametrize("severity", ["low", "warning"])
async def test_a_trifle_is_a_warning(small, severity):
    async with runner(small, SMALL | {"severity": severity}) as engine:
        report = await engine.run("lower-state")
    assert counts(report) == {"small-letters": (4, 10)}
    assert any(
        "small-letters found 10 rows of public.users after the run and 4 before" in w for w in report.warnings
    )


async def test_what_the_application_writes_meanwhile_is_a_warning(small):
    async with runner(small, SMALL) as engine:

        def write(event):
            if isinstance(event, StepFinished) and event.step == "prove":
                meanwhile(small, "INSERT INTO users SELECT i, 'qld' FROM generate_series(11, 15) AS i")

        engine.events.subscribe(write)
        report = await engine.run("upper-state")
    assert counts(report) == {"small-letters": (4, 5)}
    (warning,) = report.warnings
    assert "found 5 rows of public.users after the run and 4 before" in warning
    assert "the application may have written them meanwhile" in warning


async def test_a_count_of_a_sample_is_held_against_nothing(sample, monkeypatch):
    """Numbers in the clear are examined by samples where there are very many, sealed ones all are."""
    monkeypatch.setattr(validating, "Validator", partial(Validator, examined=1_000))
    async with engine(sample) as runner:
        report = await runner.run("encrypt-user-data")
    name = "phone-invalid:basiq_users.mobile"
    (check,) = [check for check in report.validation.checks if check.id == name]
    assert check.sampled
    assert 0 < check.before < 150
    assert not [warning for warning in report.warnings if "after the run and" in warning]
    assert any(f"{name} ({check.before} in a sample)" in warning for warning in report.warnings)


async def test_what_should_be_mended_and_is_not_is_a_warning(small):
    async with runner(small, SMALL | {"violation": "{note} = 'x'"}) as engine:
        report = await engine.run("upper-state")
    (warning,) = report.warnings
    assert "10 of 10 rows of public.users are still as small-letters finds them" in warning


async def test_a_run_by_code_is_warned_of(small):
    async with runner(small, SMALL) as engine:
        report = await engine.run("lower-by-code")
    assert counts(report) == {"small-letters": (4, 10)}
    assert any("found 10 rows" in warning for warning in report.warnings)


FATAL = SMALL | {"id": "no-note", "severity": "critical", "violation": "{state} = 'nsw'"}
del FATAL["fix"]


async def test_critical_damage_that_nothing_mends_refuses_a_run(small):
    before = await states(small)
    async with runner(small, FATAL) as engine:
        with pytest.raises(
            PreflightFailed, match=r"4 rows of public.users .* \(no-note, critical.*nothing was changed"
        ):
            await engine.run("upper-state")
        dry = await engine.run("upper-state", RunOptions(dry_run=True))
        assert counts(dry) == {"no-note": (4, None)}
        assert any("does not mend: no-note (4)" in warning for warning in dry.warnings)
        assert await states(small) == before
        (record,) = await engine.history()
        assert record.status == "failed"


@pytest.mark.parametrize(
    ("check", "settings"),
    [
        (FATAL, {"block_on": "never"}),
        (FATAL | {"severity": "high"}, {}),
        (FATAL | {"fix": "another-migration"}, {"block_on": "warning"}),
        (FATAL | {"violation": "{note} IS NOT NULL"}, {}),
    ],
)
async def test_anything_else_does_not(small, check, settings):
    async with runner(small, check, **settings) as engine:
        report = await engine.run("upper-state")
    assert report.status == "succeeded"


async def test_the_limit_can_be_set(small):
    async with runner(small, FATAL | {"severity": "high"}, block_on="high") as engine:
        with pytest.raises(PreflightFailed, match="no-note, high"):
            await engine.run("upper-state")


async def test_a_run_that_is_gone_on_with_remembers_what_was_before(small):
    async with runner(small, SMALL) as engine:

        def pause(event):
            if isinstance(event, ChunkDone):
                meanwhile(small, "UPDATE datamig.runs SET control = 'pause' WHERE status = 'running'")

        engine.events.subscribe(pause)
        with pytest.raises(RunPaused):
            await engine.run("lower-state", RunOptions(batch_size=2))
        assert 0 < (await states(small)).count("vic") < 6
    async with runner(small, SMALL) as engine:
        with pytest.raises(ProofFailed, match="small-letters"):
            await engine.resume("lower-state")
    assert (await states(small)).count("VIC") == 6


async def test_a_check_that_cannot_be_made_is_told(small):
    async with runner(small, SMALL | {"violation": "{state}::int = 1"}) as engine:
        report = await engine.run("upper-state")
    (check,) = report.validation.checks
    assert (check.after, attrs.asdict(check)["error"] is None) == (None, False)
    assert any("small-letters could not be made" in warning for warning in report.warnings)

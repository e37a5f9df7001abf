"""A run over a table that an earlier one was through with: each value is opened once, until it is written."""

from __future__ import annotations

import os
import signal
import sys

import anyio
import attrs
import orjson
import pytest

from taaxdog_datamig import RunOptions, failpoints
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.embedded.binaries import find_binaries
from taaxdog_datamig.errors import QuarantineExceeded
from tests.sample import LEGACY_KEY, NAME, engine, rows, script

AGAIN = RunOptions(force=True)
#: Three windows of blocks at least.
MANY = """
CREATE TABLE users (id text PRIMARY KEY, tfn text, "taxFileNumber" text, "twoFactorSecret" text,
                    filler text) WITH (autovacuum_enabled = off);
ALTER TABLE users ALTER filler SET STORAGE PLAIN;
INSERT INTO users SELECT lpad(i::text, 6, '0'), '123456782', NULL, NULL, repeat('x', 3000)
FROM generate_series(1, 4400) AS i;
ANALYZE users;
"""


async def one(dsn, query, *arguments):
    ((value,),) = await rows(dsn, query, *arguments)
    return value


async def windows(dsn, report):
    """How many windows each of the first two sweeps of a run had."""
    found = await rows(
        dsn, "SELECT sweep, count(*) FROM datamig.windows WHERE run_id = $1::uuid GROUP BY 1", report.run_id
    )
    return {sweep: count for sweep, count in found if sweep <= 1}


@pytest.fixture
async def finished(database, keyed):
    """A table of which a run has sealed every row; its URL."""
    await script(database, MANY)
    async with engine(database) as runner:
        report = await runner.run(NAME)
        assert (report.changed_rows, report.quarantined_rows) == (4400, 0)
        assert await windows(database, report) == {0: 4, 1: 4}
    return database


async def test_what_was_not_written_since_is_not_looked_at(finished):
    async with engine(finished) as runner:
        for _ in range(2):
            again = await runner.run(NAME, AGAIN)
            assert (again.status, again.changed_rows, again.skipped_rows) == ("succeeded", 0, 0)
            assert await windows(finished, again) == {}
        dry = await runner.run(NAME, attrs.evolve(AGAIN, dry_run=True))
        assert (dry.status, dry.changed_rows, dry.skipped_rows) == ("succeeded", 0, 0)


async def test_what_was_written_since_is(finished):
    await script(
        finished,
        "UPDATE users SET filler = 'y' WHERE id = '000007';"
        "UPDATE users SET tfn = '876543210' WHERE id = '004400';"
        "INSERT INTO users SELECT '9' || id, tfn FROM users WHERE id = '000009'",
    )
    async with engine(finished) as runner:
        with pytest.raises(QuarantineExceeded):
            await runner.run(NAME, AGAIN)
        (record,) = await runner.status(NAME)
        (refused,) = await runner.quarantine(record.run_id)
        assert refused.key == ("9000009",)  # a token is its row's
        await script(finished, "DELETE FROM users WHERE id = '9000009'")
        report = await runner.run(NAME, AGAIN)
        assert (report.changed_rows, report.skipped_rows) == (1, 1)
        # Where the server put the new versions.
        assert await windows(finished, report) in ({0: 1, 1: 1}, {0: 2, 1: 1})


async def test_a_row_that_was_refused_is_told_of_again(finished):
    await script(finished, "UPDATE users SET tfn = left(tfn, -6) || '######' WHERE id = '000007'")
    async with engine(finished) as runner:
        allowed = attrs.evolve(AGAIN, max_quarantine=1)
        for _ in range(2):
            report = await runner.run(NAME, allowed)
            assert (report.status, report.quarantined_rows) == ("succeeded", 1)
            # Of the first run, which refused nothing, what it has seen is still known.
            assert report.skipped_rows == 0


async def test_with_other_keys_each_value_is_opened(finished, monkeypatch):
    monkeypatch.setenv("FIELD_ENCRYPTION_KEYS", f"other:{LEGACY_KEY.hex()}")
    async with engine(finished) as runner:
        report = await runner.run(NAME, AGAIN)
        assert (report.changed_rows, report.skipped_rows) == (0, 4400)


async def test_a_ledger_out_of_a_dump_says_nothing_of_the_rows_beside_it(finished):
    # What a dump brings back has been written by another transaction.
    await script(finished, "UPDATE datamig.inspections SET run_id = run_id")
    async with engine(finished) as runner:
        report = await runner.run(NAME, AGAIN)
        assert (report.changed_rows, report.skipped_rows) == (0, 4400)


async def test_a_horizon_that_lies_ahead_is_not_used(finished):
    await script(
        finished,
        "UPDATE datamig.inspections SET written = pg_current_xact_id(),"
        " horizon = (pg_current_xact_id()::text::bigint + 1000)::text::xid8",
    )
    async with engine(finished) as runner:
        report = await runner.run(NAME, AGAIN)
        assert report.skipped_rows == 4400


async def test_transaction_ids_that_come_round_again_are_not_taken_for_the_old_ones(data_folder, keyed):
    with EmbeddedServer(data_folder) as server:
        await script(server.dsn, MANY)
        async with engine(server.dsn) as runner:
            assert (await runner.run(NAME)).changed_rows == 4400
            assert (await runner.run(NAME, AGAIN)).skipped_rows == 0
    # 2^32 later each row and each entry of the ledger has the same xmin.
    place = data_folder / "data"
    await anyio.run_process(
        [find_binaries().folder / "pg_resetwal", "--epoch=1", place], user=place.stat().st_uid
    )
    with EmbeddedServer(data_folder) as server:
        async with engine(server.dsn) as runner:
            assert (await runner.run(NAME, AGAIN)).skipped_rows == 4400
            assert (await runner.run(NAME, AGAIN)).skipped_rows == 0


async def test_a_heap_that_came_later_is_looked_at_whole(database, keyed):
    await script(
        database,
        """CREATE TABLE users (id text PRIMARY KEY, tfn text, "taxFileNumber" text, "twoFactorSecret" text)
           PARTITION BY RANGE (id);
           CREATE TABLE users_1 PARTITION OF users FOR VALUES FROM ('0') TO ('5');
           CREATE TABLE users_2 (LIKE users INCLUDING ALL);
           INSERT INTO users SELECT '1' || i, '123456782' FROM generate_series(1, 10) AS i;
           INSERT INTO users_2 SELECT '6' || i, 'encrypted:v1:junk' FROM generate_series(1, 3) AS i""",
    )
    async with engine(database) as runner:
        assert (await runner.run(NAME)).changed_rows == 10
        await script(
            database,
            "ALTER TABLE users ATTACH PARTITION users_2 FOR VALUES FROM ('5') TO ('9');"
            "UPDATE users_2 SET tfn = (SELECT tfn FROM users_1 LIMIT 1)",
        )
        await script(database, "UPDATE users_1 SET tfn = tfn WHERE id = '11'")
        report = await runner.run(NAME, attrs.evolve(AGAIN, max_quarantine=3))
        assert (report.changed_rows, report.skipped_rows, report.quarantined_rows) == (0, 1, 3)


COPYING = """
CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO users VALUES ('copy ' || NEW.id, NEW.tfn); RETURN NULL; END $$;
CREATE TRIGGER copy AFTER UPDATE ON users FOR EACH ROW WHEN (NEW.id = '000007') EXECUTE FUNCTION copy();
"""


@pytest.mark.parametrize("still", [True, False])
async def test_what_triggers_wrote_in_a_run_is_looked_at(database, keyed, still):
    """A copied token opens nowhere else; the run that was going on had looked already."""
    await script(database, MANY + COPYING)
    async with engine(database) as runner:
        assert (await runner.run(NAME)).quarantined_rows == 0
        if not still:
            await script(database, "DROP TRIGGER copy ON users")
        report = await runner.run(NAME, attrs.evolve(AGAIN, max_quarantine=1))
        (refused,) = await runner.quarantine(report.run_id)
        assert refused.key == ("copy 000007",)


async def test_a_run_that_was_rolled_back_has_seen_nothing(finished):
    async with engine(finished) as runner:
        again = await runner.run(NAME, AGAIN)
        await runner.rollback(again.run_id)
        first = (await runner.history())[-1]
        await runner.rollback(first.run_id)
        report = await runner.run(NAME)
        assert report.changed_rows == 4400
        found = await windows(finished, report)
        assert found[0] == found[1] >= 4


@pytest.mark.parametrize("failpoint", ["after-windows", "after-claim", "before-commit", "after-commit"])
async def test_a_second_run_that_is_killed_goes_on(finished, failpoint):
    # Of two windows, one row for the inspection and one to be sealed each.
    await script(
        finished,
        "UPDATE users SET filler = 'y' WHERE id IN ('000007', '004398');"
        "UPDATE users SET tfn = '876543210', filler = repeat('z', 3000) WHERE id IN ('000008', '004399')",
    )
    task = {"dsn": finished, "migration": NAME, "module": "", "action": "run", "options": {"force": True}}
    done = await anyio.run_process(
        [sys.executable, "-m", "taaxdog_datamig.testing.child"],
        input=orjson.dumps(task),
        env=os.environ | {failpoints.VARIABLE: failpoint},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stdout
    async with engine(finished) as runner:
        report = await runner.run(NAME, AGAIN)
        assert report.resumed
        assert (report.status, report.changed_rows, report.skipped_rows) == ("succeeded", 2, 2)
        again = await runner.run(NAME, AGAIN)
        assert (again.changed_rows, again.skipped_rows) == (0, 0)

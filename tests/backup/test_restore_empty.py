"""Restoring into an empty database: everything comes back, also when it is killed on the way."""

from __future__ import annotations

import errno
import os

import pytest

from taaxdog_datamig.backup import definitions, tools
from taaxdog_datamig.backup.loading import OpenBackup
from taaxdog_datamig.errors import BackupError, RefusedError, UnknownName
from tests.backup.conftest import in_a_process, manager_of
from tests.backup.objects import catalog
from tests.sample import rows, script, state

#: What the sample lacks: a partitioned table, its hash keyed by an enum, identity, a generated column, json,
#: a circle of foreign keys, a view that holds rows, a quoted name.
ODD = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE "Odd ""things" (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, doc json,
    size int GENERATED ALWAYS AS (length(doc::text)) STORED,
    friend bigint, amount numeric, at timestamptz DEFAULT 'infinity');
INSERT INTO "Odd ""things" (doc, friend, amount)
    SELECT json_build_object('n', n), nullif(n % 50 + 1, 1), 'NaN' FROM generate_series(1, 50) AS n;
ALTER TABLE "Odd ""things" ADD FOREIGN KEY (friend) REFERENCES "Odd ""things";
CREATE TABLE moods (id int, mood mood, PRIMARY KEY (id, mood)) PARTITION BY HASH (mood);
CREATE TABLE moods_0 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE moods_1 PARTITION OF moods FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO moods SELECT n, (ARRAY['sad', 'glad'])[n % 2 + 1]::mood FROM generate_series(1, 40) AS n;
CREATE MATERIALIZED VIEW gladness AS SELECT * FROM moods WHERE mood = 'glad';
CREATE MATERIALIZED VIEW sadness AS SELECT * FROM moods WHERE mood = 'sad' WITH NO DATA;
CREATE TABLE seen (id serial, what text);
INSERT INTO seen (what) VALUES ('a'), ('b');
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO seen (what) VALUES ('fired'); RETURN NEW; END $$;
CREATE TRIGGER noting BEFORE INSERT OR UPDATE ON moods FOR EACH ROW EXECUTE FUNCTION note();
"""


async def test_the_sample_comes_back_whole(made, pristine, database):
    manifest, folder = made
    async with manager_of(database, folder) as manager:
        rehearsal = await manager.restore(manifest.id, dry_run=True)
        assert not await rows(database, "SELECT FROM pg_class WHERE relname = 'users'")
        report = await manager.restore(manifest.id)
    assert report.mode == "empty"
    assert report.tables == rehearsal.tables
    assert sum(table.inserted for table in report.tables) == manifest.rows
    assert await state(database) == await state(pristine)


async def test_a_full_disk_on_this_side_is_named(made, database, monkeypatch):
    def full(backup, name, path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(definitions, "_write", full)
    manifest, folder = made
    async with manager_of(database, folder) as manager:
        with pytest.raises(BackupError, match=r"schema's archive to .*No space left.*TMPDIR"):
            await manager.restore(manifest.id)
    assert set(await state(database)) == {"catalog"}


async def test_odd_tables_come_back_whole(database_from, tmp_path):
    source, target = database_from("template0"), database_from("template0")
    await script(source, ODD)
    async with manager_of(source, tmp_path) as manager:
        manifest = await manager.create()
    async with manager_of(target, tmp_path) as manager:
        await manager.restore(manifest.id)
    found, expected = await state(target), await state(source)
    for partition in ("moods_0", "moods_1"):
        # Where a row belongs is another matter in each database, as the enum's labels have other numbers.
        del found[partition], expected[partition]
    assert found == expected
    question = "SELECT relname, relispopulated FROM pg_class WHERE relkind = 'm' ORDER BY 1"
    assert [tuple(row) for row in await rows(target, question)] == [("gladness", True), ("sadness", False)]
    await script(
        target, """INSERT INTO "Odd ""things" (doc) VALUES ('1'); INSERT INTO seen (what) VALUES ('c')"""
    )
    assert (await rows(target, """SELECT max(id) FROM "Odd ""things" """))[0][0] == 51
    assert (await rows(target, "SELECT max(id) FROM seen"))[0][0] == 3


@pytest.mark.parametrize("point", ["restore-schema", "restore-part:9", "restore-rows", "restore-indexes"])
async def test_a_restore_that_was_killed_goes_on(made, pristine, database, point, tmp_path):
    manifest, folder = made
    async with in_a_process(point, database, folder, manifest.id):
        pass
    async with manager_of(database, folder) as manager:
        report = await manager.restore(manifest.id)
    parts = sum(len(table.parts) for table in manifest.tables)
    # The other connection may have committed one more meanwhile.
    assert report.resumed_parts in {"restore-schema": {0}, "restore-part:9": {9, 10}}.get(point, {parts})
    assert sum(table.inserted for table in report.tables) == manifest.rows
    assert await state(database) == await state(pristine)


#: What follows from rows, and cannot be dropped one by one: of partitions, of keys that others refer to.
ENTANGLED = """
CREATE INDEX ON moods (id);
CREATE TABLE mornings (id int, mood mood, FOREIGN KEY (id, mood) REFERENCES moods);
INSERT INTO mornings SELECT * FROM moods;
CREATE VIEW by_key AS SELECT t.id, t.amount, count(*) AS n FROM "Odd ""things" AS t GROUP BY t.id;
CREATE MATERIALIZED VIEW of_view AS SELECT id FROM by_key;
CREATE TABLE events (id int, at int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_now PARTITION OF events FOR VALUES FROM (0) TO (9) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events_now FOR VALUES FROM (0) TO (5);
CREATE UNIQUE INDEX ON events (at, id);
ALTER TABLE events ADD CONSTRAINT twice UNIQUE (id, at);
CREATE TRIGGER noting BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY all_of_it ON events USING (true);
CREATE STATISTICS of_both ON id, at FROM events;
"""


async def test_what_follows_from_rows_is_made_anew_after_a_kill(database_from, tmp_path):
    source, target = database_from("template0"), database_from("template0")
    await script(source, ODD + ENTANGLED)
    async with manager_of(source, tmp_path) as manager:
        made = await manager.create()
    async with in_a_process("restore-indexes", target, tmp_path, made.id):
        pass
    async with manager_of(target, tmp_path) as manager:
        await manager.restore(made.id)
        version = manager.db.server.version
    assert await catalog(target, version) == await catalog(source, version)


async def test_a_backup_of_a_half_restored_database_says_so_and_has_no_marks_of_the_restore(
    made, database, tmp_path
):
    manifest, folder = made
    async with in_a_process("restore-rows", database, folder, manifest.id):
        pass
    async with manager_of(database, tmp_path) as manager:
        half = await manager.create()
        found, key = await manager.find(half.id)
        dump = b"".join(OpenBackup(store=manager.store, manifest=found, key=key).read(found.schema_part))
    assert "a restore of this database is not done" in half.warnings[0]
    assert half.tables.keys() == {table.label for table in manifest.tables}
    assert b"bank_transactions" in dump
    assert b"datamig_restore" not in dump


#: Two indexes that take half a second each.
SLOW = """
CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
    $$ BEGIN PERFORM pg_sleep(0.05); RETURN $1; END $$;
CREATE TABLE slowly (id int PRIMARY KEY); INSERT INTO slowly SELECT generate_series(1, 10);
CREATE INDEX one ON slowly (slow(id)); CREATE INDEX two ON slowly (slow(id));
"""


async def test_what_a_killed_restore_left_at_work_does_not_disturb_the_next(database_from, tmp_path):
    source, target = database_from("template0"), database_from("template0")
    await script(source, SLOW)
    async with manager_of(source, tmp_path) as manager:
        made = await manager.create()
    indexing = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND query LIKE 'CREATE INDEX%'"
    async with in_a_process("", target, tmp_path, made.id) as process:
        while not await rows(target, indexing, tools.RESTORING):
            assert process.exitcode is None
        process.kill()
    assert await rows(target, indexing, tools.RESTORING), "pg_restore goes on"
    async with manager_of(target, tmp_path) as manager:
        await manager.restore(made.id)
    assert await state(target) == await state(source)


async def test_a_damaged_part_stops_it_and_it_goes_on_with_a_whole_one(copied, database):
    manifest, folder = copied
    name = max(manifest.parts.values(), key=lambda part: part.rows).name
    path = folder / manifest.id / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    async with manager_of(database, folder) as manager:
        with pytest.raises(BackupError, match=name) as caught:
            await manager.restore(manifest.id)
        assert "it goes on" in caught.value.todo
        path.write_bytes(whole)
        with pytest.raises(RefusedError, match="was begun in this database"):
            await manager.restore(manifest.id, ["goals"])
        await manager.restore(manifest.id)
    assert (await rows(database, "SELECT count(*) FROM bank_transactions"))[0][0] == 10_000


async def test_some_tables_come_alone_and_keys_that_cannot_hold_are_named(made, database):
    manifest, folder = made
    async with manager_of(database, folder) as manager:
        with pytest.raises(UnknownName):
            await manager.restore(manifest.id, ["no_such_table"])
        report = await manager.restore(manifest.id, ["goals", "budgets", "budget_tracking"])
    # That of goals is NOT VALID, as it was.
    assert {warning.split()[2] for warning in report.warnings} == {
        "budget_tracking.budget_tracking_user_id_fkey",
        "budgets.budgets_user_id_fkey",
    }
    keys = await rows(
        database,
        "SELECT conname FROM pg_constraint WHERE conrelid = 'budget_tracking'::regclass AND contype = 'f'",
    )
    assert [row[0] for row in keys] == ["budget_tracking_budget_id_fkey"]

"""Restoring into tables that exist: brought back row by row, never wiped."""

from __future__ import annotations

import pytest

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup import RestoredTable, contents
from taaxdog_datamig.backup.sifting import Sieve
from taaxdog_datamig.errors import BackupError, KeyMissing, KeyWrong, RefusedError
from tests.backup.conftest import in_a_process, manager_of
from tests.backup.test_restore_empty import ODD
from tests.sample import rows, script, state

#: Five users change, twenty sessions and a user's whole tree go, three users come.
DISTURBED = """
UPDATE users SET name = 'Changed', "updatedAt" = '2030-01-01'
    WHERE id IN (SELECT id FROM users ORDER BY id LIMIT 5);
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions ORDER BY id LIMIT 20);
DELETE FROM bank_connections WHERE id IN (SELECT id FROM bank_connections ORDER BY id LIMIT 2);
INSERT INTO users SELECT (json_populate_record(u, json_build_object(
    'id', 'new-' || n, 'email', n || '@new.example', 'passwordResetToken', null,
    'emailVerificationToken', null))).* FROM generate_series(1, 3) AS n, users AS u
    WHERE u.id = (SELECT min(id) FROM users);
"""
NEWER = """INSERT INTO sessions (id, "sessionToken", "userId", expires)
    VALUES ('s', 't', 'new-1', '2099-01-01')"""


def table_of(report, name):
    return next(table for table in report.tables if table.table == f"public.{name}")


@pytest.fixture
async def disturbed(sample):
    before = await state(sample)
    await script(sample, DISTURBED)
    return sample, before


async def counts_of(dsn):
    return dict(
        await rows(
            dsn, "SELECT 'users', count(*) FROM users UNION ALL SELECT 'txs', count(*) FROM bank_transactions"
        )
    )


async def test_rows_come_back_newer_ones_stay_and_a_dry_run_foretells_it(made, disturbed):
    manifest, folder = made
    dsn, before = disturbed
    changed = await state(dsn)
    lost = before["bank_transactions"][0] - changed["bank_transactions"][0]
    assert lost > 0
    async with manager_of(dsn, folder) as manager:
        foretold = await manager.restore(manifest.id, dry_run=True)
        assert await state(dsn) == changed
        report = await manager.restore(manifest.id)
        assert report.tables == foretold.tables
        assert table_of(report, "users") == RestoredTable(table="public.users", updated=5, kept=3)
        assert table_of(report, "sessions") == RestoredTable(table="public.sessions", inserted=20)
        assert table_of(report, "bank_transactions").inserted == lost
        again = await manager.restore(manifest.id)
        assert not [table for table in again.tables if table.inserted or table.updated or table.deleted]
    await script(dsn, "DELETE FROM users WHERE id LIKE 'new-%'")
    assert await state(dsn) == before


async def test_shares_are_compared_at_once_and_again_when_somebody_writes(sample, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "PIECE", 100_000)
    before = await state(sample)
    sift, times = Sieve.sift, []

    async def meddled(self, connection):
        await sift(self, connection)
        times.append(len(self.sessions))
        if len(times) == 1:
            await script(sample, "UPDATE users SET name = 'Again' WHERE name = 'Changed'")

    async with manager_of(sample, tmp_path) as manager:
        made = await manager.create(tables=["users", "sessions"])
        assert max(len(table.parts) for table in (await manager.find(made.id))[0].tables) > 2
        await script(sample, DISTURBED)
        alone = await manager.restore(made.id, dry_run=True, jobs=1)
        assert (await manager.restore(made.id, dry_run=True, jobs=3)).tables == alone.tables
        monkeypatch.setattr(Sieve, "sift", meddled)
        report = await manager.restore(made.id, jobs=3)
    assert times == [3, 3]
    assert report.tables == alone.tables
    await script(sample, "DELETE FROM users WHERE id LIKE 'new-%'")
    after = await state(sample)
    assert (after["users"], after["sessions"]) == (before["users"], before["sessions"])


async def test_exact_deletes_newer_rows_and_asks_before_it_reaches_other_tables(made, disturbed):
    manifest, folder = made
    dsn, before = disturbed
    await script(dsn, NEWER)
    changed = await state(dsn)
    async with manager_of(dsn, folder) as manager:
        with pytest.raises(RefusedError, match=r"1 of public\.sessions"):
            await manager.restore(manifest.id, ["users"], exact=True)
        assert await state(dsn) == changed
        foretold = await manager.restore(manifest.id, ["users"], exact=True, cascade=True, dry_run=True)
        assert await state(dsn) == changed
        report = await manager.restore(manifest.id, ["users"], exact=True, cascade=True)
        assert (report.tables, report.cascaded) == (foretold.tables, foretold.cascaded)
        assert report.tables == (RestoredTable(table="public.users", updated=5, deleted=3),)
        assert report.cascaded == {"public.sessions": 1}
        await manager.restore(manifest.id, exact=True)
    assert await state(dsn) == before


async def test_exact_over_all_tables_needs_no_cascade(made, disturbed):
    manifest, folder = made
    dsn, before = disturbed
    await script(dsn, NEWER)
    async with manager_of(dsn, folder) as manager:
        report = await manager.restore(manifest.id, exact=True)
    assert (table_of(report, "users").deleted, table_of(report, "sessions").deleted) == (3, 1)
    assert await state(dsn) == before


async def test_exact_stops_at_rows_that_forbid_it(made, disturbed):
    manifest, folder = made
    dsn, _ = disturbed
    await script(
        dsn,
        """INSERT INTO data_access_requests
        SELECT (json_populate_record(d, '{"id": "x", "userId": "new-1"}')).*
        FROM data_access_requests AS d LIMIT 1""",
    )
    async with manager_of(dsn, folder) as manager:
        with pytest.raises(RefusedError, match="data_access_requests_userId_fkey forbids"):
            await manager.restore(manifest.id, ["users"], exact=True, cascade=True)


async def test_columns_that_came_went_or_grew_are_told_of_and_mapped(made, sample):
    manifest, folder = made
    await script(
        sample,
        """ALTER TABLE users ADD added text DEFAULT 'new'; UPDATE users SET added = 'kept';
        ALTER TABLE bank_accounts ALTER bsb TYPE text; ALTER TABLE users DROP COLUMN phone;
        DELETE FROM bank_accounts WHERE id IN (SELECT id FROM bank_accounts ORDER BY id LIMIT 4);
        UPDATE users SET name = 'Changed'""",
    )
    async with manager_of(sample, folder) as manager:
        report = await manager.restore(manifest.id, ["users", "bank_accounts"])
    assert [(d.table, d.column, d.was, d.now) for d in report.drift] == [
        ("public.bank_accounts", "bsb", "character varying(10)", "text"),
        ("public.users", "phone", "text", None),
        ("public.users", "added", None, "text"),
    ]
    assert table_of(report, "users").updated == 1000
    assert table_of(report, "bank_accounts").inserted == 4
    assert (await rows(sample, "SELECT DISTINCT added, name = 'Changed' FROM users"))[0][:] == ("kept", False)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "ALTER TABLE goals ALTER title TYPE varchar(3) USING left(title, 3)",
            "column title of public.goals",
        ),
        (
            "ALTER TABLE goals ADD x int NOT NULL DEFAULT 1; ALTER TABLE goals ALTER x DROP DEFAULT",
            "column x of public.goals is new",
        ),
        ("DROP TABLE goals", "there is no table public.goals"),
        ("ALTER TABLE goals DROP CONSTRAINT goals_pkey", "public.goals has no primary key"),
    ],
    ids=["narrowed", "needed", "gone", "keyless"],
)
async def test_what_does_not_fit_is_refused(made, sample, change, said):
    manifest, folder = made
    await script(sample, change)
    changed = await state(sample)
    async with manager_of(sample, folder) as manager:
        with pytest.raises(RefusedError, match=said):
            await manager.restore(manifest.id, ["goals"])
    assert await state(sample) == changed


async def test_a_row_in_the_way_is_named_by_index_and_key_and_exact_takes_it_away(made, sample):
    manifest, folder = made
    one, other = [row[0] for row in await rows(sample, "SELECT id FROM users ORDER BY id LIMIT 2")]
    email = (await rows(sample, "SELECT email FROM users WHERE id = $1", other))[0][0]
    before = await state(sample)
    await script(
        sample,
        f"UPDATE users SET email = 'elsewhere@x.example' WHERE id = '{other}';"
        "INSERT INTO users SELECT (json_populate_record(u, json_build_object('id', 'squatter', 'email',"
        f" '{email}', 'passwordResetToken', null, 'emailVerificationToken', null))).*"
        f" FROM users AS u WHERE id = '{one}'",
    )
    changed = await state(sample)
    async with manager_of(sample, folder) as manager:
        with pytest.raises(RefusedError, match="unique index users_email_key, rows squatter") as caught:
            await manager.restore(manifest.id, ["users"])
        assert email not in str(caught.value)
        assert await state(sample) == changed
        await manager.restore(manifest.id, ["users"], exact=True)
    assert await state(sample) == before


async def test_children_without_their_parents_are_refused(made, sample):
    manifest, folder = made
    await script(
        sample,
        "DELETE FROM bank_connections WHERE id IN (SELECT id FROM bank_connections ORDER BY id LIMIT 2)",
    )
    changed = await state(sample)
    async with manager_of(sample, folder) as manager:
        for exact in (False, True):
            with pytest.raises(RefusedError, match="bank_accounts_connection_id_fkey"):
                await manager.restore(manifest.id, ["bank_accounts"], exact=exact)
    assert await state(sample) == changed


#: Both of nobody, and one of them under a key that is NOT VALID.
ORPHANS = """
CREATE TABLE parents (id int PRIMARY KEY);
CREATE TABLE children (id int PRIMARY KEY, parent int, loose int);
INSERT INTO parents VALUES (1), (2);
INSERT INTO children VALUES (1, 1, 1), (2, 2, 9), (3, null, 9);
ALTER TABLE children ADD CONSTRAINT firm FOREIGN KEY (parent) REFERENCES parents ON DELETE CASCADE;
ALTER TABLE children ADD CONSTRAINT loose FOREIGN KEY (loose) REFERENCES parents NOT VALID;
"""


async def test_orphans_come_back_when_asked_for_and_never_under_a_valid_key(database, tmp_path):
    await script(database, ORPHANS)
    before = await state(database)
    async with manager_of(database, tmp_path) as manager:
        made = await manager.create()
        await script(database, "DELETE FROM children WHERE loose = 9")
        for tables in (None, ["children"]):
            with pytest.raises(RefusedError, match=r"2 rows of public\.children .*loose, which is NOT VALID"):
                await manager.restore(made.id, tables)
        foretold = await manager.restore(made.id, orphans="keep", dry_run=True)
        report = await manager.restore(made.id, orphans="keep")
        assert (foretold.tables, foretold.warnings) == (report.tables, report.warnings)
        assert "2 rows of public.children came back" in report.warnings[0]
        assert await state(database) == before
        # A changed row counts where it is given back what it referred to.
        await script(database, "UPDATE children SET loose = 1 WHERE id = 3")
        with pytest.raises(RefusedError, match=r"1 rows of public\.children"):
            await manager.restore(made.id)
        await manager.restore(made.id, orphans="keep")
        await script(database, "UPDATE children SET parent = 2 WHERE id = 3")
        assert not (await manager.restore(made.id)).warnings, "it is left with what it had"
        assert await state(database) == before
        await script(database, "DELETE FROM parents WHERE id = 2")
        left = await state(database)
        with pytest.raises(RefusedError, match=r"foreign key firm\).*Restore public\.parents"):
            await manager.restore(made.id, ["children"], orphans="keep")
        assert await state(database) == left
        await manager.restore(made.id, orphans="keep")
        assert await state(database) == before


async def test_a_role_that_may_not_set_keys_aside_is_told_so(database, tmp_path):
    await script(database, ORPHANS)
    async with manager_of(database, tmp_path) as manager:
        made = await manager.create()
    await script(
        database,
        """DELETE FROM children WHERE loose = 9; DROP ROLE IF EXISTS restoring; CREATE ROLE restoring LOGIN;
        ALTER TABLE parents OWNER TO restoring; ALTER TABLE children OWNER TO restoring""",
    )
    try:
        async with manager_of(database.replace("://postgres@", "://restoring@"), tmp_path) as manager:
            with pytest.raises(RefusedError, match="GRANT SET ON PARAMETER session_replication_role"):
                await manager.restore(made.id, orphans="keep")
    finally:
        await script(database, "DROP OWNED BY restoring CASCADE; DROP ROLE restoring")


async def test_large_objects_converge_and_newer_ones_stay(database, tmp_path):
    big = "decode(repeat('00ff0d0a', 3000), 'hex')"
    await script(
        database,
        f"""CREATE TABLE files (id int PRIMARY KEY, at oid); INSERT INTO files VALUES (1, 101);
        SELECT lo_from_bytea(101, {big}), lo_from_bytea(102, {big}), lo_from_bytea(103, ''), lo_create(104),
               lo_from_bytea(105, 'x'), lo_put(105, 9000, 'y'); COMMENT ON LARGE OBJECT 101 IS 'first'""",
    )
    question = """SELECT oid::int, md5(lo_get(oid)), obj_description(oid, 'pg_largeobject')
        FROM pg_largeobject_metadata ORDER BY oid"""
    before = await rows(database, question)
    async with manager_of(database, tmp_path) as manager:
        made = await manager.create()
        nothing = await manager.restore(made.id)
        assert nothing.tables[-1] == RestoredTable(table="pg_catalog.pg_largeobject_metadata")
        await script(
            database,
            """DELETE FROM files; SELECT lo_unlink(101); SELECT lo_put(102, 30000, 'longer');
            SELECT lo_put(103, 0, 'z'), lo_from_bytea(999, 'newer'); SELECT lo_put(105, 4000, 'w')""",
        )
        assert [row[0] for row in (await rows(database, question))] == [102, 103, 104, 105, 999]
        broken = await rows(database, question)
        foretold = await manager.restore(made.id, exact=True, dry_run=True)
        assert (await manager.restore(made.id, ["files"])).tables == foretold.tables[:-1]
        assert await rows(database, question) == broken, "those of a table are not known"
        report = await manager.restore(made.id, exact=True)
    assert report.tables[-1] == foretold.tables[-1]
    assert (report.tables[-1].inserted, report.tables[-1].updated, report.tables[-1].kept) == (1, 3, 1)
    assert (await rows(database, question))[:-1] == before
    assert (await rows(database, "SELECT md5(lo_get(999)) = md5('newer')"))[0][0]


async def test_a_damaged_part_or_a_wrong_key_changes_nothing(copied, disturbed):
    manifest, folder = copied
    dsn, _ = disturbed
    changed = await state(dsn)
    for key, kind in (("", KeyMissing), (bytes(range(1, 33)).hex(), KeyWrong)):
        async with manager_of(dsn, folder, field_encryption_key=key or None) as manager:
            with pytest.raises(kind):
                await manager.restore(manifest.id)
    name = max(manifest.parts.values(), key=lambda part: part.rows).name
    path = folder / manifest.id / name
    path.write_bytes(path.read_bytes()[:-40])
    async with manager_of(dsn, folder) as manager:
        with pytest.raises(BackupError, match=name):
            await manager.restore(manifest.id)
    assert await state(dsn) == changed


@pytest.mark.parametrize("point", failpoints.CONVERGING)
async def test_a_restore_that_is_killed_changes_nothing(database, tmp_path, point):
    await script(database, ORPHANS)
    before = await state(database)
    async with manager_of(database, tmp_path) as manager:
        made = await manager.create()
    await script(database, "DELETE FROM parents WHERE id = 1")
    changed = await state(database)
    async with in_a_process(point, database, tmp_path, made.id):
        pass
    assert await state(database) == changed
    async with manager_of(database, tmp_path) as manager:
        await manager.restore(made.id)
    assert await state(database) == before


async def test_odd_tables_converge_and_triggers_do_not_fire(database, tmp_path):
    await script(database, ODD + "ALTER TABLE seen ADD PRIMARY KEY (id);")
    before = await state(database)
    async with manager_of(database, tmp_path) as manager:
        manifest = await manager.create()
        await script(
            database,
            """UPDATE "Odd ""things" SET doc = '{}', amount = 1.00 WHERE id < 10;
            UPDATE "Odd ""things" SET friend = NULL;
            DELETE FROM "Odd ""things" WHERE id % 7 = 0; ALTER TABLE moods DISABLE TRIGGER USER;
            DELETE FROM moods WHERE id < 11; ALTER TABLE moods ENABLE TRIGGER USER; DELETE FROM seen;
            SELECT setval('seen_id_seq', 1)""",
        )
        report = await manager.restore(manifest.id)
    assert await state(database) == before
    counted = [(table.table, table.inserted, table.updated) for table in report.tables]
    assert counted == [('public.Odd "things', 7, 42), ("public.moods", 10, 0), ("public.seen", 2, 0)]
    assert report.warnings == ("sequence public.seen_id_seq was behind its column, and was set past it",)

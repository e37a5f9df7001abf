"""cleanup-soft-deleted: for good, child first, and nobody whom a record on hold names."""

from __future__ import annotations

import attrs
import pytest
from application import run_beside
from cycle import cycle

from taaxdog_datamig import RunOptions
from taaxdog_datamig.errors import KeyMissing, RefusedError
from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, engine, rows, script, state

NAME = "cleanup-soft-deleted"
TABLES = {"users": '"deletedAt"', "goals": '"deletedAt"', "bank_accounts": "deleted_at"}
#: Tables whose rows belong to a user, directly or over another.
CHILDREN = {
    "goals": "user_id",
    "sessions": '"userId"',
    "basiq_users": "user_id",
    "tax_returns": '"userId"',
    "accounts": '"userId"',
    "privacy_consents": '"userId"',
}


async def test_there_and_back(older):
    dsn, counts = older.dsn, older.counts
    gone = {table: counts[f"{table}.deleted_old"] for table in TABLES}
    left = counts["users.deleted_held"]
    before = await state(dsn)
    ((logs,),) = await rows(
        dsn,
        'SELECT count(*) FROM audit_logs a JOIN users u ON u.id = a."userId"'
        " WHERE \"deletedAt\" < '2024-02-01' AND NOT EXISTS"
        ' (SELECT FROM financial_audit_logs f WHERE f."userId" = u.id)',
    )
    ((nobody,),) = await rows(dsn, 'SELECT count(*) FROM audit_logs WHERE "userId" IS NULL')

    async def after(dsn):
        for table, column in TABLES.items():
            query = f"SELECT count(*) FROM {table} WHERE {column} < now() - interval '30 days'"
            assert await rows(dsn, query) == [(left if table == "users" else 0,)], table
            ((recent,),) = await rows(dsn, f"SELECT count(*) FROM {table} WHERE {column} > '2025-01-01'")
            assert recent > 0
        now = await state(dsn)
        assert before["users"][0] - now["users"][0] == gone["users"]
        for child, column in CHILDREN.items():
            gone_for_good = f"NOT EXISTS (SELECT FROM users u WHERE u.id = c.{column})"
            query = f"SELECT count(*) FROM {child} c WHERE {gone_for_good}"
            assert await rows(dsn, query) == [(ORPHANS.get(child, 0),)], child
        # A log loses its user and stays.
        assert now["audit_logs"][0] == before["audit_logs"][0]
        query = 'SELECT count(*) FROM audit_logs WHERE "userId" IS NULL'
        assert await rows(dsn, query) == [(nobody + logs,)]
        for held in ("financial_audit_logs", "aml_transaction_monitoring", "data_access_requests"):
            assert now[held] == before[held]
        async with engine(dsn) as runner:
            listed = await runner.quarantine(NAME)
        assert len(listed) == left
        assert {(row.table, row.code, row.left) for row in listed} == {("users", "on-hold", True)}
        assert all("on hold refers to it" in row.reason for row in listed)

    report = await cycle(
        dsn, NAME, rows=sum(gone.values()), left=left, estimate=sum(gone.values()) + left, after=after
    )
    for table, count in gone.items():
        assert report.deleted_rows[table] >= count
    assert report.deleted_rows["users"] == gone["users"]
    assert report.deleted_rows["bank_transactions"] > 0


#: What the sample has of them before; its orphaned goals are among those that were marked.
ORPHANS = {"sessions": 5}


async def test_what_a_user_owns_may_be_more_than_a_chunk(older):
    """Children go in chunks of their own, and the user with the last of them."""
    dsn, counts = older.dsn, older.counts
    ((user,),) = await rows(
        dsn,
        "SELECT u.id FROM users u WHERE \"deletedAt\" < '2024-02-01' AND NOT EXISTS"
        ' (SELECT FROM financial_audit_logs f WHERE f."userId" = u.id) ORDER BY u.id LIMIT 1',
    )
    await script(
        dsn,
        "INSERT INTO bank_transactions (id, bank_account_id, basiq_transaction_id, amount, transaction_date)"
        " SELECT gen_random_uuid(), a.id, 'many-' || n, 1, '2024-01-01' FROM bank_accounts a"
        f" JOIN basiq_users b ON b.id = a.basiq_user_id AND b.user_id = '{user}',"
        " generate_series(1, 300) AS n",
    )
    total = sum(counts[f"{table}.deleted_old"] for table in TABLES)

    async def after(dsn):
        assert await rows(dsn, f"SELECT count(*) FROM users WHERE id = '{user}'") == [(0,)]
        query = "SELECT count(*) FROM bank_transactions WHERE basiq_transaction_id LIKE 'many-%'"
        assert await rows(dsn, query) == [(0,)]
        ((largest,),) = await rows(
            dsn,
            "SELECT max((SELECT sum(value::int) FROM jsonb_each_text(p.rows))) FROM datamig.archive_parts p",
        )
        assert largest <= 2 * 40

    left = counts["users.deleted_held"]
    await cycle(
        dsn, NAME, rows=total, left=left, estimate=total + left, after=after, options={"batch_size": 40}
    )


async def test_the_reference_schema_has_nothing_to_look_at(sample):
    async with engine(sample) as runner:
        plan = await runner.plan(NAME)
        assert (plan.applicable, plan.reason) == (False, "no table has a column deletedAt")
        assert (await runner.run(NAME)).status == "nothing_to_do"


async def test_without_a_key_nothing_is_deleted(older, monkeypatch):
    """Archives of users would hold sensitive values."""
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    monkeypatch.delenv("FIELD_ENCRYPTION_LEGACY_KEY")
    before = await state(older.dsn)
    async with engine(older.dsn) as runner:
        with pytest.raises(KeyMissing, match="FIELD_ENCRYPTION_KEY"):
            await runner.run(NAME)
    assert await state(older.dsn) == before


async def test_a_table_on_hold_is_never_purged(older):
    async with engine(older.dsn, holds={"goals": True}) as runner:
        with pytest.raises(RefusedError, match="goals is on hold"):
            await runner.run(NAME)


async def test_an_older_installation_without_foreign_keys(oldest):
    """The profile's references stand in: sessions and goals of a user go, audit logs lose it."""
    counts = oldest.counts

    async def after(dsn):
        query = "SELECT count(*) FROM users WHERE deleted_at < now() - interval '30 days'"
        assert await rows(dsn, query) == [(0,)]
        for child in ("goals", "sessions"):
            query = f"SELECT count(*) FROM {child} WHERE user_id NOT IN (SELECT id FROM users)"
            assert await rows(dsn, query) == [(0,)], child
        query = "SELECT count(*) FROM audit_logs WHERE user_id IS NULL"
        assert await rows(dsn, query) == [(8,)]

    total = counts["users.deleted_old"] + counts["bank_accounts.deleted_old"]
    await cycle(oldest.dsn, NAME, rows=total, after=after)


async def test_a_child_that_comes_meanwhile_is_not_lost(older):
    """The user is locked before its children are looked at: nobody can add one unseen."""
    dsn = older.dsn
    columns = {"users": ("id", "image"), "bank_transactions": ("id", "notes"), "goals": ("id", "title")}
    report, _ = await run_beside(dsn, NAME, columns, deletes=True)
    assert report.left_rows == older.counts["users.deleted_held"]


async def test_a_user_who_is_taken_back_meanwhile_stays(older):
    """Between plan and run."""
    dsn = older.dsn
    ((user,),) = await rows(
        dsn,
        "SELECT u.id FROM users u WHERE \"deletedAt\" < '2024-02-01' AND NOT EXISTS"
        ' (SELECT FROM financial_audit_logs f WHERE f."userId" = u.id) ORDER BY u.id LIMIT 1',
    )
    async with engine(dsn) as runner:
        plan = attrs.asdict(await runner.plan(NAME))
        await script(dsn, f"UPDATE users SET \"deletedAt\" = NULL WHERE id = '{user}'")
        await runner.run(NAME, RunOptions(pinned_plan=plan))
    assert await rows(dsn, f"SELECT count(*) FROM users WHERE id = '{user}'") == [(1,)]


@pytest.mark.timeout(600)
async def test_it_may_be_killed_anywhere(older_few, points):
    report = await assert_crash_safe(
        NAME,
        older_few.dsn,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=10,
        random_kills=1,
    )
    assert report.changed_rows == sum(older_few.counts[f"{table}.deleted_old"] for table in TABLES)

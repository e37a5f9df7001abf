"""cleanup-orphaned: transactions without account, goals without user, audit logs over ninety days."""

from __future__ import annotations

import pytest
from application import run_beside
from cycle import cycle

from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, engine, rows, script, state

NAME = "cleanup-orphaned"
COUNTS = {"bank_transactions": 10, "goals": 5, "audit_logs": 250}


async def test_there_and_back(sample):
    before = await state(sample)

    async def after(dsn):
        assert await broken(dsn) == [(0, 0, 0)]
        now = await state(dsn)
        assert {name for name in before if before[name] != now[name]} == set(COUNTS)
        assert {table: before[table][0] - now[table][0] for table in COUNTS} == COUNTS

    report = await cycle(sample, NAME, rows=sum(COUNTS.values()), after=after)
    assert report.deleted_rows == COUNTS


async def broken(dsn):
    return await rows(
        dsn,
        "SELECT (SELECT count(*) FROM bank_transactions t WHERE NOT EXISTS"
        " (SELECT FROM bank_accounts a WHERE a.id = t.bank_account_id)),"
        " (SELECT count(*) FROM goals g WHERE NOT EXISTS (SELECT FROM users u WHERE u.id = g.user_id)),"
        " (SELECT count(*) FROM audit_logs WHERE \"createdAt\" < now() - interval '90 days')",
    )


async def test_a_receipt_that_was_matched_to_an_orphan_loses_the_match_and_gets_it_back(sample):
    await script(
        sample,
        "UPDATE receipts SET matched_transaction_id = (SELECT t.id::text FROM bank_transactions t WHERE NOT"
        " EXISTS (SELECT FROM bank_accounts a WHERE a.id = t.bank_account_id) ORDER BY t.id LIMIT 1)"
        " WHERE id IN (SELECT id FROM receipts ORDER BY id LIMIT 3)",
    )
    ((match,),) = await rows(sample, "SELECT matched_transaction_id FROM receipts ORDER BY id LIMIT 1")

    async def after(dsn):
        query = "SELECT count(*) FROM receipts WHERE matched_transaction_id = $1"
        assert await rows(dsn, query, match) == [(0,)]

    await cycle(sample, NAME, rows=sum(COUNTS.values()), after=after)


async def test_an_orphan_that_a_record_on_hold_names_is_left_and_listed(sample):
    await script(
        sample,
        'UPDATE aml_transaction_monitoring SET "transactionId" = (SELECT t.id FROM bank_transactions t WHERE'
        " NOT EXISTS (SELECT FROM bank_accounts a WHERE a.id = t.bank_account_id) ORDER BY t.id LIMIT 1)"
        " WHERE id = (SELECT min(id) FROM aml_transaction_monitoring)",
    )

    async def after(dsn):
        assert await broken(dsn) == [(1, 0, 0)]
        async with engine(dsn) as runner:
            (listed,) = await runner.quarantine(NAME)
        assert (listed.table, listed.code, listed.left) == ("bank_transactions", "on-hold", True)
        assert "aml_transaction_monitoring" in listed.reason

    total = sum(COUNTS.values())
    await cycle(sample, NAME, rows=total - 1, left=1, estimate=total, after=after)


async def test_the_hold_can_be_lifted(sample):
    await script(
        sample,
        'UPDATE aml_transaction_monitoring SET "transactionId" = (SELECT t.id FROM bank_transactions t WHERE'
        " NOT EXISTS (SELECT FROM bank_accounts a WHERE a.id = t.bank_account_id) ORDER BY t.id LIMIT 1)"
        " WHERE id = (SELECT min(id) FROM aml_transaction_monitoring)",
    )

    async def after(dsn):
        assert await broken(dsn) == [(0, 0, 0)]

    await cycle(
        sample, NAME, rows=sum(COUNTS.values()), after=after, holds={"aml_transaction_monitoring": False}
    )


async def test_beside_an_application_that_writes(sample):
    columns = {
        "bank_transactions": ("id", "notes"),
        "goals": ("id", "title"),
        "audit_logs": ("id", '"userAgent"'),
    }
    report, _ = await run_beside(sample, NAME, columns, deletes=True)
    assert report.changed_rows == sum(COUNTS.values())


@pytest.mark.timeout(300)
async def test_it_may_be_killed_anywhere(few, points):
    await script(
        few,
        "SET session_replication_role = replica;"
        "UPDATE bank_transactions SET bank_account_id = gen_random_uuid() WHERE id IN"
        " (SELECT id FROM bank_transactions ORDER BY id LIMIT 25);"
        "UPDATE goals SET user_id = 'nobody' WHERE id IN (SELECT id FROM goals ORDER BY id LIMIT 5)",
    )
    report = await assert_crash_safe(
        NAME,
        few,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=10,
        random_kills=1,
    )
    assert report.changed_rows == 46  # the sample has one of its own

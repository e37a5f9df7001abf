"""Installations that differ from the reference schema: planned without a crash, or told why not."""

from __future__ import annotations

import pytest

from taaxdog_datamig.migrations import BUILTIN
from tests.older import SLOTS
from tests.sample import engine, rows, script, state

#: What each case looks like from outside: SQL over its table.
LOOKS = {
    "users.role_null": "role IS NULL",
    "users.created_null": '"createdAt" IS NULL',
    "users.updated_null": '"updatedAt" IS NULL',
    "users.residency_null": '"taxResidency" IS NULL',
    "users.residency_nowhere": "state IS NULL AND postcode IS NULL",
    "users.residency_blank": "state = '' AND postcode = ' '",
    "users.residency_state": "state IS NOT NULL AND postcode IS NULL",
    "users.residency_postcode": "state IS NULL AND length(postcode) = 4",
    "users.residency_foreign": "state = 'London'",
    "users.residency_foreign_code": "state IS NULL AND postcode = '94110'",
    "users.residency_both": "\"taxResidency\" IS NULL AND state ~ '^[A-Z]+$' AND postcode ~ '^[0-9]{4}$'",
    "users.mobile_unnormalised": "mobile ~ '^(04|.61 .0.4)'",
    "users.mobile_e164": "mobile ~ '^.614[0-9]{8}$'",
    "users.mobile_invalid": "mobile = 'ask first'",
    "users.mobile_national_only": "mobile = '13 11 66'",
    "users.mobile_empty": "mobile = ''",
    "users.deleted_old": "\"deletedAt\" < '2024-02-01' AND NOT {held}",
    "users.deleted_recent": "\"deletedAt\" > now() - interval '4 days'",
    "users.deleted_held": "\"deletedAt\" < '2024-02-01' AND {held}",
    "goals.deleted_old": "\"deletedAt\" < '2024-02-01'",
    "goals.deleted_recent": "\"deletedAt\" > now() - interval '4 days'",
    "goals.created_null": "created_at IS NULL",
    "goals.updated_null": "updated_at IS NULL",
    "bank_accounts.deleted_old": "deleted_at < '2024-02-01'",
    "bank_accounts.deleted_recent": "deleted_at > now() - interval '4 days'",
}
HELD = 'EXISTS (SELECT FROM financial_audit_logs f WHERE f."userId" = t.id)'


async def test_the_older_sample_holds_what_its_counts_say(older):
    assert {slot.key for slot in SLOTS} == LOOKS.keys()
    for case, condition in LOOKS.items():
        query = (
            f"SELECT count(*) FROM {case.partition('.')[0]} AS t WHERE {condition.replace('{held}', HELD)}"
        )
        assert (case, (await rows(older.dsn, query))[0][0]) == (case, older.counts[case])


async def test_the_oldest_installation_holds_what_its_counts_say(oldest):
    looks = {
        "users.role_null": "role IS NULL",
        "users.created_null": "created_at IS NULL",
        "users.updated_null": "updated_at IS NULL",
        "users.residency_null": "tax_residency IS NULL",
        "users.phone_unnormalised": "phone LIKE '02 %'",
        "users.phone_invalid": "phone = 'no phone'",
        "users.mobile_unnormalised": "mobile IS NOT NULL",
        "users.deleted_old": "deleted_at < '2024-02-01'",
        "users.deleted_recent": "deleted_at > now() - interval '4 days'",
        "goals.created_null": "created_at IS NULL",
        "bank_accounts.deleted_old": "deleted_at IS NOT NULL",
        "transactions.orphaned": "NOT EXISTS (SELECT FROM bank_accounts a WHERE a.id = bank_account_id)",
        "audit_logs.old": "created_at < now() - interval '90 days'",
        "sessions.expired": "expires < now()",
    }
    for case, count in oldest.counts.items():
        query = f"SELECT count(*) FROM {case.partition('.')[0]} AS t WHERE {looks.get(case, 'true')}"
        assert (case, (await rows(oldest.dsn, query))[0][0]) == (case, count)


NAMES = [migration.name for migration in BUILTIN]


@pytest.mark.parametrize("installation", ["older", "oldest"])
async def test_each_migration_can_be_planned_on_it(installation, request):
    dsn = request.getfixturevalue(installation).dsn
    before = await state(dsn)
    async with engine(dsn) as runner:
        states = {state.name: state for state in await runner.states()}
        for name in NAMES:
            plan = await runner.plan(name)
            assert plan.applicable or plan.reason
            assert (states[name].applicable, states[name].pending) == (
                plan.applicable,
                plan.pending_rows if plan.applicable else None,
            )
    assert await state(dsn) == before


async def test_in_an_empty_database_each_migration_says_why_it_does_not_apply(database, keyed):
    async with engine(database) as runner:
        for name in NAMES:
            plan = await runner.plan(name)
            assert (name, plan.applicable) == (name, False)
            assert plan.reason
        assert [found.pending for found in await runner.states()] == [None] * len(NAMES)


async def test_a_database_with_nothing_but_a_bare_users_table_is_planned(database, keyed):
    await script(database, "CREATE TABLE users (id int PRIMARY KEY); INSERT INTO users VALUES (1)")
    async with engine(database) as runner:
        for name in NAMES:
            plan = await runner.plan(name)
            assert plan.reason or plan.applicable
            assert plan.pending_rows == 0
        assert len(await runner.states()) == len(NAMES)

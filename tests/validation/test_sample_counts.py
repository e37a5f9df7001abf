"""The sample's promised faults, each counted by the check that is there for it."""

from __future__ import annotations

import anyio
import pytest
from planting import result, validated

from taaxdog_datamig.demo.sizes import rows_by_table
from taaxdog_datamig.demo.slots import FAULTS, MISSING, NOT_VALID
from tests.sample import USERS

#: Slots, by check.
SLOTS = {
    "orphaned-row:bank_accounts.basiq_user_id": ["bank_accounts.orphaned"],
    "orphaned-row:bank_transactions.bank_account_id": ["bank_transactions.orphaned"],
    "orphaned-row:goals.user_id": ["goals.orphaned"],
    "orphaned-row:payments.userId": ["payments.orphaned"],
    "orphaned-row:receipts.userId": ["receipts.orphaned"],
    "orphaned-row:sessions.userId": ["sessions.orphaned"],
    "orphaned-row:subscriptions.userId": ["subscriptions.orphaned"],
    "broken-reference:receipts.matched_transaction_id": ["receipts.match_dangling"],
    "goal-over-target": ["goals.current_over_target"],
    "goal-negative": ["goals.current_negative"],
    "goal-completed-short": ["goals.completed_short"],
    "goal-overdue": ["goals.overdue"],
    "transaction-without-amount": ["bank_transactions.amount_zero"],
    "transaction-direction": ["bank_transactions.direction_mismatch"],
    "account-overdrawn": ["bank_accounts.balance_negative"],
    "account-available": ["bank_accounts.available_over_current"],
    "subscription-lapsed": ["subscriptions.active_past_end"],
    "email-unverified": ["users.email_unverified"],
    "email-malformed": ["users.email_malformed"],
    "email-duplicate": ["users.email_duplicate_second", "users.email_duplicate_third"],
    "audit-log-old": ["audit_logs.old"],
    "failed-payment-old": ["payments.failed_old"],
}
FOREIGN_KEYS = {"unproven-foreign-key": len(NOT_VALID), "missing-foreign-key": len(MISSING)}
CATEGORIES = {"referential-integrity", "data-consistency", "business-rules"}


@pytest.fixture(scope="module")
def report(pristine):
    return anyio.run(validated, pristine)


@pytest.mark.parametrize("check", SLOTS)
def test_each_fault_of_the_sample_is_found_as_often_as_it_was_put_in(report, check):
    rows = rows_by_table(USERS)
    promised = sum(slot.count(rows[slot.table]) for slot in FAULTS if slot.key in SLOTS[check])
    assert promised > 0
    assert result(report, check).violations == promised


@pytest.mark.parametrize("check", FOREIGN_KEYS)
def test_foreign_keys_that_vouch_for_nothing_are_named(report, check):
    found = result(report, check)
    assert found.violations == FOREIGN_KEYS[check]
    names = {key.partition(" ")[0].partition(".")[2] for key in found.sample_keys}
    expected = NOT_VALID if check == "unproven-foreign-key" else {key.split("_")[1] for key in MISSING}
    assert names == expected


def test_nothing_is_found_that_was_not_put_in(report):
    failed = {check.id for check in report.failed if check.category in CATEGORIES}
    assert failed == SLOTS.keys() | FOREIGN_KEYS.keys()


async def test_a_clean_sample_breaks_none_of_these_rules(clean):
    report = await validated(clean, categories=sorted(CATEGORIES))
    assert report.failed == ()
    assert report.valid

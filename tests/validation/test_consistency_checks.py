"""Data consistency: each check finds exactly the rows that were planted for it."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio
import pytest
from planting import found_at, named, plant, planted, result, uuid

from taaxdog_datamig.validation.checks import consistency
from tests.sample import script


def goal(name, current, target="target_amount", status="'ACTIVE'", date="2099-01-01"):
    return (
        f"UPDATE goals SET current_amount = {current}, target_amount = {target}, status = {status},"
        f" target_date = '{date}' WHERE id = '{name}'"
    )


def account(number, kind, current, available):
    return (
        f"UPDATE bank_accounts SET account_type = {kind}, balance_current = {current},"
        f" balance_available = {available} WHERE id = '{uuid(number)}'"
    )


def transaction(number, amount, direction):
    return (
        f"UPDATE bank_transactions SET amount = {amount}, direction = {direction} WHERE id = '{uuid(number)}'"
    )


OPEN = (
    "ALTER TABLE goals ALTER status DROP NOT NULL, ALTER target_amount DROP NOT NULL",
    "ALTER TABLE bank_transactions ALTER amount DROP NOT NULL",
)
NAMES = (
    named(
        "goals",
        *("over", "stateless", "full", "rich", "minus", "zero", "aimless", "nothing", "short", "done"),
        *("late", "leap", "paused"),
    ),
    named("bank_accounts", *map(uuid, range(20))),
    named("bank_transactions", *map(uuid, range(20))),
)
PLANTS = {
    "goal-over-target": plant(
        ["over", "stateless"],
        goal("over", "target_amount + 0.01"),
        goal("stateless", "target_amount + 1", status="NULL"),
        # As much as was aimed for is not more; and a completed goal may hold more.
        goal("full", "target_amount"),
        goal("rich", "target_amount + 1", status="'COMPLETED'"),
    ),
    "goal-negative": plant(["minus"], goal("minus", "-0.01"), goal("zero", "0")),
    "goal-without-target": plant(
        ["aimless", "nothing"],
        goal("aimless", "0", target="0"),
        goal("nothing", "10", target="NULL"),
    ),
    "goal-completed-short": plant(
        ["short"],
        goal("short", "target_amount - 0.01", status="'COMPLETED'"),
        goal("done", "target_amount", status="'COMPLETED'"),
    ),
    "goal-overdue": plant(
        ["late", "leap"],
        goal("late", "0", date="2024-03-01"),
        goal("leap", "0", date="2024-02-29"),
        goal("paused", "0", date="2024-03-01", status="'PAUSED'"),
    ),
    "transaction-without-amount": plant(
        [uuid(1), uuid(2)],
        transaction(1, "0", "'debit'"),
        transaction(2, "NULL", "'credit'"),
        transaction(3, "0.01", "'credit'"),
    ),
    "transaction-direction": plant(
        [uuid(11), uuid(12)],
        transaction(11, "-0.01", "'credit'"),
        transaction(12, "0.01", "'debit'"),
        transaction(13, "-5", "'debit'"),
        # Who says nothing contradicts nothing.
        transaction(14, "-5", "NULL"),
        transaction(15, "5", "''"),
    ),
    "account-overdrawn": plant(
        [uuid(1), uuid(2)],
        account(1, "'transaction'", "-0.01", "-0.01"),
        account(2, "''", "-1", "NULL"),
        account(3, "'savings'", "0", "0"),
        account(4, "'credit-card'", "-100", "-100"),
        account(5, "'Mortgage'", "-100", "-100"),
        account(6, "NULL", "-100", "-100"),
        account(7, "'savings'", "NULL", "NULL"),
    ),
    "account-available": plant(
        [uuid(11)],
        account(11, "'savings'", "10", "10.01"),
        account(12, "'savings'", "10", "10"),
        account(13, "'loan'", "-100", "0"),
        account(14, "'savings'", "NULL", "10"),
        account(15, "'savings'", "10", "NULL"),
    ),
}


@pytest.fixture(scope="module")
def report(clean_copies):
    return anyio.run(planted, clean_copies(), [plant([], *OPEN, *NAMES), *PLANTS.values()])


@pytest.mark.parametrize("check", PLANTS)
def test_exactly_the_planted_rows_are_found(report, check):
    found = result(report, check)
    assert set(found.sample_keys) == PLANTS[check].keys
    assert found.violations == len(PLANTS[check].keys)


def test_every_rule_has_its_plants():
    assert {rule.id for rule in consistency.RULES} == set(PLANTS)


@pytest.mark.parametrize(
    ("moment", "late"),
    [
        # In Sydney it is the first of March already: a goal is late when it is late everywhere.
        (datetime(2024, 2, 29, 23, 59, 59, 999999, UTC), set()),
        (datetime(2024, 3, 1, tzinfo=UTC), {"leap"}),
        (datetime(2024, 3, 2, tzinfo=UTC), {"leap", "after"}),
    ],
)
async def test_a_goal_is_in_time_on_its_date_until_the_date_is_over_in_utc(clean_copies, moment, late):
    dsn = clean_copies()
    await script(
        dsn,
        "UPDATE goals SET target_date = '2099-01-01';"
        + named("goals", "leap", "after")
        + goal("leap", "0", date="2024-02-29")
        + ";"
        + goal("after", "0", date="2024-03-01"),
    )
    assert await found_at(dsn, moment, "goal-overdue") == {"goal-overdue": late}

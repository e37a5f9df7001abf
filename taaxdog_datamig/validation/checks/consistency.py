"""Data consistency: rows whose columns contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.validation.model import Check, RowCheck, Rule

if TYPE_CHECKING:
    from taaxdog_datamig.validation.scene import Scene

GOAL_OVER_TARGET = Rule(
    id="goal-over-target",
    title="Goal holds more than its target and is not completed",
    category="data-consistency",
    severity="low",
    meaning="More was saved than was aimed for, yet the goal is still open: it was never marked as "
    "completed, or one of the amounts is wrong.",
    remedy="Complete the goal, or correct the amount that is wrong.",
)
GOAL_NEGATIVE = Rule(
    id="goal-negative",
    title="Goal holds less than nothing",
    category="data-consistency",
    severity="medium",
    meaning="The amount saved is below zero: a withdrawal was booked twice, or a sign was turned round.",
    remedy="Work the amount out again from the goal's transactions.",
)
GOAL_WITHOUT_TARGET = Rule(
    id="goal-without-target",
    title="Goal aims for nothing",
    category="data-consistency",
    severity="low",
    meaning="The target amount is missing, zero or below: progress towards it cannot be told.",
    remedy="Ask the user for the target, or cancel the goal.",
)
GOAL_COMPLETED_SHORT = Rule(
    id="goal-completed-short",
    title="Goal is completed but holds less than its target",
    category="data-consistency",
    severity="low",
    meaning="It was marked as completed too early, or money was taken out or the target raised afterwards.",
    remedy="Make the goal active again, or correct the amount that is wrong.",
)
GOAL_OVERDUE = Rule(
    id="goal-overdue",
    title="Goal is active past its date",
    category="data-consistency",
    severity="low",
    meaning="Its target date has passed, and nobody completed, prolonged or cancelled it. On the date itself "
    "it is still in time.",
    remedy="Complete or cancel the goal, or give it a new date.",
)
TRANSACTION_WITHOUT_AMOUNT = Rule(
    id="transaction-without-amount",
    title="Transaction of nothing",
    category="data-consistency",
    severity="medium",
    meaning="The amount is missing or zero: it was read wrongly, or a card was only tried and never charged.",
    remedy="Fetch the transaction from the bank again; delete it where the bank has none.",
)
TRANSACTION_DIRECTION = Rule(
    id="transaction-direction",
    title="Transaction's direction contradicts its amount",
    category="data-consistency",
    severity="high",
    meaning="A credit takes money away, or a debit brings some. Income and deductions are added up by the "
    "one or the other, so that some sums are wrong.",
    remedy="Fetch the transaction from the bank again; where that cannot be done, believe the amount.",
)
ACCOUNT_OVERDRAWN = Rule(
    id="account-overdrawn",
    title="Account that gives no credit is below zero",
    category="data-consistency",
    severity="medium",
    meaning="The current balance is negative though the account is no credit card, loan or mortgage: it is "
    "overdrawn, or its type or the balance's sign is wrong.",
    remedy="Synchronise the account with the bank. If it really is overdrawn, nothing need be done.",
)
ACCOUNT_AVAILABLE = Rule(
    id="account-available",
    title="Account has more available than it holds",
    category="data-consistency",
    severity="low",
    meaning="More can be spent than the current balance, though the account is no credit card, loan or "
    "mortgage: it has an overdraft limit, or the two balances are of different moments.",
    remedy="Synchronise the account with the bank.",
)

RULES = (
    GOAL_OVER_TARGET,
    GOAL_NEGATIVE,
    GOAL_WITHOUT_TARGET,
    GOAL_COMPLETED_SHORT,
    GOAL_OVERDUE,
    TRANSACTION_WITHOUT_AMOUNT,
    TRANSACTION_DIRECTION,
    ACCOUNT_OVERDRAWN,
    ACCOUNT_AVAILABLE,
)

#: Of an account whose type is known; those that give credit as the banks' interface names them.
_NO_CREDIT = "lower({account_type}::text) NOT IN ('credit-card', 'credit', 'loan', 'mortgage')"

# In each of them what is cheap to see and seldom true comes first: the rest is not looked at then.
_GOALS = (
    (
        GOAL_OVER_TARGET,
        ("current_amount", "target_amount"),
        "{current_amount} > {target_amount} AND {status}::text IS DISTINCT FROM 'COMPLETED'",
    ),
    (GOAL_NEGATIVE, ("current_amount",), "{current_amount} < 0"),
    (GOAL_WITHOUT_TARGET, ("target_amount",), "({target_amount} > 0) IS NOT TRUE"),
    (
        GOAL_COMPLETED_SHORT,
        ("current_amount", "target_amount"),
        "{current_amount} < {target_amount} AND {status}::text = 'COMPLETED'",
    ),
    (GOAL_OVERDUE, ("target_date",), "{target_date} < {today} AND {status}::text = 'ACTIVE'"),
)
_TRANSACTIONS = (
    (TRANSACTION_WITHOUT_AMOUNT, ("amount",), "({amount} <> 0) IS NOT TRUE"),
    (
        TRANSACTION_DIRECTION,
        ("direction", "amount"),
        "({amount} < 0 AND {direction}::text = 'credit') OR ({amount} > 0 AND {direction}::text = 'debit')",
    ),
)
_ACCOUNTS = (
    (ACCOUNT_OVERDRAWN, ("balance_current",), f"{{balance_current}} < 0 AND {_NO_CREDIT}"),
    (
        ACCOUNT_AVAILABLE,
        ("balance_available", "balance_current"),
        f"{{balance_available}} > {{balance_current}} AND {_NO_CREDIT}",
    ),
)


def checks(scene: Scene) -> list[Check]:
    """The checks of this category."""
    del scene
    by_table = (("goals", _GOALS), ("bank_transactions", _TRANSACTIONS), ("bank_accounts", _ACCOUNTS))
    return [
        RowCheck(rule=rule, table=table, columns=columns, violation=violation)
        for table, rules in by_table
        for rule, columns, violation in rules
    ]

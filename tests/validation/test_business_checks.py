"""Business rules: each check finds exactly the planted rows, and none a moment too early."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import pytest
from planting import found_at, named, plant, planted, result, validated

from taaxdog_datamig import RunOptions
from taaxdog_datamig.validation.checks import business
from tests.older import OLDEST, build_older, build_oldest, keys, older_counts
from tests.sample import engine, script

MALFORMED = {
    "empty": "",
    "no-at": "zoe.example.com",
    "no-name": "@example.com",
    "no-dot": "zoe@example",
    "dot-first": "zoe@.com",
    "dot-last": "zoe@example.",
    "dots": "zoe@example..com",
    "two-at": "zoe@home@example.com",
    "space": "zoe smith@example.com",
    "space-last": "zoe@example.com ",
    "tab": "zoe\t@example.com",
    "newline": "zoe@example.com\n",
}
WELL_FORMED = {
    "shortest": "a@b.c",
    "plus": "o'hara+tax@sub.example.com.au",
    "umlaut": "jürgen@bäcker.example",
}
TWINS = {
    "twin-1": "Twin@Example.com",
    "twin-2": "twin@example.com",
    "twin-3": "TWIN@EXAMPLE.COM",
    "near": "twin@example.com.au",
    "also-empty": "",
}
USERS = (*MALFORMED, *WELL_FORMED, *TWINS)
ROLES = {"boss": "'OWNER'", "small": "'user'", "none": "''", "roleless": "NULL", "helper": "'SUPPORT'"}


def emails(users):
    return [f"UPDATE users SET email = $e${email}$e$ WHERE id = '{name}'" for name, email in users.items()]


def subscription(name, status, until):
    return f"UPDATE subscriptions SET status = '{status}', \"currentPeriodEnd\" = {until} WHERE id = '{name}'"


AGO = "(now() AT TIME ZONE 'UTC') - interval '{}'"
PLANTS = {
    "subscription-lapsed": plant(
        ["lapsed", "tried"],
        subscription("lapsed", "active", "'2024-02-29'"),
        subscription("tried", "trialing", AGO.format("1 second")),
        subscription("late", "past_due", "'2024-02-29'"),
        subscription("over", "canceled", "'2024-02-29'"),
        subscription("runs", "trialing", "'2099-01-01'"),
    ),
    "subscription-twice": plant(
        ["twice", "thrice"],
        'DROP INDEX "subscriptions_userId_key"',
        # Those that were given no name.
        "DELETE FROM subscriptions WHERE id LIKE '%-%'",
        "UPDATE subscriptions SET \"userId\" = CASE id WHEN 'lapsed' THEN 'plus' WHEN 'tried' THEN 'shortest'"
        " ELSE 'umlaut' END WHERE id IN ('lapsed', 'tried', 'late')",
        "UPDATE subscriptions SET status = 'active', \"currentPeriodEnd\" = '2099-01-01',"
        " \"userId\" = 'nowhere' WHERE id IN ('once', 'twice', 'thrice')",
        # One that runs beside one that is over.
        "UPDATE subscriptions SET \"userId\" = 'waiting' WHERE id IN ('over', 'runs')",
    ),
    "role-unknown": plant(
        ["boss", "small", "none"],
        "ALTER TABLE users ALTER role DROP DEFAULT, ALTER role DROP NOT NULL, ALTER role TYPE text",
        *(f"UPDATE users SET role = {role} WHERE id = '{name}'" for name, role in ROLES.items()),
    ),
    "email-unverified": plant(
        ["ignored"],
        *(
            f'UPDATE users SET "emailVerified" = NULL, "createdAt" = {created} WHERE id = \'{name}\''
            for name, created in {
                "ignored": AGO.format("31 days"),
                "waiting": AGO.format("29 days"),
                "timeless": "NULL",
            }.items()
        ),
    ),
    "email-malformed": plant(
        [*MALFORMED, "also-empty"],
        "DROP INDEX users_email_key",
        *emails(MALFORMED),
        *emails(WELL_FORMED),
    ),
    "email-duplicate": plant(["twin-2", "twin-3"], *emails(TWINS)),
    "metadata-missing:users": plant(
        ["roleless", "timeless", "unchanged"],
        "UPDATE users SET \"updatedAt\" = NULL WHERE id = 'unchanged'",
    ),
    "residency-missing": plant(
        ["nowhere"],
        'ALTER TABLE users ALTER "taxResidency" DROP NOT NULL',
        "UPDATE users SET \"taxResidency\" = NULL WHERE id = 'nowhere'",
    ),
    "audit-log-old": plant(
        ["old"],
        f"UPDATE audit_logs SET \"createdAt\" = {AGO.format('91 days')} WHERE id = 'old'",
        f"UPDATE audit_logs SET \"createdAt\" = {AGO.format('89 days')} WHERE id = 'young'",
    ),
    "failed-payment-old": plant(
        ["failed"],
        *(
            f"UPDATE payments SET status = '{status}', \"createdAt\" = {AGO.format(age)} WHERE id = '{name}'"
            for name, status, age in (
                ("failed", "failed", "7 months"),
                ("paid", "succeeded", "7 months"),
                ("just failed", "failed", "5 months"),
            )
        ),
    ),
    "deleted-long-ago:users": plant(
        ["deleted"],
        'ALTER TABLE users ADD "deletedAt" timestamp(3)',
        f"UPDATE users SET \"deletedAt\" = {AGO.format('31 days')} WHERE id IN ('deleted', 'held', 'taxed')",
        f"UPDATE users SET \"deletedAt\" = {AGO.format('29 days')} WHERE id = 'lately'",
        # What the law has kept keeps the user.
        *(
            f"DELETE FROM {table} WHERE \"userId\" IN ('deleted', 'held', 'taxed', 'lately')"
            for table in (
                "financial_audit_logs",
                "aml_transaction_monitoring",
                "data_access_requests",
                "tax_returns",
            )
        ),
        "UPDATE financial_audit_logs SET \"userId\" = 'held'"
        " WHERE id = (SELECT min(id) FROM financial_audit_logs)",
        f'UPDATE tax_returns SET "userId" = \'taxed\', "submittedAt" = {AGO.format("4 years")}'
        " WHERE id = (SELECT min(id) FROM tax_returns)",
        f'UPDATE tax_returns SET "userId" = \'deleted\', "submittedAt" = {AGO.format("6 years")}'
        " WHERE id = (SELECT max(id) FROM tax_returns)",
    ),
}
NAMES = (
    'ALTER TABLE users ALTER "createdAt" DROP NOT NULL, ALTER "updatedAt" DROP NOT NULL',
    named(
        "users",
        *(*USERS, *ROLES, "ignored", "waiting", "timeless", "unchanged", "nowhere"),
        *("deleted", "held", "taxed", "lately"),
    ),
    named("subscriptions", "lapsed", "tried", "late", "over", "runs", "once", "twice", "thrice"),
    named("audit_logs", "old", "young"),
    named("payments", "failed", "paid", "just failed"),
)


@pytest.fixture(scope="module")
def report(clean_copies):
    return anyio.run(planted, clean_copies(), [plant([], *NAMES), *PLANTS.values()])


@pytest.mark.parametrize("check", PLANTS)
def test_exactly_the_planted_rows_are_found(report, check):
    found = result(report, check)
    assert set(found.sample_keys) == PLANTS[check].keys
    assert found.violations == len(PLANTS[check].keys)


def test_nothing_else_is_found(report):
    failed = {check.id for check in report.failed if check.category == "business-rules"}
    assert failed == set(PLANTS)
    assert {rule.id for rule in business.RULES} == {check.partition(":")[0] for check in PLANTS}


LEAP = datetime(2024, 2, 29, 12, tzinfo=UTC)
#: Table, column, and the moment from which on it is due at LEAP.
DUE = (
    ("subscriptions", "currentPeriodEnd", "2024-02-29 12:00"),
    ("users", "createdAt", "2024-01-30 12:00"),
    ("audit_logs", "createdAt", "2023-12-01 12:00"),
    ("payments", "createdAt", "2023-08-29 12:00"),
)
MOMENTS = "".join(
    f"{named(table, 'at', 'before')} UPDATE {table} SET \"{column}\" = timestamp '{moment}' -"
    f" CASE id WHEN 'at' THEN interval '0' ELSE interval '1 ms' END WHERE id IN ('at', 'before');"
    for table, column, moment in DUE
) + (
    "UPDATE subscriptions SET status = 'active' WHERE id IN ('at', 'before');"
    "UPDATE users SET \"emailVerified\" = NULL WHERE id IN ('at', 'before');"
    "UPDATE payments SET status = 'failed' WHERE id IN ('at', 'before');"
)
ZONED = "".join(
    f'ALTER TABLE {table} ALTER "{column}" TYPE timestamptz USING "{column}" AT TIME ZONE \'UTC\';'
    for table, column, _ in DUE
)
TIMED = ("subscription-lapsed", "email-unverified", "audit-log-old", "failed-payment-old")


@pytest.fixture(scope="module", params=["", ZONED], ids=["without a zone", "with a zone"])
def timed(clean_copies, request):
    dsn = clean_copies()
    anyio.run(script, dsn, MOMENTS + request.param)
    return dsn


async def due(dsn, moment, **settings):
    """Which of the two rows of each table are due."""
    found = await found_at(dsn, moment, *TIMED, **settings)
    return {check: "".join(sorted(keys & {"at", "before"})) for check, keys in found.items()}


async def test_exactly_at_the_moment_nothing_is_due_yet(timed):
    assert await due(timed, LEAP) == dict.fromkeys(TIMED, "before")
    assert await due(timed, LEAP + timedelta(microseconds=1)) == dict.fromkeys(TIMED, "atbefore")


async def test_periods_are_those_of_the_settings(timed):
    periods = {"audit_logs": "91 days", "payments": "5 months"}
    found = await due(timed, LEAP, settings={"retention": periods})
    assert (found["audit-log-old"], found["failed-payment-old"]) == ("", "atbefore")


async def test_what_is_on_hold_is_never_said_to_be_kept_too_long(timed):
    settings = {"holds": {"audit_logs": True, "payments": {"column": "createdAt", "period": "100 years"}}}
    report = await validated(timed, settings=settings, categories=["business-rules"])
    assert "audit-log-old" not in {check.id for check in report.checks}
    assert result(report, "failed-payment-old").violations == 0


@pytest.fixture(scope="module")
def older(template_database, databases):
    dsn = databases.create(template_database("older", build_older))
    yield dsn
    databases.drop(dsn)


async def test_an_older_installation_has_what_its_release_left(older):
    counts = older_counts(1_000)
    report = await validated(older)
    assert report.errors == ()
    found = {check.id: check.violations for check in report.checks}
    lacking = {*keys("users.role_null", 1_000), *keys("users.created_null", 1_000)}
    assert found["metadata-missing:users"] == len(lacking | set(keys("users.updated_null", 1_000)))
    assert found["metadata-missing:goals"] == counts["goals.updated_null"]
    assert found["residency-missing"] == counts["users.residency_null"]
    for table in ("users", "goals", "bank_accounts"):
        assert found[f"deleted-long-ago:{table}"] == counts[f"{table}.deleted_old"], table


async def test_an_installation_without_most_columns_is_looked_at_as_far_as_it_goes(
    template_database, databases
):
    dsn = databases.create(template_database("oldest", build_oldest))
    try:
        report = await validated(dsn)
    finally:
        databases.drop(dsn)
    assert report.errors == ()
    found = {check.id: check.violations for check in report.checks}
    assert found["orphaned-row:bank_transactions.bank_account_id"] == OLDEST["transactions.orphaned"]
    assert found["residency-missing"] == OLDEST["users.residency_null"]
    assert found["audit-log-old"] == OLDEST["audit_logs.old"]
    assert found["deleted-long-ago:bank_accounts"] == OLDEST["bank_accounts.deleted_old"]
    assert found["role-unknown"] == OLDEST["users"] - OLDEST["users.role_null"]  # in small letters
    skipped = {check.id: check.skipped for check in report.checks if check.skipped}
    assert skipped["goal-over-target"] == "goals has no column current_amount, status here"
    assert skipped["subscription-lapsed"] == "there is no table subscriptions here"


async def test_once_the_migrations_have_run_nothing_is_left_that_they_mend(
    keyed, template_database, database_from, tmp_path
):
    """On the older sample, whose faults need all of them."""
    dsn = database_from(template_database("older_sixty", partial(build_older, users=60)))
    before = await validated(dsn)
    fixes = {check.fix for check in before.failed if check.fix and check.category != "security"}
    assert fixes >= {
        *("cleanup-orphaned-data", "merge-duplicates", "populate-metadata", "set-tax-residency"),
        *("cleanup-audit-logs", "cleanup-payments", "cleanup-soft-deleted"),
    }
    async with engine(dsn, archive_dir=tmp_path) as runner:
        for name in runner.order(fixes):
            arguments = {"foreign": "NON_RESIDENT"} if name == "set-tax-residency" else {}
            report = await runner.run(name, RunOptions(arguments=arguments))
            assert report.status == "succeeded", name
    after = await validated(dsn)
    left = {check.id: check.violations for check in after.failed if check.fix in fixes}
    assert left == {}

"""Referential integrity: exactly the orphans, and exactly the foreign keys that vouch for nothing."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit, urlunsplit

import anyio
import pytest
from planting import named, plant, planted, result, uuid, validated

from taaxdog_datamig.validation.checks import integrity
from tests.sample import rows, script


def loosened(table, column, parent, change):
    """SQL: the foreign key is NOT VALID, and the rows may break it."""
    constraint = f'"{table}_{column}_fkey"'
    return (
        f"ALTER TABLE {table} DROP CONSTRAINT {constraint}; {change}; ALTER TABLE {table} ADD CONSTRAINT"
        f' {constraint} FOREIGN KEY ("{column}") REFERENCES {parent} ON DELETE CASCADE NOT VALID'
    )


NAMES = (
    named("goals", "lost", "blank"),
    named("payments", "p1", "p2"),
    named("sessions", "s1"),
    named("receipts", "gone", "word", "none", "capital", "ownerless", "ownerless too"),
    named("gst_transaction_details", "invoiced", "transacted"),
    named("tax_returns", "draft", "lodged", "ancient"),
    named("financial_audit_logs", "audited"),
    named("bank_transactions", uuid(1), uuid(2)),
)
PLANTS = {
    "orphaned-row:goals.user_id": plant(
        ["lost", "blank"],
        loosened(
            "goals",
            "user_id",
            "users",
            "UPDATE goals SET user_id = CASE id WHEN 'lost' THEN 'nobody' ELSE '' END"
            " WHERE id IN ('lost', 'blank')",
        ),
    ),
    "orphaned-row:payments.userId": plant(
        ["p1", "p2"],
        'ALTER TABLE payments DROP CONSTRAINT "payments_userId_fkey"',
        "UPDATE payments SET \"userId\" = 'nobody' WHERE id IN ('p1', 'p2')",
    ),
    "orphaned-row:sessions.userId": plant(
        ["s1"],
        "ALTER TABLE sessions DISABLE TRIGGER ALL",
        "UPDATE sessions SET \"userId\" = upper(\"userId\") || 'x' WHERE id = 's1'",
    ),
    "orphaned-row:bank_transactions.bank_account_id": plant(
        [uuid(1), uuid(2)],
        loosened(
            "bank_transactions",
            "bank_account_id",
            "bank_accounts",
            f"UPDATE bank_transactions SET bank_account_id = id WHERE id IN ('{uuid(1)}', '{uuid(2)}')",
        ),
    ),
    # Submitted tax returns are on hold for five years; a draft is not.
    "orphaned-row:tax_returns.userId": plant(
        ["draft", "ancient"],
        loosened(
            "tax_returns",
            "userId",
            "users",
            "UPDATE tax_returns SET \"userId\" = 'no ' || id, \"submittedAt\" = CASE id WHEN 'lodged' THEN"
            " localtimestamp WHEN 'ancient' THEN '2004-02-29' END WHERE id IN ('draft', 'lodged', 'ancient')",
        ),
    ),
    "orphaned-record:tax_returns.userId": plant(["lodged"]),
    "orphaned-record:financial_audit_logs.userId": plant(
        ["audited"],
        loosened(
            "financial_audit_logs",
            "userId",
            "users",
            "UPDATE financial_audit_logs SET \"userId\" = 'nobody' WHERE id = 'audited'",
        ),
    ),
    # A table that the profile does not know, with a key of two columns; where one is NULL nothing is meant.
    "orphaned-record:public.tags.member,team": plant(
        ["2"],
        "CREATE TABLE teams (member text, team int, PRIMARY KEY (member, team))",
        "INSERT INTO teams VALUES ('a', 1)",
        "CREATE TABLE tags (id int PRIMARY KEY, member text, team int)",
        "INSERT INTO tags VALUES (1, 'a', 1), (2, 'a', 2), (3, NULL, 2)",
        "ALTER TABLE tags ADD CONSTRAINT tagged FOREIGN KEY (member, team) REFERENCES teams NOT VALID",
    ),
    "broken-reference:receipts.matched_transaction_id": plant(
        ["gone", "word"],
        f"UPDATE receipts SET matched_transaction_id = '{uuid(9)}' WHERE id = 'gone'",
        "UPDATE receipts SET matched_transaction_id = 'a word' WHERE id = 'word'",
        "UPDATE receipts SET matched_transaction_id = NULL WHERE id = 'none'",
        "UPDATE receipts SET matched_transaction_id = (SELECT upper(max(id::text)) FROM bank_transactions)"
        " WHERE id = 'capital'",
    ),
    "broken-reference:bank_transactions.receipt_id": plant(
        [uuid(1)],
        # No foreign key followed the new names of receipts.
        "UPDATE bank_transactions SET receipt_id = NULL"
        " WHERE NOT EXISTS (SELECT FROM receipts r WHERE r.id = receipt_id::text)",
        f"UPDATE bank_transactions SET receipt_id = '{uuid(9)}' WHERE id = '{uuid(1)}'",
    ),
    "broken-reference:gst_transaction_details.invoiceId": plant(
        ["invoiced"],
        f"UPDATE gst_transaction_details SET \"invoiceId\" = '{uuid(9)}' WHERE id = 'invoiced'",
    ),
    "dangling-reference:gst_transaction_details.transactionId": plant(
        ["transacted"],
        f"UPDATE gst_transaction_details SET \"transactionId\" = '{uuid(9)}' WHERE id = 'transacted'",
    ),
    "missing-owner:receipts.userId": plant(
        ["ownerless", "ownerless too"],
        'ALTER TABLE receipts ALTER "userId" DROP NOT NULL',
        "UPDATE receipts SET \"userId\" = NULL WHERE id LIKE 'ownerless%'",
    ),
    "unproven-foreign-key": plant(
        [
            "goals.goals_user_id_fkey (not-valid)",
            "bank_transactions.bank_transactions_bank_account_id_fkey (not-valid)",
            "tax_returns.tax_returns_userId_fkey (not-valid)",
            "financial_audit_logs.financial_audit_logs_userId_fkey (not-valid)",
            "sessions.sessions_userId_fkey (disabled)",
            "tags.tagged (not-valid)",
        ]
    ),
    "missing-foreign-key": plant(["payments.userId"]),
}


@pytest.fixture(scope="module")
def report(clean_copies):
    return anyio.run(planted, clean_copies(), [plant([], *NAMES), *PLANTS.values()])


@pytest.mark.parametrize("check", PLANTS)
def test_exactly_the_planted_orphans_are_found(report, check):
    found = result(report, check)
    assert set(found.sample_keys) == PLANTS[check].keys
    assert found.violations == len(PLANTS[check].keys)


def test_nothing_else_is_found(report):
    failed = {check.id for check in report.failed if check.category == "referential-integrity"}
    assert failed == set(PLANTS)
    assert {rule.id for rule in integrity.RULES} == {check.partition(":")[0] for check in PLANTS}


def test_what_the_server_vouches_for_is_not_read(report):
    read = {check.id for check in report.checks if check.category == "referential-integrity"}
    assert "orphaned-row:subscriptions.userId" not in read
    note = result(report, "unproven-foreign-key").note
    # Of 26 foreign keys five are loose and one is missing; five references never had one; one is the tags'.
    assert note.startswith("the server vouches for 20 of 32 references")


def test_only_what_the_orphan_cleanup_takes_is_said_to_be_mended_by_it(report):
    for check in report.checks:
        mended = check.rule in {"orphaned-row", "broken-reference"}
        if check.category == "referential-integrity":
            assert check.fix == ("cleanup-orphaned-data" if mended else None)


FLAWS = """
CREATE TABLE parents (id int PRIMARY KEY);
INSERT INTO parents SELECT generate_series(1, 9);
CREATE TABLE "Sound" (id int PRIMARY KEY, parent int CONSTRAINT sound REFERENCES parents);
CREATE TABLE twice (id int PRIMARY KEY, parent int CONSTRAINT proven REFERENCES parents);
INSERT INTO twice VALUES (1, 1);
ALTER TABLE twice ADD CONSTRAINT again FOREIGN KEY (parent) REFERENCES parents NOT VALID;
CREATE TABLE parted (id int, parent int CONSTRAINT parted_fkey REFERENCES parents, PRIMARY KEY (id))
    PARTITION BY RANGE (id);
CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE high PARTITION OF parted FOR VALUES FROM (10) TO (20);
INSERT INTO parted VALUES (1, 1), (11, 2);
ALTER TABLE high DISABLE TRIGGER ALL;
INSERT INTO parted VALUES (12, 99), (13, NULL);
CREATE TABLE owners (id int PRIMARY KEY);
INSERT INTO owners VALUES (1), (2);
CREATE TABLE owned (id int PRIMARY KEY, owner int CONSTRAINT owned_fkey REFERENCES owners);
INSERT INTO owned VALUES (1, 1), (2, 2);
ALTER TABLE owners DISABLE TRIGGER ALL;
DELETE FROM owners WHERE id = 2;
"""


async def test_a_foreign_key_may_be_switched_off_on_either_side_and_on_a_partition(database):
    await script(database, FLAWS)
    report = await validated(database)
    assert set(result(report, "unproven-foreign-key").sample_keys) == {
        "twice.again (not-valid)",
        "parted.parted_fkey (disabled)",
        "owned.owned_fkey (disabled)",
    }
    orphans = {check.id: set(check.sample_keys) for check in report.checks if check.rule == "orphaned-record"}
    # The other constraint of `twice` vouches for its rows.
    assert orphans == {
        "orphaned-record:public.parted.parent": {"12"},
        "orphaned-record:public.owned.owner": {"2"},
    }


async def test_a_constraint_that_is_not_enforced_vouches_for_nothing(database):
    ((version,),) = await rows(database, "SELECT current_setting('server_version_num')::int / 10000")
    if version < 18:
        pytest.skip("before PostgreSQL 18 every constraint is enforced")
    await script(
        database,
        "CREATE TABLE parents (id int PRIMARY KEY);"
        "CREATE TABLE kids (id int PRIMARY KEY, parent int CONSTRAINT loose REFERENCES parents NOT ENFORCED);"
        "INSERT INTO kids VALUES (1, 1)",
    )
    report = await validated(database)
    assert result(report, "unproven-foreign-key").sample_keys == ("kids.loose (not-enforced)",)
    assert result(report, "orphaned-record:public.kids.parent").sample_keys == ("1",)


async def test_integers_of_two_widths_are_compared_without_a_cast_that_could_fail(database):
    await script(
        database,
        "CREATE TABLE users (id int PRIMARY KEY, email text); INSERT INTO users VALUES (1, 'a@example.com');"
        "CREATE TABLE goals (id int PRIMARY KEY, user_id bigint);"
        "INSERT INTO goals VALUES (1, 1), (2, 9223372036854775807)",
    )
    report = await validated(database)
    assert result(report, "orphaned-row:goals.user_id").sample_keys == ("2",)
    assert result(report, "missing-foreign-key").sample_keys == ("goals.user_id",)


async def test_a_rule_without_anything_to_look_at_may_still_be_asked_for(database):
    report = await validated(database, checks=["orphaned-row"])
    assert (report.checks, report.valid) == ((), True)


async def test_what_the_role_may_not_read_is_named_and_keeps_nothing_from_being_checked(database, server_dsn):
    role = f"datamig_reader_{secrets.token_hex(4)}"
    await script(
        database,
        "CREATE SCHEMA secret; CREATE TABLE secret.parents (id int PRIMARY KEY);"
        "CREATE TABLE secret.kids (id int, parent int);"
        "ALTER TABLE secret.kids ADD CONSTRAINT loose"
        " FOREIGN KEY (parent) REFERENCES secret.parents NOT VALID;"
        f"CREATE ROLE {role} LOGIN PASSWORD 'unused'",
    )
    try:
        parts = urlsplit(database)
        reader = parts._replace(netloc=f"{role}:unused@{parts.netloc.rpartition('@')[2]}")
        report = await validated(urlunsplit(reader))
    finally:
        await script(server_dsn, f"DROP ROLE {role}")
    assert report.errors == ()
    assert result(report, "unproven-foreign-key").sample_keys == ("kids.loose (not-valid)",)

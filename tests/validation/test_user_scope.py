"""One user's validation looks at that user's rows, all of them, and at nobody else's."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from planting import result, validated

from taaxdog_datamig import Database, Settings, Validator
from taaxdog_datamig.errors import UnknownName
from taaxdog_datamig.profile import paths_from, scope_of
from taaxdog_datamig.validation import Rule, Scene, UniqueCheck, validator
from taaxdog_datamig_cli.main import main
from tests.sample import rows, script

#: A table, and the way from it to its user as people would write it.
WAYS = {
    "users": "users t WHERE t.id = $1",
    "goals": "goals t WHERE t.user_id = $1",
    "receipts": 'receipts t WHERE t."userId" = $1',
    "bank_accounts": "bank_accounts t JOIN basiq_users b ON b.id = t.basiq_user_id WHERE b.user_id = $1",
    "bank_transactions": "bank_transactions t JOIN bank_accounts a ON a.id = t.bank_account_id"
    " JOIN basiq_users b ON b.id = a.basiq_user_id WHERE b.user_id = $1",
    "gst_transaction_details": "gst_transaction_details t JOIN bank_transactions x ON x.id::text ="
    ' t."transactionId"::text JOIN bank_accounts a ON a.id = x.bank_account_id'
    " JOIN basiq_users b ON b.id = a.basiq_user_id WHERE b.user_id = $1",
}


def every_row(table: str) -> dict[str, str]:
    """A check that all rows of a table break."""
    return {
        "id": f"any-{table.replace('_', '-')}",
        "title": "Any row",
        "category": "data-consistency",
        "severity": "low",
        "table": table,
        "violation": "true",
    }


CHECKS = {"checks": tuple(every_row(table) for table in (*WAYS, "invoices"))}


async def someone(dsn, table):
    """The user with the most rows of a table, and their keys."""
    keys = f"array(SELECT t.id::text FROM {WAYS[table].replace('$1', 'u.id')}) AS keys"
    query = f"SELECT u.id, {keys} FROM users u"
    return max(await rows(dsn, query), key=lambda row: len(row["keys"]))


@pytest.mark.parametrize("table", WAYS)
async def test_the_rows_of_a_user_are_found_whatever_the_way(pristine, table):
    user, keys = await someone(pristine, table)
    report = await validated(pristine, settings=CHECKS, user_id=user, checks=[every_row(table)["id"]])
    (found,) = report.checks
    assert keys
    assert found.violations == len(keys)
    assert set(found.sample_keys) == set(keys)
    assert report.user_id == user


async def test_what_no_reference_leads_to_is_skipped_and_says_so(pristine):
    (user,) = (await rows(pristine, "SELECT id FROM users LIMIT 1"))[0]
    report = await validated(pristine, settings=CHECKS, user_id=user)
    assert result(report, "any-invoices").skipped == "no reference leads from users to invoices"
    assert not report.errors


@pytest.mark.parametrize("name", ["nobody", "", "a,b", "'; DROP TABLE users"])
async def test_a_user_that_does_not_exist_is_an_error(pristine, name):
    with pytest.raises(UnknownName, match="there is no user"):
        await validated(pristine, user_id=name)


def test_an_unknown_user_ends_the_command_with_code_2(pristine, capsys):
    assert main(["validate", "--user-id", "nobody", "--database", pristine]) == 2
    assert "there is no user 'nobody' in public.users" in capsys.readouterr().err


async def test_a_path_is_served_by_indexes(pristine):
    async with Database.connect(settings=Settings(database_url=pristine)) as db, db.acquire() as connection:
        scene = await Scene.load(connection, db.settings, (await rows(pristine, "SELECT now()"))[0][0])
        users, transactions = scene.table("users"), scene.table("bank_transactions")
        path = paths_from(users.relation.oid, scene.references)[transactions.relation.oid]
        plan = await connection.fetch(
            f"EXPLAIN SELECT count(*) FROM bank_transactions t WHERE {scope_of(path, 't.id = $1::text')}", "x"
        )
    told = "\n".join(row[0] for row in plan)
    assert "Seq Scan on bank_transactions" not in told
    assert told.count("Index") >= 3


class Step(NamedTuple):
    """As much of a foreign key as a way needs."""

    child: int
    parent: int
    on_delete: str = "cascade"


def test_a_way_by_belonging_beats_a_shorter_one_by_mention():
    long = (Step(2, 1), Step(3, 2), Step(4, 3))
    paths = paths_from(1, [Step(5, 1), Step(4, 5, "null"), *long, Step(1, 4), Step(9, 8)])
    assert paths[4] == long
    assert paths[1] == ()
    assert 9 not in paths


UUIDS = """
CREATE TABLE users (id uuid PRIMARY KEY, email text);
CREATE TABLE receipts (id int PRIMARY KEY, "userId" text);
INSERT INTO users SELECT ('00000000-0000-0000-0000-00000000000' || i)::uuid FROM generate_series(1, 2) AS i;
INSERT INTO receipts VALUES (1, '00000000-0000-0000-0000-000000000001'), (2, 'no uuid'), (3, NULL),
    (4, '00000000-0000-0000-0000-000000000002')
"""


async def test_a_text_may_refer_to_a_uuid(database):
    await script(database, UUIDS)
    user = "00000000-0000-0000-0000-000000000001"
    settings = {"checks": (every_row("receipts"),)}
    report = await validated(database, settings=settings, user_id=user)
    assert result(report, "any-receipts").sample_keys == ("1",)
    with pytest.raises(UnknownName, match="there is no user 'me'"):
        await validated(database, user_id="me")


COMPOSITE = """
CREATE TABLE users (tenant int, id int, email text, PRIMARY KEY (tenant, id));
CREATE TABLE goals (id int PRIMARY KEY, tenant int, owner int, FOREIGN KEY (tenant, owner) REFERENCES users);
INSERT INTO users VALUES (1, 7), (2, 7);
INSERT INTO goals VALUES (1, 1, 7), (2, 2, 7), (3, NULL, 7)
"""


async def test_a_key_of_several_columns_is_joined_by_commas(database):
    await script(database, COMPOSITE)
    settings = {"checks": (every_row("goals"),)}
    report = await validated(database, settings=settings, user_id="2,7")
    assert result(report, "any-goals").sample_keys == ("2",)
    with pytest.raises(UnknownName, match="there is no user '7'"):
        await validated(database, user_id="7")


async def test_uniqueness_among_users_is_not_asked_of_one(pristine, monkeypatch):
    rule = Rule(id="same-state", title="", category="business-rules", severity="low", meaning="", remedy="")
    of_users = UniqueCheck(rule=rule, table="users", part="users", terms=("{state}",))
    of_goals = UniqueCheck(rule=rule, table="goals", part="goals", terms=("{user_id}",))
    monkeypatch.setattr(validator, "builtin_checks", lambda _: [of_users, of_goals])
    user, keys = await someone(pristine, "goals")
    async with Database.connect(settings=Settings(database_url=pristine)) as db:
        report = await Validator(db).validate(user_id=user)
    assert result(report, of_users.id).skipped == "it compares users with each other"
    assert result(report, of_goals.id).violations == len(keys) - 1

"""cleanup-orphaned-data: every broken relationship of the catalog and the profile."""

from __future__ import annotations

import pytest
from application import run_beside
from cycle import cycle

from taaxdog_datamig.errors import RunError
from taaxdog_datamig.testing import assert_crash_safe
from tests.integration.sample_predicates import COUNTS as PREDICATES
from tests.sample import KEY, engine, rows, script, state

NAME = "cleanup-orphaned-data"
#: By the sample's slots.
ORPHANS = {
    "bank_accounts": 2,
    "bank_transactions": 10,
    "goals": 5,
    "payments": 5,
    "receipts": 3,
    "sessions": 5,
    "subscriptions": 2,
}
BROKEN = [f"{table}.orphaned" for table in ORPHANS] + ["receipts.match_dangling"]


async def test_there_and_back(sample):
    """The transactions of an orphaned account go with it; a dangling match becomes NULL."""
    before = await state(sample)
    ((with_account,),) = await rows(
        sample,
        "SELECT count(*) FROM bank_transactions t JOIN bank_accounts a ON a.id = t.bank_account_id"
        " WHERE NOT EXISTS (SELECT FROM basiq_users b WHERE b.id = a.basiq_user_id)",
    )
    ((dangling,),) = await rows(sample, PREDICATES["receipts.match_dangling"])
    gone = ORPHANS | {"bank_transactions": ORPHANS["bank_transactions"] + with_account}

    async def after(dsn):
        for name in BROKEN:
            assert (await rows(dsn, PREDICATES[name]))[0][0] == 0, name
        now = await state(dsn)
        assert {table: before[table][0] - now[table][0] for table in gone} == gone
        assert {name for name in before if before[name] != now[name]} == set(gone)

    report = await cycle(sample, NAME, rows=sum(ORPHANS.values()) + dangling, after=after)
    assert report.deleted_rows == gone


TABLES = """
CREATE TABLE parents (id int, part int, PRIMARY KEY (id, part));
CREATE TABLE children (id int PRIMARY KEY, parent int, part int, FOREIGN KEY (parent, part) REFERENCES parents
    ON DELETE CASCADE NOT VALID);
CREATE TABLE nodes (id int PRIMARY KEY, child int REFERENCES children ON DELETE RESTRICT, above int
    REFERENCES nodes ON DELETE SET NULL);
INSERT INTO parents VALUES (1, 1);
SET session_replication_role = replica;
INSERT INTO children VALUES (1, 1, 1), (2, 1, 2), (3, NULL, 2), (4, 9, 9);
INSERT INTO nodes VALUES (1, 1, NULL), (2, 2, 1), (3, 2, 2), (4, 3, 2), (5, NULL, 5), (6, 7, NULL);
"""


async def test_composite_nulling_restricting_and_circular_references(database, keyed):
    """Found in the catalog although the profile does not know the tables."""
    profile = {"tables": {name: {} for name in ("parents", "children", "nodes")}}
    await script(database, TABLES)

    async def after(dsn):
        assert await rows(dsn, "SELECT id FROM children ORDER BY 1") == [(1,), (3,)]
        assert await rows(dsn, "SELECT id, above FROM nodes ORDER BY 1") == [(1, None), (4, None), (5, 5)]

    # Children 2 and 4, and node 6, are orphans; nodes 2 and 3 go with child 2; node 4 loses its reference.
    await cycle(database, NAME, rows=3, after=after, profile=profile)


async def test_a_circle_of_cascades_is_refused_and_nothing_is_lost(database, keyed):
    """The server would delete a row, by its own cascade, that was not archived yet."""
    profile = {"tables": {name: {} for name in ("parents", "ones", "others")}}
    await script(
        database,
        "CREATE TABLE parents (id int PRIMARY KEY);"
        "CREATE TABLE ones (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE, other int);"
        "CREATE TABLE others (id int PRIMARY KEY, one int REFERENCES ones ON DELETE CASCADE);"
        "ALTER TABLE ones ADD FOREIGN KEY (other) REFERENCES others ON DELETE CASCADE;"
        "SET session_replication_role = replica;"
        "INSERT INTO ones VALUES (1, 7, 1), (2, 7, NULL); INSERT INTO others VALUES (1, 1)",
    )
    before = await state(database)
    async with engine(database, profile=profile) as runner:
        with pytest.raises(RunError, match="back to it, and cascade"):
            await runner.run(NAME)
    assert await state(database) == before


async def test_beside_an_application_that_writes(sample):
    columns = {
        "bank_accounts": ("id", "account_name"),
        "bank_transactions": ("id", "notes"),
        "receipts": ("id", "merchant"),
        "sessions": ("id", "data"),
    }
    await run_beside(sample, NAME, columns, deletes=True)


@pytest.mark.timeout(300)
async def test_it_may_be_killed_anywhere(few, points):
    await script(
        few,
        "SET session_replication_role = replica;"
        "UPDATE bank_accounts SET basiq_user_id = gen_random_uuid() WHERE id IN"
        " (SELECT id FROM bank_accounts ORDER BY id LIMIT 6);"
        "UPDATE receipts SET matched_transaction_id = 'none' WHERE id IN"
        " (SELECT id FROM receipts ORDER BY id LIMIT 5)",
    )
    report = await assert_crash_safe(
        NAME,
        few,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=10,
        random_kills=1,
    )
    assert report.changed_rows >= 11

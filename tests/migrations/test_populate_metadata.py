"""populate-metadata: what is missing is filled from the best evidence, and nothing else is touched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from application import run_beside
from cycle import cycle, reasons

from taaxdog_datamig import RunOptions
from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.profile import Profile
from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, engine, rows, script, state

NAME = "populate-metadata"
#: Tables whose rows name a user, by their columns; each has a moment of creation.
REFERRING = (
    *('accounts."userId"', 'ai_conversations."userId"', 'ai_insights."userId"', 'ai_usage_tracking."userId"'),
    *('aml_transaction_monitoring."userId"', 'audit_logs."userId"', "basiq_api_logs.user_id"),
    *("basiq_users.user_id", "budget_tracking.user_id", "budgets.user_id", 'data_access_requests."userId"'),
    *('financial_audit_logs."userId"', "financial_insights.user_id", "goals.user_id", 'payments."userId"'),
    *('privacy_consents."userId"', 'receipts."userId"', 'sessions."userId"', 'subscriptions."userId"'),
    'tax_returns."userId"',
)
OWN = ("emailVerified", "lastLoginAt", "passwordChangedAt", "deletedAt")


async def users(dsn):
    columns = ", ".join(f'"{name}"' for name in ("id", "role", "createdAt", "updatedAt", *OWN))
    return {row["id"]: dict(row) for row in await rows(dsn, f"SELECT {columns} FROM users")}


async def first_records(dsn):
    """The earliest record of each user in any other table, worked out without the package."""
    found = {}
    for place in REFERRING:
        table, column = place.split(".")
        created = await rows(
            dsn,
            "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
            " AND column_name IN ('createdAt', 'created_at')",
            table,
        )
        query = f'SELECT {column}, "{created[0][0]}" FROM {table}'
        for user, moment in await rows(dsn, query):
            if user is not None and moment is not None and moment < datetime(2026, 1, 1):  # noqa: DTZ001
                found[user] = min(moment, found.get(user, moment))
    return found


def past(moment):
    return moment is not None and moment < datetime.now(UTC).replace(tzinfo=None)


async def test_there_and_back(older):
    before, first = await users(older.dsn), await first_records(older.dsn)
    whole = await state(older.dsn)
    missing = [
        name for name, row in before.items() if not all((row["role"], row["createdAt"], row["updatedAt"]))
    ]
    goals = older.counts["goals.updated_null"]

    async def after(dsn):
        filled = {"role": 0, "createdAt": 0, "updatedAt": 0}
        for key, now in (await users(dsn)).items():
            old = before[key]
            expected = dict(old)
            own = [old[name] for name in OWN if past(old[name])]
            if old["role"] is None:
                expected["role"] = "USER"
            if old["createdAt"] is None:
                updated = [old["updatedAt"]] if past(old["updatedAt"]) else []
                expected["createdAt"] = min([*own, *updated, first[key]])
            if old["updatedAt"] is None:
                expected["updatedAt"] = max([*own, expected["createdAt"]])
            assert (key, now == expected) == (key, True)
            for name in filled:
                filled[name] += old[name] is None
        assert filled == {
            "role": older.counts["users.role_null"],
            "createdAt": older.counts["users.created_null"],
            "updatedAt": older.counts["users.updated_null"],
        }
        await look_at_goals(dsn)
        moved = await state(dsn)
        assert {name for name in whole if whole[name] != moved[name]} == {"users", "goals"}

    report = await cycle(older.dsn, NAME, rows=len(missing) + goals, after=after)
    assert {table.table: table.changed_rows for table in report.tables} == {
        "users": len(missing),
        "goals": goals,
    }


async def look_at_goals(dsn):
    """A goal without any evidence is not older than its user; an orphan is as old as the run."""
    found = await rows(
        dsn,
        'SELECT g.created_at, g.updated_at, g."deletedAt", u."createdAt" AS parent FROM goals g'
        " LEFT JOIN users u ON u.id = g.user_id WHERE substring(g.id, 1, 8) IN (SELECT substring("
        "md5('goal:1:' || i)::uuid::text, 1, 8) FROM generate_series(3, 500, 10) AS i)",
    )
    assert len(found) == 50
    for row in found:
        assert row["updated_at"] == row["created_at"]
        expected = row["parent"] if past(row["parent"]) else datetime.now(UTC).replace(tzinfo=None)
        assert abs(row["created_at"] - expected) < timedelta(minutes=5)


async def test_the_audit_trail_says_what_each_value_rests_on(older):
    async with engine(older.dsn) as runner:
        await runner.run(NAME)
    counted = await reasons(older.dsn)
    assert sum(counted.values()) == (await rows(older.dsn, "SELECT sum(changed) FROM datamig.chunks"))[0][0]
    told = {part.split(" by ")[0] for reason in counted for part in reason.split(", ")}
    assert told == {"createdAt", "updatedAt", "role"}
    assert any("createdAt by basiq_users" in reason for reason in counted)
    assert any("createdAt by its users" in reason for reason in counted)


CASES = """
CREATE TABLE users (id int PRIMARY KEY, role text, created_at timestamptz, "updatedAt" timestamp(0),
    email_verified timestamptz, last_login_at timestamp, locked_until timestamptz);
CREATE TABLE audit_logs (id int PRIMARY KEY, user_id int, created_at timestamptz);
CREATE INDEX ON audit_logs (user_id);
CREATE TABLE sessions (id int PRIMARY KEY, user_id int, created_at timestamp);
INSERT INTO users VALUES
    (1, 'USER', NULL, NULL, NULL, NULL, '2021-01-01'),
    (2, '', NULL, '2022-01-01 00:00', NULL, NULL, NULL),
    (3, NULL, NULL, NULL, '2022-03-01 10:00+10', '2022-02-01', NULL),
    (4, 'ADMIN', NULL, NULL, '2022-03-01', NULL, NULL),
    (5, 'ADMIN', 'infinity', NULL, 'infinity', '-infinity', NULL),
    (6, 'ADMIN', '-infinity', '2022-01-01', NULL, NULL, NULL),
    (7, 'ADMIN', '2030-01-01', NULL, '2022-03-01', NULL, NULL),
    (8, 'ADMIN', NULL, '2099-01-01', NULL, NULL, NULL);
INSERT INTO audit_logs VALUES (1, 4, '2022-01-01 12:00:00.123456+00'), (2, 4, '2023-01-01'),
    (3, 4, '-infinity'), (4, 8, '2098-01-01'), (5, 8, NULL);
INSERT INTO sessions VALUES (1, 1, '2020-01-01');
"""


async def test_boundary_values(database, keyed):
    """Zones, precision, infinity, moments to come, and a table that cannot be asked."""
    await script(database, CASES)

    async def after(dsn):
        found = await rows(dsn, 'SELECT id, role, created_at::text, "updatedAt"::text FROM users ORDER BY 1')
        now = {row[0]: tuple(row)[1:] for row in found}
        run = datetime.now(UTC).date().isoformat()
        assert now[2] == ("", "2022-01-01 00:00:00+00", "2022-01-01 00:00:00")
        assert now[3] == ("USER", "2022-02-01 00:00:00+00", "2022-03-01 00:00:00")
        assert now[4] == ("ADMIN", "2022-01-01 12:00:00.123456+00", "2022-03-01 00:00:00")
        assert now[6] == ("ADMIN", "-infinity", "2022-01-01 00:00:00")
        assert now[7] == ("ADMIN", "2030-01-01 00:00:00+00", "2030-01-01 00:00:00")
        # Nothing is known: of a session without an index, of infinity, of what is to come.
        for key in (1, 8):
            assert now[key][1].startswith(run)
        assert now[1][2].startswith(run)
        assert now[5][2].startswith(run)
        assert now[8][2] == "2099-01-01 00:00:00"

    report = await cycle(database, NAME, rows=8, after=after)
    assert any("public.sessions refer to it without an index" in warning for warning in report.warnings)


async def test_the_oldest_installation(oldest):
    before = await rows(
        oldest.dsn, "SELECT id, created_at, email_verified, last_login_at FROM users ORDER BY id"
    )

    async def after(dsn):
        now = {row["id"]: row for row in await rows(dsn, "SELECT * FROM users")}
        for key, created, verified, login in before:
            # Log i belongs to user 1 + i % 40, and those of odd numbers are old; the others are to come.
            logs = [datetime(2023, 4, 1, tzinfo=UTC)] if key % 2 == 0 else []
            own = [moment for moment in (verified, login, now[key]["deleted_at"]) if moment]
            if created is None:
                assert now[key]["created_at"] == min([*logs, *own])
            assert now[key]["updated_at"] == max([now[key]["created_at"], *own])
            assert (now[key]["role"] == "USER") == (key % 4 == 0)
        for created, updated in await rows(dsn, "SELECT created_at, updated_at FROM goals"):
            assert created <= updated

    await cycle(
        oldest.dsn,
        NAME,
        rows=oldest.counts["users.updated_null"] + oldest.counts["goals.created_null"],
        after=after,
    )


async def test_defaults_of_the_profile(database, keyed):
    """Any column, in any type; the empty string and false are values."""
    await script(
        database,
        "CREATE TYPE mood AS ENUM ('calm', 'cross');"
        "CREATE TABLE users (id int PRIMARY KEY, role varchar(10) NOT NULL, active bool, mood mood,"
        " score numeric(6,2)); INSERT INTO users VALUES"
        " (1, 'ADMIN', NULL, NULL, NULL), (2, '', false, 'cross', 0), (3, '', true, NULL, 1)",
    )
    profile = {
        "tables": {
            "users": {
                "columns": {
                    "active": {"default": "true"},
                    "mood": {"default": "calm"},
                    "score": {"default": "1"},
                }
            }
        }
    }

    async def after(dsn):
        found = [
            (*tuple(row)[:3], str(row[3]))
            for row in await rows(dsn, "SELECT role, active, mood, score FROM users ORDER BY id")
        ]
        assert found == [
            ("ADMIN", True, "calm", "1.00"),
            ("", False, "cross", "0.00"),
            ("", True, "calm", "1.00"),
        ]

    await cycle(database, NAME, rows=2, after=after, profile=profile)
    with pytest.raises(SettingsError, match="sensitive"):
        Profile.load({"tables": {"users": {"columns": {"tfn": {"default": "x"}}}}})
    async with engine(
        database, profile={"tables": {"users": {"columns": {"mood": {"default": "no"}}}}}
    ) as runner:
        report = await runner.run(NAME, RunOptions(force=True, dry_run=True))
    assert report.quarantined_rows == 2, "the server refuses a default that is none"


async def test_where_nothing_can_be_null_it_does_not_apply(pristine, database, keyed):
    for dsn in (pristine, database):
        async with engine(dsn) as runner:
            plan = await runner.plan(NAME)
        assert (plan.applicable, plan.reason) == (False, "no column that it would fill can be NULL here")


async def test_tables_on_hold_and_tables_without_a_key_are_left_out(database, keyed):
    await script(
        database,
        "CREATE TABLE financial_audit_logs (id int PRIMARY KEY, created_at timestamp);"
        "CREATE TABLE goals (id int, created_at timestamp); INSERT INTO goals VALUES (1, NULL);"
        "CREATE TABLE tax_returns (id int PRIMARY KEY, submitted_at timestamp, created_at timestamp);"
        "INSERT INTO financial_audit_logs VALUES (1, NULL);"
        "INSERT INTO tax_returns VALUES (1, '2099-01-01', NULL), (2, '2001-01-01', NULL), (3, NULL, NULL)",
    )

    async def after(dsn):
        found = await rows(dsn, "SELECT id, created_at FROM tax_returns ORDER BY id")
        assert [row[1] is None for row in found] == [True, False, False]
        assert found[1][1] == datetime(2001, 1, 1)  # noqa: DTZ001

    report = await cycle(database, NAME, rows=2, after=after)
    said = " ".join(report.warnings)
    assert "financial_audit_logs is on hold" in said
    assert "goals has no primary key" in said


async def test_beside_an_application_that_writes(older):
    report, _ = await run_beside(older.dsn, NAME, {"users": ("id", "name"), "goals": ("id", "title")})
    assert report.changed_rows > 300


async def test_it_may_be_killed_anywhere(older_few):
    report = await assert_crash_safe(
        NAME, older_few.dsn, environ={"FIELD_ENCRYPTION_KEY": KEY}, batch_size=5, random_kills=1
    )
    assert report.changed_rows > 20

"""merge-duplicates: accounts become one and are separated again, with everything that belongs to them."""

from __future__ import annotations

import asyncio
import json
import random

import asyncpg
import pytest
import zstandard
from application import run_beside
from cycle import cycle

from taaxdog_datamig import RunOptions
from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto.keyring import derive_kid
from taaxdog_datamig.errors import PreflightFailed, SettingsError, UsageError
from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, LEGACY_KEY, allowing, engine, open_token, rows, script, seal_legacy, state

NAME = "merge-duplicates"
#: Duplicates of the sample of 1,000 users: two seconds and a third, in two groups.
DUPLICATES = 3
#: Tables of the sample by the column that names their user, and what must not be there twice.
CHILDREN = {
    "accounts": "userId",
    "ai_conversations": "userId",
    "ai_insights": "userId",
    "ai_usage_tracking": "userId",
    "aml_transaction_monitoring": "userId",
    "audit_logs": "userId",
    "basiq_api_logs": "user_id",
    "basiq_users": "user_id",
    "budget_tracking": "user_id",
    "budgets": "user_id",
    "data_access_requests": "userId",
    "financial_audit_logs": "userId",
    "financial_insights": "user_id",
    "goals": "user_id",
    "payments": "userId",
    "privacy_consents": "userId",
    "receipts": "userId",
    "sessions": "userId",
    "subscriptions": "userId",
    "tax_returns": "userId",
}
UNIQUE = {
    "basiq_users": (),
    "subscriptions": (),
    "tax_returns": ("year",),
    "privacy_consents": ("consentType", "consentVersion"),
}
STATUSES = ["COMPLETED", "PROCESSING", "SUBMITTED", "DRAFT"]
#: Of two rows that cannot both stay, the one with the greater value does.
BETTER = {
    "basiq_users": lambda row: (row["connection_status"] == "active", row["updated_at"]),
    "subscriptions": lambda row: (row["status"] == "active", row["currentPeriodEnd"]),
    "tax_returns": lambda row: (-STATUSES.index(row["status"]), row["updatedAt"]),
    "privacy_consents": lambda row: max(
        moment for moment in (row["consentDate"], row["withdrawnAt"], row["createdAt"]) if moment
    ),
}


async def primaries(dsn):
    """Each duplicate of the sample to its primary, by the documented policy."""
    found = {}
    users = await rows(dsn, 'SELECT id, email, "emailVerified", "lastLoginAt", "createdAt" FROM users')
    for address in {user["email"].lower() for user in users}:
        group = [user for user in users if user["email"].lower() == address]
        group.sort(key=lambda user: user["createdAt"])
        logins = [user for user in group if user["lastLoginAt"]]
        logins.sort(key=lambda user: user["lastLoginAt"], reverse=True)
        group = logins + [user for user in group if not user["lastLoginAt"]]
        group.sort(key=lambda user: user["emailVerified"] is None)
        found |= {user["id"]: group[0]["id"] for user in group[1:]}
    return found


async def expected_children(dsn, table, column, moved):
    """Which rows there are after the merge, each with its user, by the documented rules."""
    best = {}
    unverified = {row[0] for row in await rows(dsn, 'SELECT id FROM users WHERE "emailVerified" IS NULL')}
    stays = {}
    for row in await rows(dsn, f"SELECT * FROM {table}"):
        owner = row[column]
        if owner in moved and (table == "sessions" or (table == "accounts" and owner in unverified)):
            continue
        stays[row["id"]] = moved.get(owner, owner)
        if table in UNIQUE:
            place = (moved.get(owner, owner), *(row[name] for name in UNIQUE[table]))
            best.setdefault(place, []).append(row)
    for rivals in best.values():
        if len(rivals) > 1:
            kept = max(rivals, key=lambda row: (BETTER[table](row), row[column] not in moved))
            for row in rivals:
                if row["id"] != kept["id"]:
                    del stays[row["id"]]
    return stays


async def test_there_and_back(sample, pristine):
    moved = await primaries(pristine)
    assert len(moved) == DUPLICATES

    async def after(dsn):
        assert (
            dict(await rows(dsn, "SELECT lower(email), count(*) FROM users GROUP BY 1 HAVING count(*) > 1"))
            == {}
        )
        assert {row[0] for row in await rows(pristine, "SELECT id FROM users")} - set(moved) == {
            row[0] for row in await rows(dsn, "SELECT id FROM users")
        }
        for table, column in CHILDREN.items():
            found = dict(await rows(dsn, f'SELECT id, "{column}" FROM {table}'))
            assert found == await expected_children(pristine, table, column, moved), table
        # What referred to a record that gave way refers to the one that stayed.
        for table in ("bank_connections", "bank_accounts"):
            total = f"SELECT count(*) FROM {table}"
            lonely = (
                f"SELECT count(*) FROM {table} t WHERE NOT EXISTS"
                " (SELECT FROM basiq_users b WHERE b.id = t.basiq_user_id)"
            )
            assert await rows(dsn, total) == await rows(pristine, total)
            assert await rows(dsn, lonely) == await rows(pristine, lonely)

    report = await cycle(sample, NAME, rows=DUPLICATES, after=after)
    assert report.deleted_rows["users"] == DUPLICATES
    assert report.proof["deleted"] == sum(report.deleted_rows.values())


async def test_what_is_removed_is_in_the_archive(sample, archive_dir):
    moved = await primaries(sample)
    async with engine(sample) as runner:
        report = await runner.run(NAME)
        await runner.rollback(NAME)
    (manifest,) = archive_dir.rglob("manifest.json")
    told = json.loads(manifest.read_text())
    assert told["tables"] == report.deleted_rows
    assert told["tables"]["users"] == len(moved)
    assert told["sealed"]


# A small world: everything that can refer to a user, and what cannot be there twice.
WORLD = """
CREATE TABLE users (
    id int PRIMARY KEY, email text NOT NULL, "emailVerified" timestamp, "lastLoginAt" timestamp,
    "createdAt" timestamp, password text, role text NOT NULL DEFAULT 'USER', nickname text, city text,
    address text, referrer int REFERENCES users, region text NOT NULL, UNIQUE (id, region));
CREATE TABLE orders (
    id int PRIMARY KEY, buyer int, region text,
    FOREIGN KEY (buyer, region) REFERENCES users (id, region) ON DELETE CASCADE);
CREATE TABLE follows (
    follower int REFERENCES users ON DELETE CASCADE, followee int REFERENCES users ON DELETE CASCADE,
    since int, PRIMARY KEY (follower, followee));
CREATE TABLE profiles (id int PRIMARY KEY, owner int NOT NULL UNIQUE REFERENCES users ON DELETE CASCADE);
CREATE TABLE badges (
    id int PRIMARY KEY, profile int NOT NULL REFERENCES profiles ON DELETE CASCADE, name text,
    UNIQUE (profile, name));
CREATE TABLE awards (id int PRIMARY KEY, badge int REFERENCES badges ON DELETE SET NULL);
CREATE INDEX ON users (referrer);
CREATE INDEX ON orders (buyer, region);
CREATE INDEX ON follows (followee);
CREATE INDEX ON awards (badge);
"""


def world(seed):
    """Random rows of WORLD: table to rows, each a dict."""
    chooser = random.Random(seed)
    users = []
    for i in range(1, 41):
        address = f"user{chooser.randint(1, 18)}@example.com"
        users.append(
            {
                "id": i,
                "email": chooser.choice([str.lower, str.upper, str.title])(address),
                "emailVerified": chooser.choice([None, "2024-01-01"]),
                "lastLoginAt": chooser.choice([None, "2024-02-01", "2024-03-01"]),
                "createdAt": f"2023-01-{chooser.randint(1, 9):02}",
                "password": chooser.choice([None, f"hash {i}"]),
                "nickname": chooser.choice([None, "", f"nick {i}"]),
                "city": chooser.choice([None, f"city {i}"]),
                "address": chooser.choice([None, "", f"street {i}"]),
                "referrer": chooser.choice([None, chooser.randint(1, 40)]),
                "region": "east",
            }
        )
    ids = range(1, 41)
    follows = {(chooser.choice(ids), chooser.choice(ids)) for _ in range(200)}
    owners = chooser.sample(ids, 30)
    badges = {(chooser.randint(1, 30), chooser.choice("abcd")) for _ in range(90)}
    return {
        "users": users,
        "orders": [{"id": i, "buyer": chooser.choice(ids), "region": "east"} for i in range(1, 61)],
        "follows": [
            {"follower": a, "followee": b, "since": i} for i, (a, b) in enumerate(sorted(follows), 1)
        ],
        "profiles": [{"id": i, "owner": owner} for i, owner in enumerate(owners, 1)],
        "badges": [{"id": i, "profile": p, "name": n} for i, (p, n) in enumerate(sorted(badges), 1)],
        "awards": [
            {"id": i, "badge": chooser.choice([None, chooser.randint(1, len(badges))])} for i in range(1, 81)
        ],
    }


def merged(tables):
    """What the merge makes of the tables, worked out row by row."""
    users = {row["id"]: dict(row) for row in tables["users"]}
    groups = {}
    for row in users.values():
        groups.setdefault(row["email"].lower(), []).append(row)
    primary, place = {}, {}
    for group in groups.values():
        group.sort(key=lambda row: (row["createdAt"], row["id"]))
        group.sort(key=lambda row: row["lastLoginAt"] or "", reverse=True)
        group.sort(key=lambda row: row["emailVerified"] is None)
        best, others = group[0], group[1:]
        for i, row in enumerate(group):
            primary[row["id"]], place[row["id"]] = best["id"], i
        if not best["nickname"]:
            best["nickname"] = next((o["nickname"] for o in others if o["nickname"]), best["nickname"])
        if not best["city"] and not best["address"]:
            for other in others:
                if other["city"] or other["address"]:
                    best["city"] = other["city"] or best["city"]
                    best["address"] = other["address"] or best["address"]
                    break
    users = {i: row for i, row in users.items() if primary[i] == i}
    for row in users.values():
        if row["referrer"] is not None:
            row["referrer"] = primary[row["referrer"]]
            if row["referrer"] == row["id"] and tables["users"][row["id"] - 1]["referrer"] != row["id"]:
                row["referrer"] = None

    def unite(rows, column, parents, places, rest):
        """Re-point, and keep the best of those that are equal then; also what became of the others."""
        ordered = sorted(rows, key=lambda row: (places.get(row[column], 0), str(row["id"])))
        kept, became, rank = {}, {}, {}
        for row in ordered:
            new = dict(row) | {column: parents.get(row[column], row[column])}
            same = (new[column], *(new[name] for name in rest))
            winner = kept.setdefault(same, new)
            became[row["id"]] = winner["id"]
            rank[row["id"]] = sum(1 for other in became if became[other] == winner["id"]) - 1
        return list(kept.values()), became, rank

    follows = {}
    for row in sorted(tables["follows"], key=lambda row: row["since"]):
        new = row | {"follower": primary[row["follower"]], "followee": primary[row["followee"]]}
        follows.setdefault((new["follower"], new["followee"]), new)
    profiles, profile_of, profile_place = unite(tables["profiles"], "owner", primary, place, [])
    badges, badge_of, _ = unite(tables["badges"], "profile", profile_of, profile_place, ["name"])
    return {
        "users": list(users.values()),
        "orders": [dict(row) | {"buyer": primary[row["buyer"]]} for row in tables["orders"]],
        "follows": list(follows.values()),
        "profiles": profiles,
        "badges": badges,
        "awards": [dict(row) | {"badge": badge_of.get(row["badge"])} for row in tables["awards"]],
    }


def inserts(tables):
    statements = []
    for table, found in tables.items():
        for row in found:
            names = ", ".join(f'"{name}"' for name in row)
            values = ", ".join("NULL" if v is None else f"'{v}'" for v in row.values())
            statements.append(f"INSERT INTO {table} ({names}) VALUES ({values});")
    return "SET session_replication_role = replica;" + "".join(statements)


async def contents(dsn, tables):
    """The rows of the same columns, as text, in no order."""
    found = {}
    for table, given in tables.items():
        names = list(given[0])
        columns = ", ".join(
            f'"{n}"::date::text' if n.endswith("At") or n == "emailVerified" else f'"{n}"::text'
            for n in names
        )
        found[table] = sorted(repr(tuple(row)) for row in await rows(dsn, f"SELECT {columns} FROM {table}"))
    return found


def as_text(tables):
    return {
        table: sorted(repr(tuple(None if v is None else str(v) for v in row.values())) for row in found)
        for table, found in tables.items()
    }


@pytest.mark.parametrize("seed", range(6))
async def test_a_random_world_is_merged_as_by_hand(seed, database, keyed):
    """Composite keys, self references, two references in one key, chains of conflicts, large groups."""
    tables = world(seed)
    await script(database, WORLD + inserts(tables))
    wanted = as_text(merged(tables))
    before = await state(database)
    # Between rows that refer to two groups, the order in which these are merged would decide.
    async with engine(database, merge={"rules": {"follows": ["since"]}}) as runner:
        plan = await runner.plan(NAME)
        report = await runner.run(NAME, RunOptions(batch_size=1 + 4 * seed, workers=1 + seed % 2))
        found = await contents(database, tables)
        assert {table: set(found[table]) ^ set(wanted[table]) for table in wanted} == {
            table: set() for table in wanted
        }
        assert report.changed_rows == plan.pending_rows == 40 - len(wanted["users"])
        assert plan.warnings == ()
        await runner.rollback(NAME)
    assert await state(database) == before

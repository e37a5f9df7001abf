"""merge-duplicates: accounts become one and are separated again, with everything that belongs to them."""

from __future__ import annotations

import asyncio
import json
import random
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest
from application import run_beside
from cycle import cycle

from taaxdog_datamig import RunOptions
from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto.keyring import derive_kid
from taaxdog_datamig.errors import PreflightFailed, RunPaused, SettingsError, UsageError
from taaxdog_datamig.events import TableStarted
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
        if owner in moved and table in {"sessions", "accounts"} and owner in unverified:
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
    assert {table: facts["rows"] for table, facts in told["tables"].items()} == report.deleted_rows
    assert told["tables"]["users"]["rows"] == len(moved)
    assert told["kid"] is not None, "sealed"


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


def merged_users(tables):
    """The users that stay; each user to its primary, and to its place in its group."""
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
        fill(best, others)
    users = {i: row for i, row in users.items() if primary[i] == i}
    for row in users.values():
        if row["referrer"] is not None:
            row["referrer"] = primary[row["referrer"]]
            if row["referrer"] == row["id"] and tables["users"][row["id"] - 1]["referrer"] != row["id"]:
                row["referrer"] = None
    return users, primary, place


def fill(best, others):
    """What the primary lacks and a duplicate has; address and city only together."""
    if not best["nickname"]:
        best["nickname"] = next((o["nickname"] for o in others if o["nickname"]), best["nickname"])
    if not best["city"] and not best["address"]:
        for other in others:
            if other["city"] or other["address"]:
                best["city"] = other["city"] or best["city"]
                best["address"] = other["address"] or best["address"]
                break


def merged(tables):
    """What the merge makes of the tables, worked out row by row."""
    users, primary, place = merged_users(tables)
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


PEOPLE = """
CREATE TABLE users (id text PRIMARY KEY, email text, "emailVerified" timestamp, "createdAt" timestamp,
    password text, role text, "twoFactorSecret" text, tfn text, phone text);
CREATE TABLE financial_audit_logs (id int PRIMARY KEY, "userId" text REFERENCES users ON DELETE RESTRICT);
CREATE TABLE tax_returns (id int PRIMARY KEY, "userId" text REFERENCES users ON DELETE CASCADE, year text,
    status text, "submittedAt" timestamp, "updatedAt" timestamp, UNIQUE ("userId", year));
CREATE INDEX ON financial_audit_logs ("userId");
"""


def people(*emails, **columns):
    """Users a, b, c ... with these addresses, the first the oldest, and further columns by letter."""
    statements = []
    for i, email in enumerate(emails):
        more = columns.get(chr(ord("a") + i), {})
        names = "".join(f', "{name}"' for name in more)
        values = "".join(", NULL" if value is None else f", '{value}'" for value in more.values())
        statements.append(
            f'INSERT INTO users (id, email, "createdAt"{names})'
            f" VALUES ('{chr(ord('a') + i)}', '{email}', '2023-01-{i + 1:02}'{values});"
        )
    return "".join(statements)


async def test_nothing_that_lets_people_in_passes_to_the_primary(database, keyed):
    secrets = {"password": "a hash", "role": "ADMIN", "twoFactorSecret": "secret", "phone": "0412345678"}
    await script(
        database,
        PEOPLE
        + 'CREATE TABLE sessions (id int PRIMARY KEY, "userId" text REFERENCES users ON DELETE CASCADE);'
        'CREATE TABLE accounts (id int PRIMARY KEY, "userId" text REFERENCES users ON DELETE CASCADE);'
        'CREATE INDEX ON sessions ("userId"); CREATE INDEX ON accounts ("userId");'
        + people(
            "x@example.com",
            "X@example.com",
            "x@Example.com",
            a={"emailVerified": "2023-02-01"},
            b={"emailVerified": "2023-02-01", "phone": None},
            c=secrets,
        )
        + "INSERT INTO sessions VALUES (1, 'a'), (2, 'b'), (3, 'c');"
        "INSERT INTO accounts VALUES (1, 'a'), (2, 'b'), (3, 'c')",
    )

    async def after(dsn):
        kept = await rows(dsn, 'SELECT id, password, role, "twoFactorSecret", phone FROM users')
        assert [tuple(row) for row in kept] == [("a", None, None, None, "0412345678")]
        # The second one's address was verified: whoever signed in could read its mail.
        for table in ("sessions", "accounts"):
            found = await rows(dsn, f"SELECT * FROM {table} ORDER BY 1")
            assert [tuple(row) for row in found] == [(1, "a"), (2, "a")], table

    await cycle(database, NAME, rows=2, after=after)

    async def unfilled(dsn):
        assert await rows(dsn, "SELECT phone FROM users WHERE phone <> ''") == []

    await script(database, "DROP SCHEMA datamig CASCADE")
    await cycle(database, NAME, rows=2, after=unfilled, arguments={"fill": "trusted"})


async def test_sealed_values_are_sealed_anew_for_their_new_row(database, keyed):
    """A token is bound to its row; what the application sealed is not, and is copied; junk is left out."""
    ring = Keyring.of(MasterKey(derive_kid(bytes.fromhex(KEY)), bytes.fromhex(KEY)))
    token = ring.field("users", "tfn").seal("123456782", ("b",))
    legacy = seal_legacy("876543210", LEGACY_KEY)
    emails = ["x@a.au", "X@a.au", "y@a.au", "Y@a.au", "z@a.au", "Z@a.au"]
    await script(
        database,
        PEOPLE
        + people(*emails, b={"tfn": token}, d={"tfn": legacy}, f={"tfn": "encrypted:v1:nothing:at-all"}),
    )

    async def after(dsn):
        found = dict(await rows(dsn, "SELECT id, tfn FROM users"))
        assert found.keys() == {"a", "c", "e"}
        assert open_token(found["a"], "users", "tfn", "a") == "123456782"
        assert found["c"] == legacy
        assert found["e"] is None

    await cycle(database, NAME, rows=3, after=after)


async def test_records_on_hold_move_along_or_keep_their_owner_from_being_merged(database, keyed):
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au", "y@a.au", "Y@a.au")
        + "INSERT INTO financial_audit_logs VALUES (1, 'b'), (2, 'c')",
    )

    async def moved(dsn):
        found = await rows(dsn, "SELECT * FROM financial_audit_logs ORDER BY id")
        assert [tuple(row) for row in found] == [(1, "a"), (2, "c")]

    await cycle(database, NAME, rows=2, after=moved)
    await script(database, "DROP SCHEMA datamig CASCADE")

    async def left(dsn):
        found = await rows(dsn, "SELECT * FROM financial_audit_logs ORDER BY id")
        assert [tuple(row) for row in found] == [(1, "b"), (2, "c")]
        assert [row[0] for row in await rows(dsn, "SELECT id FROM users ORDER BY 1")] == ["a", "b", "c"]
        listed = await rows(dsn, "SELECT key, code, left_alone FROM datamig.quarantine")
        assert [tuple(row) for row in listed] == [(["b"], "on-hold", True)]

    await cycle(database, NAME, rows=1, left=1, estimate=2, after=left, arguments={"on_hold": "leave"})


async def test_a_record_on_hold_never_gives_way(database, keyed):
    """Of two tax returns for a year one stays. Where both are on hold the group stays as it is, listed."""
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au", "y@a.au", "Y@a.au")
        + "INSERT INTO tax_returns VALUES (1, 'a', '2024', 'DRAFT', NULL, '2024-09-01'),"
        " (2, 'b', '2024', 'SUBMITTED', now(), '2024-08-01'),"
        " (3, 'b', '2023', 'COMPLETED', now(), '2024-08-01'),"
        " (4, 'c', '2024', 'SUBMITTED', now(), '2024-08-01'),"
        " (5, 'd', '2024', 'COMPLETED', now(), '2024-08-01')",
    )

    async def after(dsn):
        found = await rows(dsn, 'SELECT id, "userId" FROM tax_returns ORDER BY id')
        assert [tuple(row) for row in found] == [(2, "a"), (3, "a"), (4, "c"), (5, "d")]
        listed = await rows(dsn, "SELECT key, code FROM datamig.quarantine")
        assert [tuple(row) for row in listed] == [(["d"], "on-hold")]

    await cycle(database, NAME, rows=1, left=1, estimate=2, after=after)


async def test_every_kind_of_unique_index_is_reckoned_with(database, keyed):
    """Partial, over expressions, over several columns, over NULLs that count as the same."""
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au")
        + "CREATE TABLE cards (id int PRIMARY KEY, owner text REFERENCES users, main boolean, label text);"
        "CREATE UNIQUE INDEX ON cards (owner) WHERE main; CREATE INDEX ON cards (owner);"
        "CREATE UNIQUE INDEX ON cards (owner, lower(label));"
        "CREATE TABLE slots (id int PRIMARY KEY, owner text REFERENCES users, place int,"
        " UNIQUE (owner, place)); CREATE TABLE nulls (LIKE slots INCLUDING ALL,"
        " FOREIGN KEY (owner) REFERENCES users);"
        "INSERT INTO cards VALUES (1, 'a', true, 'Gold'), (2, 'b', true, 'Silver'), (3, 'b', false, 'GOLD'),"
        " (4, 'b', false, 'Blue'), (5, 'a', false, NULL), (6, 'b', false, NULL);"
        "INSERT INTO slots VALUES (1, 'a', NULL), (2, 'b', NULL), (3, 'a', 1), (4, 'b', 1), (5, 'b', 2)",
    )
    ((version,),) = await rows(database, "SELECT current_setting('server_version_num')::int")
    newer = version >= 150_000
    if newer:
        await script(
            database,
            "ALTER TABLE nulls DROP CONSTRAINT nulls_owner_place_key;"
            "ALTER TABLE nulls ADD UNIQUE NULLS NOT DISTINCT (owner, place)",
        )
    await script(database, "INSERT INTO nulls SELECT * FROM slots")

    async def after(dsn):
        async def kept(table):
            return [row[0] for row in await rows(dsn, f"SELECT id FROM {table} WHERE owner = 'a' ORDER BY 1")]

        assert await kept("cards") == [1, 4, 5, 6]
        assert await kept("slots") == [1, 2, 3, 5]
        assert await kept("nulls") == ([1, 3, 5] if newer else [1, 2, 3, 5])

    await cycle(database, NAME, rows=1, after=after)


async def test_rules_can_be_set_and_are_checked(database, keyed):
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au")
        + "INSERT INTO tax_returns VALUES (1, 'a', '2024', 'COMPLETED', NULL, '2024-09-01'),"
        " (2, 'b', '2024', 'DRAFT', NULL, '2024-08-01')",
    )

    async def after(dsn):
        assert [row[0] for row in await rows(dsn, "SELECT id FROM tax_returns")] == [2]

    await cycle(database, NAME, rows=1, after=after, merge={"rules": {"tax_returns": ["{status} DESC"]}})
    for bad, said in (
        ({"rule": {}}, "unknown key 'rule'"),
        ({"rules": {"tax_returns": "status"}}, "not a list"),
        ({"rules": []}, "not a table"),
    ):
        with pytest.raises(SettingsError, match=said):
            async with engine(database, merge=bad):
                pass
    for term, said in (("status DSC", "is no SQL"), ("nothing", "does not fit")):
        async with engine(database, merge={"rules": {"tax_returns": [term]}}) as runner:
            with pytest.raises(SettingsError, match=said):
                await runner.plan(NAME)


async def test_a_group_that_the_server_refuses_stands_alone(database, keyed):
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au", "y@a.au", "Y@a.au", "z@a.au", "Z@a.au")
        + "CREATE TABLE notes (id int PRIMARY KEY, owner text REFERENCES users,"
        " CHECK (owner <> 'c')); CREATE INDEX ON notes (owner);"
        "INSERT INTO notes VALUES (1, 'b'), (2, 'd'), (3, 'f')",
    )
    before = await state(database)
    async with engine(database) as runner:
        report = await runner.run(NAME, allowing(1))
        assert (report.changed_rows, report.quarantined_rows) == (2, 1)
        (listed,) = await runner.quarantine(report.run_id)
        assert "23514" in listed.code
        found = await rows(database, "SELECT owner FROM notes ORDER BY id")
        assert [row[0] for row in found] == ["a", "d", "e"]
        # Once the server takes it, the group is merged on the same record, and separated with the others.
        await script(database, "ALTER TABLE notes DROP CONSTRAINT notes_owner_check")
        again = await runner.retry_quarantined(NAME)
        assert [(row.key, row.outcome) for row in again.rows] == [(("d",), "changed")]
        found = await rows(database, "SELECT owner FROM notes ORDER BY id")
        assert [row[0] for row in found] == ["a", "c", "e"]
        assert (await runner.rollback(NAME)).restored_rows == 3
    await script(database, "ALTER TABLE notes ADD CHECK (owner <> 'c')")
    assert await state(database) == before


async def test_a_trigger_that_keeps_a_row_does_not_lose_it(database, keyed):
    """Deleting the duplicate would take along, unseen, what a trigger did not let be re-pointed."""
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au")
        + "CREATE TABLE notes (id int PRIMARY KEY, owner text REFERENCES users ON DELETE CASCADE);"
        "CREATE INDEX ON notes (owner);"
        "INSERT INTO notes VALUES (1, 'b');"
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER no BEFORE UPDATE ON notes FOR EACH ROW EXECUTE FUNCTION no()",
    )
    before = await state(database)
    async with engine(database) as runner:
        plan = await runner.plan(NAME)
        assert any("notes.no" in warning for warning in plan.warnings)
        report = await runner.run(NAME)
    assert (report.changed_rows, report.left_rows) == (0, 1)
    assert await state(database) | {"catalog": None} == before | {"catalog": None}


async def test_tables_re_pointed_at_once_may_differ_and_one_may_refer_twice(database, keyed):
    """Keys of one column and of two; and rows that name duplicates twice, which one statement could not."""
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au", "y@a.au", "Y@a.au")
        + "CREATE TABLE notes (id int PRIMARY KEY, owner text REFERENCES users);"
        "CREATE TABLE lines (book int, line int, owner text REFERENCES users, PRIMARY KEY (book, line));"
        "CREATE TABLE calls (id int PRIMARY KEY, giver text REFERENCES users, taker text REFERENCES users);"
        "CREATE INDEX ON notes (owner); CREATE INDEX ON lines (owner);"
        "CREATE INDEX ON calls (giver); CREATE INDEX ON calls (taker);"
        "INSERT INTO notes VALUES (1, 'b'), (2, 'd'), (3, 'a'), (4, NULL);"
        "INSERT INTO lines VALUES (1, 1, 'd'), (1, 2, 'b'), (2, 1, 'c');"
        "INSERT INTO calls VALUES (1, 'b', 'd'), (2, 'd', 'b'), (3, 'b', 'b'), (4, 'a', 'c')",
    )
    before = await state(database)
    async with engine(database) as runner:
        assert (await runner.run(NAME)).changed_rows == 2
        for table, wanted in {
            "notes": [(1, "a"), (2, "c"), (3, "a"), (4, None)],
            "lines": [(1, 1, "c"), (1, 2, "a"), (2, 1, "c")],
            "calls": [(1, "a", "c"), (2, "c", "a"), (3, "a", "a"), (4, "a", "c")],
        }.items():
            assert [
                tuple(row) for row in await rows(database, f"SELECT * FROM {table} ORDER BY 1, 2")
            ] == wanted
        await runner.rollback(NAME)
    assert await state(database) == before


async def test_a_missing_index_is_named_and_a_reference_without_a_key_refused(database, keyed):
    await script(database, PEOPLE + "CREATE TABLE notes (id int PRIMARY KEY, owner text REFERENCES users)")
    async with engine(database) as runner:
        plan = await runner.plan(NAME)
        assert any("public.notes.owner" in warning for warning in plan.warnings)
    await script(database, "CREATE TABLE bare (owner text REFERENCES users)")
    async with engine(database) as runner:
        with pytest.raises(PreflightFailed, match="bare"):
            await runner.plan(NAME)


async def test_a_foreign_key_that_is_added_meanwhile_pauses_the_run(database, keyed):
    """It would take rows along with a duplicate that nobody has looked at; resumed, they are re-pointed."""
    await script(
        database,
        PEOPLE
        + people("x@a.au", "X@a.au", "y@a.au", "Y@a.au")
        + "CREATE TABLE late (id int PRIMARY KEY, owner text); INSERT INTO late VALUES (1, 'b'), (2, 'd')",
    )
    late = "ALTER TABLE late ADD FOREIGN KEY (owner) REFERENCES users ON DELETE CASCADE"
    before = []

    def add(event):
        if isinstance(event, TableStarted) and not before:
            before.append(event)
            with ThreadPoolExecutor() as pool:
                pool.submit(asyncio.run, script(database, late)).result()

    async with engine(database) as runner:
        runner.events.subscribe(add)
        with pytest.raises(RunPaused, match="foreign keys"):
            await runner.run(NAME)
        assert (await rows(database, "SELECT count(*) FROM users"))[0][0] == 4
        report = await runner.run(NAME)
        assert (report.changed_rows, report.resumed) == (2, True)
    found = await rows(database, "SELECT * FROM late ORDER BY 1")
    assert [tuple(row) for row in found] == [(1, "a"), (2, "c")]


async def test_older_installations_mark_duplicates_as_deleted(older):
    async def after(dsn):
        marked = "SELECT count(*) FROM users WHERE \"deletedAt\" > now() - interval '1 hour'"
        assert (await rows(dsn, marked))[0][0] == DUPLICATES
        twice = 'SELECT 1 FROM users WHERE "deletedAt" IS NULL GROUP BY lower(email) HAVING count(*) > 1'
        assert await rows(dsn, twice) == []

    await cycle(older.dsn, NAME, rows=DUPLICATES, after=after)


@pytest.mark.parametrize("duplicates", ["remove", "soft-delete"])
async def test_installations_without_foreign_keys_are_merged_by_the_profile(oldest, duplicates):
    dsn = oldest.dsn
    await script(
        dsn,
        "UPDATE users SET email = upper(email) || '.au' WHERE id = 2;"
        "UPDATE users SET email = (SELECT lower(email) FROM users WHERE id = 2) WHERE id = 1",
    )

    async def after(dsn):
        for table in ("goals", "audit_logs"):
            ((lost,),) = await rows(dsn, f"SELECT count(*) FROM {table} WHERE user_id IN (1, 2)")
            ((own,),) = await rows(
                dsn, f"SELECT count(DISTINCT user_id) FROM {table} WHERE user_id IN (1, 2)"
            )
            assert (lost, own) == ({"goals": 2, "audit_logs": 4}[table], 1)
        ((left,),) = await rows(dsn, "SELECT count(*) FROM users WHERE id IN (1, 2) AND deleted_at IS NULL")
        assert left == 1
        assert (await rows(dsn, "SELECT count(*) FROM users"))[0][0] == 40 - (duplicates == "remove")

    await cycle(dsn, NAME, rows=1, after=after, arguments={"duplicates": duplicates})


async def test_without_a_column_to_mark_soft_deletion_is_refused(few):
    async with engine(few) as runner:
        with pytest.raises(UsageError, match="deletedAt"):
            await runner.plan(NAME, {"duplicates": "soft-delete"})


async def test_installations_without_addresses_are_told_so(database, keyed):
    await script(database, "CREATE TABLE users (id int PRIMARY KEY, name text)")
    async with engine(database) as runner:
        plan = await runner.plan(NAME)
    assert not plan.applicable
    assert "email" in plan.reason


#: Makes pairs of all users but the last, where their number is odd.
PAIRS = """
UPDATE users u SET email = CASE n % 2 WHEN 1 THEN format('pair%s@example.com', n)
    ELSE format('Pair%s@Example.com', n - 1) END
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users) AS s WHERE s.id = u.id
"""


async def test_beside_an_application_that_writes(sample):
    await script(sample, PAIRS)
    columns = {
        "goals": ("id", "title"),
        "users": ("id", '"businessName"'),
        "payments": ("id", "description"),
        "basiq_users": ("id", "consent_id"),
    }
    report, _ = await run_beside(sample, NAME, columns, deletes=True, rolled_back=False)
    assert report.changed_rows + report.left_rows >= 400


async def test_children_added_meanwhile_end_at_the_primary_or_are_refused(sample):
    """The application adds goals to all users while these are merged: none is lost, none is left behind."""
    await script(sample, PAIRS)
    owners = [row[0] for row in await rows(sample, "SELECT id FROM users ORDER BY id")]
    added, refused = [], 0
    done = asyncio.Event()

    async def add():
        nonlocal refused
        chooser = random.Random(1)
        connection = await asyncpg.connect(sample)
        while not done.is_set():
            key = f"added {len(added) + refused}"
            try:
                await connection.execute(
                    "INSERT INTO goals (id, user_id, title, target_amount, target_date, updated_at)"
                    " VALUES ($1, $2, 'added', 1, '2030-01-01', now())",
                    key,
                    chooser.choice(owners),
                )
                added.append(key)
            except asyncpg.ForeignKeyViolationError:
                refused += 1
            except asyncpg.DeadlockDetectedError:
                continue
        await connection.close()

    task = asyncio.create_task(add())
    async with engine(sample) as runner:
        report = await runner.run(NAME, RunOptions(batch_size=25, workers=2))
    done.set()
    await task
    assert report.status == "succeeded"
    there = dict(await rows(sample, "SELECT id, user_id FROM goals WHERE title = 'added'"))
    users = {row[0] for row in await rows(sample, "SELECT id FROM users")}
    assert set(there) == set(added)
    assert set(there.values()) <= users
    assert added
    assert refused


async def test_un_merging_leaves_alone_and_lists_what_the_application_changed_since(sample):
    moved = await primaries(sample)
    async with engine(sample) as runner:
        await runner.run(NAME)
        ((goal,),) = await rows(
            sample, "SELECT id FROM goals WHERE user_id = ANY ($1) ORDER BY id LIMIT 1", list(moved.values())
        )
        stranger = next(
            row[0]
            for row in await rows(sample, "SELECT id FROM users ORDER BY id")
            if row[0] not in moved.values()
        )
        re_pointed = {row[0] for row in await rows(sample, "SELECT id FROM goals")}
        assert goal in re_pointed
        await script(
            sample,
            f"UPDATE goals SET user_id = '{stranger}' WHERE user_id IN"
            f" ({', '.join(repr(owner) for owner in moved.values())})",
        )
        report = await runner.rollback(NAME)
    assert report.conflict_keys.keys() == {"goals"}
    owners = dict(await rows(sample, "SELECT id, user_id FROM goals"))
    assert {owners[key] for key in report.conflict_keys["goals"]} == {stranger}
    assert set(moved) <= {row[0] for row in await rows(sample, "SELECT id FROM users")}


@pytest.mark.timeout(400)
async def test_it_may_be_killed_anywhere(few, points):
    await script(few, PAIRS)
    report = await assert_crash_safe(
        NAME,
        few,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=8,
        random_kills=1,
    )
    assert report.changed_rows > 20

"""normalize-phones: numbers in E.164, sealed ones too; what has no such form is left and listed."""

from __future__ import annotations

import asyncio
from collections import Counter

import asyncpg
import phonenumbers
import pytest
from application import run_beside
from cycle import cycle

from taaxdog_datamig import RunOptions
from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto.keyring import derive_kid
from taaxdog_datamig.demo.report import fault_counts
from taaxdog_datamig.engine import planner
from taaxdog_datamig.errors import KeyMissing, QuarantineExceeded
from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, allowing, engine, open_token, rows, script, seal_legacy, state

NAME = "normalize-phones"
COUNTS = fault_counts(1_000, faults=True)
E164 = r"^\+[1-9][0-9]{6,14}$"


def e164(text):
    """What `phonenumbers` makes of it: the oracle."""
    number = phonenumbers.parse(text, "AU")
    assert phonenumbers.is_valid_number(number)
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def sealed(key, value, *, column="mobile", table="users", master=KEY):
    ring = Keyring.of(MasterKey(derive_kid(bytes.fromhex(master)), bytes.fromhex(master)))
    return ring.field(table, column).seal(value, (key,))


async def phones(dsn, *, table="users", column="phone"):
    return dict(await rows(dsn, f"SELECT id::text, {column} FROM {table}"))


async def test_there_and_back(sample):
    before = {"users": await phones(sample), "basiq_users": await phones(sample, **MOBILES)}
    whole = await state(sample)

    async def after(dsn):
        kinds = Counter()
        now = {"users": await phones(dsn), "basiq_users": await phones(dsn, **MOBILES)}
        for table, old in before.items():
            for key, text in old.items():
                if now[table][key] == text:
                    kinds[table, "kept"] += 1
                else:
                    assert (table, key, now[table][key] == e164(text)) == (table, key, True)
                    kinds[table, "changed"] += 1
        assert kinds["users", "changed"] == COUNTS["users.phone_unnormalised"] == 525
        assert kinds["basiq_users", "changed"] == COUNTS["basiq_users.mobile_unnormalised"] == 325
        moved = await state(dsn)
        assert {name for name in whole if whole[name] != moved[name]} == {"users", "basiq_users"}

    national, invalid = COUNTS["users.phone_national_only"], COUNTS["users.phone_invalid"]
    mobiles = COUNTS["basiq_users.mobile_invalid"]
    report = await cycle(sample, NAME, rows=525 + 325, left=national + invalid + mobiles, after=after)
    assert {table.table: (table.changed_rows, table.left_rows) for table in report.tables} == {
        "users": (525, national + invalid),
        "basiq_users": (325, mobiles),
    }


MOBILES = {"table": "basiq_users", "column": "mobile"}


async def test_a_plan_tells_changed_from_left_and_after_the_run_nothing_is_pending(sample):
    async with engine(sample) as runner:
        plan = await runner.plan(NAME)
        left = {table.table: table.left for table in plan.tables}
        assert left == {
            "users": {
                "invalid-phone": COUNTS["users.phone_invalid"],
                "national-only": COUNTS["users.phone_national_only"],
            },
            "basiq_users": {"invalid-phone": COUNTS["basiq_users.mobile_invalid"]},
        }
        assert any("150 invalid-phone, 75 national-only" in warning for warning in plan.warnings)
        report = await runner.run(NAME)
        assert report.estimated_rows == report.changed_rows
        assert [state.pending for state in await runner.states() if state.name == NAME] == [0]
        listed = await runner.quarantine(NAME)
        forced = await runner.run(NAME, RunOptions(force=True))
        assert forced.left_rows == report.left_rows == len(listed)
        again = await runner.quarantine(forced.run_id)
    assert [(r.table, r.key, r.code, r.reason) for r in again] == [
        (r.table, r.key, r.code, r.reason) for r in listed
    ]
    assert all(record.left for record in listed)


BOTH = "CREATE TABLE users (id text PRIMARY KEY, phone text, mobile varchar(200));"
VALUES = {
    "null": (None, None),
    "empty": ("", ""),
    "done": ("+61491570006", "+64211234567"),
    "a zero too many": ("+610491570006", "+640211234567"),
    "looks done": ("+29012345", "+61291234567"),
    "looks done, national": ("+61131166", None),
    "both": ("0491 570 006", "(02) 9123 4567"),
    "good and bad": ("0491 570 006", "ask first"),
    "bad and good": ("13 11 66", "0011 64 21 123 4567"),
    "both bad": ("0400", "1300 975 707"),
    "national, abroad's way": ("+61 13 11 66", None),
    "extension": ("(02) 9123 4567 ext 5", None),
    "spaces": ("   ", None),
    "long": ("0" * 190, None),
}


async def fill(dsn, values):
    for key, (phone, mobile) in values.items():
        await rows(dsn, "INSERT INTO users VALUES ($1, $2, $3)", key, phone, mobile)


async def test_a_row_is_changed_where_it_can_be_and_listed_for_the_rest(database, keyed):
    await script(database, BOTH)
    await fill(database, VALUES)

    async def after(dsn):
        now = {key: (phone, mobile) for key, phone, mobile in await rows(dsn, "SELECT * FROM users")}
        changed = {
            "both": ("+61491570006", "+61291234567"),
            "good and bad": ("+61491570006", "ask first"),
            "bad and good": ("13 11 66", "+64211234567"),
            "a zero too many": ("+61491570006", "+64211234567"),
        }
        assert now == {**VALUES, **changed}

    report = await cycle(database, NAME, rows=4, left=9, after=after)
    async with engine(database) as runner:
        listed = {
            record.key[0]: (record.code, record.reason) for record in await runner.quarantine(report.run_id)
        }
    assert listed == {
        "looks done": ("invalid-phone", "phone: no valid number"),
        "looks done, national": ("national-only", "phone cannot be dialled from abroad"),
        "good and bad": ("invalid-phone", "mobile: no valid number"),
        "bad and good": ("national-only", "phone cannot be dialled from abroad"),
        "both bad": ("invalid-phone", "phone: no valid number; mobile cannot be dialled from abroad"),
        "national, abroad's way": ("national-only", "phone cannot be dialled from abroad"),
        "extension": ("invalid-phone", "phone: has an extension"),
        "spaces": ("invalid-phone", "phone: no valid number"),
        "long": ("invalid-phone", "phone: no valid number"),
    }


async def test_sealed_numbers_are_opened_and_sealed_anew_only_where_they_change(database, keyed):
    """Among them the application's own, with and without its prefix; on a value that is no token, a list."""
    await script(database, BOTH)
    values = {
        "token": sealed("token", "0491 570 006"),
        "token, done": sealed("token, done", "+61491570006"),
        "token, national": sealed("token, national", "13 11 66"),
        "token, empty": sealed("token, empty", ""),
        "legacy": seal_legacy("(02) 9123 4567"),
        "legacy, done": seal_legacy("+61491570006"),
        "prefixed": "encrypted:" + seal_legacy("0491570157"),
        "moved": sealed("elsewhere", "0491 570 006"),
        "other key": sealed("other key", "0491 570 006", master="ab" * 32),
        "junk": "encrypted:v1:junk",
    }
    await fill(database, {key: (None, value) for key, value in values.items()})

    async def after(dsn):
        now = await phones(dsn, column="mobile")
        opened = {
            key: open_token(text, "users", "mobile", key) for key, text in now.items() if text != values[key]
        }
        assert opened == {"token": "+61491570006", "legacy": "+61291234567", "prefixed": "+61491570157"}

    report = await cycle(database, NAME, rows=3, left=4, after=after)
    async with engine(database) as runner:
        listed = {record.key[0]: record.code for record in await runner.quarantine(report.run_id)}
    assert listed == {
        "token, national": "national-only",
        "moved": "does-not-open",
        "other key": "does-not-open",
        "junk": "does-not-open",
    }


async def test_after_encrypt_user_data_the_mobiles_come_out_the_same(sealed_sample, pristine):
    plain = await phones(pristine, **MOBILES)
    async with engine(sealed_sample) as runner:
        report = await runner.run(NAME)
        assert {table.table: table.changed_rows for table in report.tables} == {
            "users": 525,
            "basiq_users": 325,
        }
        for key, text in (await phones(sealed_sample, **MOBILES)).items():
            if plain[key]:
                opened = open_token(text, "basiq_users", "mobile", key)
                assert (key, opened == plain[key] or opened == e164(plain[key])) == (key, True)
        before = await state(sealed_sample)
        forced = await runner.run(NAME, RunOptions(force=True))
        assert (forced.changed_rows, forced.left_rows) == (0, report.left_rows)
        assert await state(sealed_sample) == before


async def test_without_a_key_sealed_numbers_are_left_and_sensitive_columns_refused(
    database, keyed, monkeypatch
):
    await script(database, "CREATE TABLE users (id text PRIMARY KEY, phone text)")
    values = {"plain": "0491 570 006", "sealed": sealed("sealed", "0491 570 006", column="phone")}
    for key, value in values.items():
        await rows(database, "INSERT INTO users VALUES ($1, $2)", key, value)
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    monkeypatch.delenv("FIELD_ENCRYPTION_LEGACY_KEY")
    async with engine(database) as runner:
        report = await runner.run(NAME)
        assert (report.changed_rows, report.left_rows) == (1, 1)
        assert any("no encryption key is configured" in warning for warning in report.warnings)
        (listed,) = await runner.quarantine(NAME)
        assert (listed.key, listed.code) == (("sealed",), "does-not-open")
        await runner.rollback(NAME)
        assert await phones(database) == values
        await script(database, "ALTER TABLE users ADD COLUMN mobile text")
        with pytest.raises(KeyMissing):
            await runner.run(NAME)


async def test_a_sealed_number_that_is_locked_is_waited_for(database, keyed):
    """Only the inspection finds it: a closing sweep would not."""
    await script(database, BOTH)
    await fill(database, {"token": (None, sealed("token", "0491 570 006")), "plain": ("0491 570 006", None)})
    holder = await asyncpg.connect(database)
    try:
        await holder.execute("BEGIN; SELECT FROM users WHERE id = 'token' FOR UPDATE")
        async with engine(database) as runner, asyncio.TaskGroup() as tasks:
            run = tasks.create_task(runner.run(NAME))
            await asyncio.sleep(2)
            assert not run.done()
            await holder.execute("COMMIT")
        assert run.result().changed_rows == 2
    finally:
        await holder.close()
    ((text,),) = await rows(database, "SELECT mobile FROM users WHERE id = 'token'")
    assert open_token(text, "users", "mobile", "token") == "+61491570006"


async def test_a_plan_of_many_rows_asks_about_some(sample, monkeypatch):
    monkeypatch.setattr(planner, "ASKED_ROWS", 100)
    async with engine(sample) as runner:
        plan = await runner.plan(NAME)
    assert {table.estimate for table in plan.tables} == {"sampled"}
    assert abs(plan.pending_rows - 850) < 200
    assert abs(sum(count for table in plan.tables for count in table.left.values()) - 375) < 150


async def test_two_spellings_of_one_number_meet_in_a_unique_index(database, keyed):
    """The second is refused by the server, and named; nothing else is lost."""
    await script(
        database,
        "CREATE TABLE users (id int PRIMARY KEY, phone text UNIQUE); INSERT INTO users VALUES"
        " (1, '0491 570 006'), (2, '+61 491 570 006'), (3, '0491570157'), (4, '+61491570110'),"
        " (5, '0491570110')",
    )
    before = await state(database)
    async with engine(database) as runner:
        with pytest.raises(QuarantineExceeded):
            await runner.run(NAME)
        assert await state(database) == before
        report = await runner.run(NAME, allowing(2))
        assert (report.changed_rows, report.quarantined_rows) == (2, 2)
        listed = {record.key[0]: record.code for record in await runner.quarantine(NAME)}
        assert listed.keys() - {"1", "2"} == {"5"}
        assert set(listed.values()) == {"refused-23505"}
        await runner.rollback(NAME)
    assert await state(database) == before


async def test_narrow_and_other_columns(database, keyed):
    """varchar(10) is widened, and narrowed by the rollback; bigint is left out, and said."""
    await script(
        database,
        "CREATE TABLE users (id int PRIMARY KEY, phone varchar(10), mobile char(12));"
        "INSERT INTO users VALUES (1, '0491570006', '0491570157'), (2, '131166', '');"
        "CREATE TABLE basiq_users (id uuid PRIMARY KEY, mobile bigint);",
    )

    async def after(dsn):
        assert await phones(dsn) == {"1": "+61491570006", "2": "131166"}
        assert (await phones(dsn, column="mobile"))["1"] == "+61491570157"

    report = await cycle(database, NAME, rows=1, left=1, after=after)
    assert any("mobile is bigint" in warning for warning in report.warnings)


async def test_older_installations(older, oldest):
    users, listed = older.counts, ("mobile_invalid", "mobile_national_only")

    async def after(dsn):
        mobiles = [text for text in (await phones(dsn, column="mobile")).values() if text]
        assert Counter(text[:4] for text in mobiles) == {
            "+614": users["users.mobile_unnormalised"] + users["users.mobile_e164"],
            "ask ": users["users.mobile_invalid"],
            "13 1": users["users.mobile_national_only"],
        }

    async with engine(older.dsn) as runner:
        report = await runner.run(NAME, RunOptions(dry_run=True))
        both = {table.table: (table.changed_rows, table.left_rows) for table in report.tables}["users"]
    # Row numbers 20n + 11, + 16: those of phones that are not E.164 are 40n to 40n + 29.
    numbers = range(1, 1_001)
    unnormalised = {n for n in numbers if n % 40 in (*range(18), 21, 22, 23)} | {
        n for n in numbers if n % 20 in {11, 16}
    }
    left = {n for n in numbers if n % 40 in (18, 19, 20, *range(24, 30)) or n % 20 in {13, 14}}
    assert both == (len(unnormalised), len(left))
    assert all(users[f"users.{case}"] for case in listed)
    await cycle(older.dsn, NAME, rows=len(unnormalised) + 325, left=len(left) + 150, after=after)

    async def all_done(dsn):
        found = await rows(dsn, f"SELECT count(*) FROM users WHERE phone !~ '{E164}' OR mobile !~ '{E164}'")
        assert found[0][0] == oldest.counts["users.phone_invalid"]

    spelled = {n for n in range(1, 41) if n % 4 == 1 or n % 5 == 1}
    await cycle(
        oldest.dsn, NAME, rows=len(spelled), left=oldest.counts["users.phone_invalid"], after=all_done
    )


async def test_beside_an_application_that_writes(sample):
    report, _ = await run_beside(
        sample, NAME, {"users": ("id", '"businessName"'), "basiq_users": ("id", "email")}
    )
    assert report.changed_rows == 850


async def test_what_the_application_writes_meanwhile_is_kept_or_normalised(sample):
    report, application = await run_beside(sample, NAME, {"users": ("id", "phone")})
    assert report.changed_rows <= 850
    assert application.commits


async def test_it_may_be_killed_anywhere(older_few):
    report = await assert_crash_safe(
        NAME, older_few.dsn, environ={"FIELD_ENCRYPTION_KEY": KEY}, batch_size=10, random_kills=1
    )
    assert report.changed_rows > 40

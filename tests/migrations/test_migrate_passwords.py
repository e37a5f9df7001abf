"""migrate-passwords: the digests are gone, and everybody still gets in with the password of before."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from cycle import cycle

from taaxdog_datamig import RunOptions, failpoints
from taaxdog_datamig.demo.slots import FAULTS, SAMPLE_PASSWORD
from taaxdog_datamig.engine import reader
from taaxdog_datamig.errors import KeyMissing, KeyWrong, PlanDrift, PreflightFailed, RunPaused, UsageError
from taaxdog_datamig.passwords import (
    CHEAPEST_COST,
    Pepper,
    hash_password,
    needs_rehash,
    predicates,
    recognise,
    verify,
)
from taaxdog_datamig.testing import assert_crash_safe
from taaxdog_datamig_cli.main import main
from tests.sample import KEY, USERS, engine, rows, script

NAME = "migrate-passwords"
CHEAP = {"cost": "4"}
SLOTS = {slot.name: slot.count(USERS) for slot in FAULTS if slot.table == "users"}
LEGACY = sum(SLOTS[f"password_{name}"] for name in ("md5", "sha1", "sha256", "sha512"))
UNKNOWN = SLOTS["password_unknown"]
PEPPERS = f"2026:{'0123456789abcdef' * 4},old:{'fedcba9876543210' * 4}"
MD5 = hashlib.md5(SAMPLE_PASSWORD.encode()).hexdigest()
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "password-hash-vectors.json").read_text("utf-8"))


async def passwords(dsn):
    return dict(await rows(dsn, "SELECT id::text, password::text FROM users"))


def opens(stored, **options):
    """With the password of the sample, and with no other."""
    return verify(stored, SAMPLE_PASSWORD, **options) and not verify(stored, "Correct horse", **options)


async def test_there_and_back(sample):
    before = await passwords(sample)

    async def after(dsn):
        now = await passwords(dsn)
        assert {key for key in now if now[key] != before[key]} == {
            key for key, stored in before.items() if recognise(stored).kind == "legacy"
        }
        for key, stored in now.items():
            if stored != before[key]:
                assert recognise(stored).scheme == "wrapped-bcrypt"
                assert opens(stored)

    report = await cycle(sample, NAME, rows=LEGACY, left=UNKNOWN, arguments=CHEAP, after=after)
    assert report.proof["read_back"] > 0
    assert any("no pepper" in warning for warning in report.warnings)
    assert any("below what the OWASP" in warning for warning in report.warnings)


async def test_argon2id_under_a_pepper(sample):
    pepper = Pepper.parse(PEPPERS)
    before = await passwords(sample)

    async def after(dsn):
        for key, stored in (await passwords(dsn)).items():
            if stored != before[key]:
                found = recognise(stored)
                assert (found.scheme, found.wrapped.pepper_id) == ("wrapped-argon2id", "2026")
                assert opens(stored, pepper=pepper)
                with pytest.raises(KeyWrong):
                    verify(stored, SAMPLE_PASSWORD)

    report = await cycle(
        sample,
        NAME,
        rows=LEGACY,
        left=UNKNOWN,
        arguments={"to": "argon2id", "cost": "8,1,1"},
        after=after,
        password_peppers=PEPPERS,
    )
    assert any("under pepper 2026" in warning for warning in report.warnings)
    assert "0123456789abcdef" not in repr(report)


async def test_rows_that_a_read_leaves_do_not_stop_it(sample, monkeypatch):
    """Unknown values fill whole reads, and in a dry run nothing that was read goes away."""
    monkeypatch.setattr(reader, "SLOW_ROWS", 1)
    monkeypatch.setattr(reader, "cores", lambda: 2)

    async def after(dsn):
        assert await rows(dsn, f"SELECT FROM users WHERE {predicates.legacy('password')}") == []

    await cycle(sample, NAME, rows=LEGACY, left=UNKNOWN, arguments=CHEAP, after=after)


async def test_unknown_values_are_listed_and_left(sample):
    before = {key: text for key, text in (await passwords(sample)).items() if text and "{X-" in text}
    assert len(before) == UNKNOWN
    async with engine(sample) as runner:
        report = await runner.run(NAME, RunOptions(arguments=CHEAP))
        listed = await runner.quarantine(report.run_id)
    assert {record.key[0] for record in listed} == set(before)
    assert {(record.code, record.left) for record in listed} == {("unknown-hash", True)}
    now = await passwords(sample)
    assert {key: now[key] for key in before} == before


RESET = '"passwordResetToken" AS token, "passwordResetExpires" AS expires'


async def test_reset(sample):
    before = await passwords(sample)
    legacy = {key for key, stored in before.items() if recognise(stored).kind == "legacy"}
    tokens = {row["id"]: tuple(row) for row in await rows(sample, f"SELECT id, {RESET} FROM users")}
    found = set()

    async def after(dsn):
        for row in await rows(dsn, f"SELECT id, password, {RESET} FROM users"):
            if row["id"] not in legacy:
                assert row["password"] == before[row["id"]]
                assert (row["id"], row["token"], row["expires"]) == tokens[row["id"]]
                continue
            assert recognise(row["password"]).kind == "unusable"
            assert not verify(row["password"], SAMPLE_PASSWORD)
            assert len(row["token"]) == 43
            days = row["expires"].replace(tzinfo=UTC) - datetime.now(UTC)
            assert timedelta(days=3) - timedelta(minutes=5) < days <= timedelta(days=3)
            found.add(row["token"])

    report = await cycle(sample, NAME, rows=LEGACY, left=UNKNOWN, arguments={"mode": "reset"}, after=after)
    assert len(found) >= LEGACY
    (query,) = [w.partition("written to: ")[2] for w in report.warnings if "written to" in w]
    assert await rows(sample, query) == []  # rolled back
    async with engine(sample) as runner:
        await runner.run(NAME, RunOptions(arguments={"mode": "reset"}, force=True))
    assert {row[0] for row in await rows(sample, query)} == legacy


async def test_unknown_values_are_reset_where_that_is_asked_for(sample):
    before = await passwords(sample)

    async def after(dsn):
        for key, stored in (await passwords(dsn)).items():
            match recognise(before[key]).kind:
                case "unknown":
                    assert recognise(stored).kind == "unusable"
                case "legacy":
                    assert opens(stored)
                case _:
                    assert stored == before[key]

    await cycle(
        sample,
        NAME,
        rows=LEGACY + UNKNOWN,
        # The rarer modern forms are looked at as well; the sample has none.
        arguments={**CHEAP, "unknown": "reset"},
        after=after,
    )


FORM = {
    "name": "app-salted",
    "pattern": "(?P<salt>[0-9a-f]+):(?P<digest>[0-9a-f]{32})",
    "algorithm": "md5",
    "order": "salt+password",
    "salt_encoding": "hex",
}


async def test_forms_of_the_application(database, keyed):
    salted = "73616c74:" + hashlib.md5(b"salt" + SAMPLE_PASSWORD.encode()).hexdigest()
    scrypt = next(v["stored"] for v in VECTORS["accepted"] if v["scheme"] == "scrypt")
    before = {"salted": salted, "bare": MD5, "scrypt": scrypt, "odd": "{X}", "empty": "", "none": None}
    await fill(database, before)

    async def after(dsn):
        now = await passwords(dsn)
        for name in ("salted", "bare"):
            assert recognise(now[name]).kind == "wrapped"
            assert opens(now.pop(name))
        assert now == {name: before[name] for name in now}

    # A plan cannot tell forms of regular expressions that SQL does not know: it counts what may be one.
    await cycle(
        database, NAME, rows=2, left=1, estimate=4, arguments=CHEAP, after=after, legacy_passwords=(FORM,)
    )


async def fill(dsn, values, kind="text"):
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            f'CREATE TABLE users (id text PRIMARY KEY, password {kind}, "passwordResetToken" varchar(20),'
            ' "passwordResetExpires" timestamptz)'
        )
        await connection.executemany("INSERT INTO users VALUES ($1, $2)", list(values.items()))
    finally:
        await connection.close()


@pytest.mark.parametrize("kind", ["varchar(60)", "char(60)", "char(32)", "varchar(32)", "citext"])
@pytest.mark.parametrize("mode", ["wrap", "reset"])
async def test_a_narrow_column_is_widened_and_narrowed_again(database, keyed, kind, mode):
    await script(database, "CREATE EXTENSION citext")
    await fill(database, {"a": MD5, "b": MD5.upper(), "c": "{X}", "d": "", "e": None}, kind)

    async def after(dsn):
        now = await passwords(dsn)
        for name in ("a", "b"):
            assert recognise(now[name]).kind == ("wrapped" if mode == "wrap" else "unusable")
            assert opens(now[name]) == (mode == "wrap")
        assert (now["c"], now["d"], now["e"]) == ("{X}", "", None)

    await cycle(database, NAME, rows=2, left=1, arguments={**CHEAP, "mode": mode}, after=after)


async def test_a_database_without_passwords_is_not_applicable(database, keyed):
    await script(database, "CREATE TABLE users (id int PRIMARY KEY, email text)")
    async with engine(database) as runner:
        plan = await runner.plan(NAME)
    assert not plan.applicable


async def test_a_reset_where_no_token_can_be_put_is_refused(database, keyed):
    await script(database, "CREATE TABLE users (id int PRIMARY KEY, password text)")
    async with engine(database) as runner:
        with pytest.raises(PreflightFailed, match="no column 'passwordResetToken'"):
            await runner.run(NAME, RunOptions(arguments={"mode": "reset"}))


async def test_without_a_key_for_the_before_images_it_is_refused(database):
    await fill(database, {"a": MD5})
    async with engine(database, environ={}) as runner:
        with pytest.raises(KeyMissing):
            await runner.run(NAME, RunOptions(arguments=CHEAP))
    assert await passwords(database) == {"a": MD5}


@pytest.mark.parametrize(
    ("to", "cost"),
    [("bcrypt", "3"), ("bcrypt", "32"), ("bcrypt", "8,1,1"), ("argon2id", "12"), ("argon2id", "1,1,1")],
)
async def test_a_cost_that_the_scheme_does_not_have_is_refused(database, keyed, to, cost):
    await fill(database, {"a": MD5})
    async with engine(database) as runner:
        with pytest.raises(UsageError):
            await runner.plan(NAME, {"to": to, "cost": cost})


async def test_the_plan_measures_what_hashing_takes(sample):
    async with engine(sample) as runner:
        cheap, dear = [await runner.plan(NAME, {"cost": cost}) for cost in ("4", "11")]
    assert cheap.pending_rows == dear.pending_rows == LEGACY
    assert "just now" in dear.seconds_from
    assert dear.seconds[0] > 5 * cheap.seconds[0]


async def test_it_is_paused_after_a_read_and_seen_on_its_way(sample, monkeypatch):
    monkeypatch.setattr(reader, "SLOW_ROWS", 1)
    monkeypatch.setattr(reader, "SLOW_SECONDS", 0.05)
    arguments = {"cost": "8"}
    async with engine(sample) as runner, engine(sample) as other:
        running = asyncio.create_task(runner.run(NAME, RunOptions(arguments=arguments)))
        deadline = time.monotonic() + 30
        seen = 0
        while not seen:
            await asyncio.sleep(0.02)
            assert time.monotonic() < deadline
            assert not running.done()
            seen = sum(record.affected_rows for record in await other.status())
        await other.pause(NAME)
        asked = time.monotonic()
        with pytest.raises(RunPaused):
            await running
        assert time.monotonic() - asked < 5
        (record,) = await other.status(NAME)
        assert 0 < record.affected_rows < LEGACY
        # It goes on with what it was told, and with nothing else.
        with pytest.raises(PlanDrift, match="cost=8"):
            await runner.run(NAME, RunOptions(arguments=CHEAP))
        report = await runner.resume(NAME)
    assert (report.resumed, report.changed_rows) == (True, LEGACY)


async def test_signs_of_life_go_on_while_threads_hash(database, keyed):
    """A read takes longer than the lease lasts."""
    await fill(database, {str(number): MD5 for number in range(reader.SLOW_ROWS * reader.cores())})
    async with engine(database, lease_seconds=0.6) as runner, engine(database) as other:
        running = asyncio.create_task(runner.run(NAME, RunOptions(arguments={"cost": "10"})))
        alive = set()
        while not running.done():
            await asyncio.sleep(0.1)
            for record in await other.status():
                if record.status == "running":
                    alive.add(record.alive)
        assert (await running).status == "succeeded"
    assert alive == {True}


async def test_beside_people_who_sign_in(sample):
    """Both write by compare-and-set: what a login or a change of password wrote is there in the end."""
    legacy = [key for key, stored in (await passwords(sample)).items() if recognise(stored).kind == "legacy"]
    chooser, written, refused = random.Random(1), {}, []
    connection = await asyncpg.connect(sample)

    async def sign_in(key):
        stored = await connection.fetchval("SELECT password FROM users WHERE id = $1", key)
        if not await asyncio.to_thread(verify, stored, SAMPLE_PASSWORD):
            refused.append(key)
        if needs_rehash(stored, cost=CHEAPEST_COST):
            new = await asyncio.to_thread(hash_password, SAMPLE_PASSWORD, cost=CHEAPEST_COST)
            if (
                await connection.execute(
                    "UPDATE users SET password = $2 WHERE id = $1 AND password = $3", key, new, stored
                )
                == "UPDATE 1"
            ):
                written[key] = new

    async def people():
        while not ended.is_set():
            await sign_in(chooser.choice(legacy))
            await asyncio.sleep(0.005)

    ended = asyncio.Event()
    async with engine(sample) as runner:
        crowd = asyncio.create_task(people())
        report = await runner.run(NAME, RunOptions(arguments={"cost": "8"}, batch_size=10))
        while len(written) == report.changed_rows == 0:
            await asyncio.sleep(0.01)
        ended.set()
        await crowd
        now = await passwords(sample)
        assert {key: now[key] for key in written} == written
        assert refused == []
        assert all(opens(now[key]) for key in legacy)
        rolled = await runner.rollback(report.run_id)
    await connection.close()
    now = await passwords(sample)
    assert {key: now[key] for key in written} == written
    assert rolled.restored_rows + rolled.conflicts == report.changed_rows


def called(capsys, *words):
    code = main([*words, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_from_the_command_line(sample, capsys, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", sample)
    code, plan = called(capsys, "plan", NAME, "--to", "argon2id")
    assert (code, plan["pending_rows"]) == (0, LEGACY)
    code, plan = called(capsys, "plan", NAME, "encrypt-user-data", "--reset")
    assert code == 0
    code, report = called(capsys, "run", NAME, "--reset", "--dry-run")
    assert (code, report["changed_rows"], report["left_rows"]) == (0, LEGACY, UNKNOWN)
    assert any("LIKE '!datamig$v1$%'" in warning for warning in report["warnings"])
    code, report = called(capsys, "run", NAME, "--to", "argon2id")
    assert (code, report["changed_rows"]) == (0, LEGACY)
    now = asyncio.run(passwords(sample))
    assert sum(recognise(stored).scheme == "wrapped-argon2id" for stored in now.values()) == LEGACY
    for words in (("--to", "argon2id"), ("--reset",)):
        code, error = called(capsys, "run", "encrypt-user-data", *words)
        assert code == 2
        assert f"{words[0]} is for migrate-passwords, which is not named" in json.dumps(error)


async def test_a_killed_process_loses_no_more_than_a_read(database, keyed):
    read = reader.SLOW_ROWS * reader.cores()
    await fill(database, {str(number): MD5 for number in range(2 * read + 1)})
    task = {"dsn": database, "migration": NAME, "module": "", "class": "", "action": "run"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "taaxdog_datamig.testing.child",
        stdin=subprocess.PIPE,
        env={**os.environ, failpoints.VARIABLE: "after-transform:2"},
    )
    await process.communicate(json.dumps({**task, "options": {"arguments": CHEAP}}).encode())
    assert process.returncode == -signal.SIGKILL
    kept = {key: stored for key, stored in (await passwords(database)).items() if stored != MD5}
    assert len(kept) == read
    async with engine(database) as runner:
        report = await runner.run(NAME, RunOptions(arguments=CHEAP))
    assert (report.resumed, report.changed_rows) == (True, 2 * read + 1)
    now = await passwords(database)
    assert {key: now[key] for key in kept} == kept
    assert all(opens(stored) for stored in now.values())


#: The order of a run's statements is the same in every mode: one of them is killed everywhere.
SOME = ("after-transform", "after-update", "before-commit", "after-commit", "rollback-before-commit")


@pytest.mark.parametrize(
    ("arguments", "points"),
    [
        (CHEAP, failpoints.NAMES),
        ({"mode": "reset"}, SOME),
        ({"to": "argon2id", "cost": "8,1,1", "unknown": "reset"}, SOME),
    ],
)
async def test_it_may_be_killed_anywhere(few, arguments, points):
    report = await assert_crash_safe(
        NAME,
        few,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=2,
        random_kills=1,
        arguments=arguments,
    )
    assert report.changed_rows == 8 + ("unknown" in arguments)
    assert len(report.killed_at) > len(points) / 2

"""The sample keeps its promises: repeatable, exact counts, all or nothing, whatever the day."""

import asyncio
import hashlib
import tracemalloc
from base64 import b64decode

import anyio
import argon2
import asyncpg
import bcrypt
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sample_predicates import COUNTS, NEVER, count_in_python, tfn_valid, values

from taaxdog_datamig.demo import SAMPLE_PASSWORD, fault_counts, load_sample
from taaxdog_datamig.demo.schema import drop_schema, table_names
from taaxdog_datamig.errors import (
    DatabaseError,
    DatabaseUnavailable,
    KeyFormatError,
    ServerRefused,
    UsageError,
)

KEY = bytes(range(32))


@pytest.fixture
async def connection(database):
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def checksums(connection):
    query = 'SELECT md5(string_agg(t::text, \'|\' ORDER BY t::text COLLATE "C")) FROM "{}" t'
    return {table: await connection.fetchval(query.format(table)) for table in table_names()}


async def relations(connection):
    names = await connection.fetch("""
        SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT typname FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype = 'e'""")
    return [row["name"] for row in names]


async def faults_seen(connection):
    seen = {key: await connection.fetchval(query) for key, query in COUNTS.items()}
    return seen | await count_in_python(connection)


async def wrongs_seen(connection):
    return {promise: await connection.fetchval(query) for promise, query in NEVER.items()}


@pytest.mark.parametrize(("users", "seed"), [(1_000, 1), (3_210, 7)])
async def test_every_fault_is_there_as_often_as_promised(database, connection, users, seed):
    report = await load_sample(database, users=users, seed=seed)
    assert await faults_seen(connection) == report.faults == fault_counts(users, faults=True)
    assert all(report.faults.values())
    assert not any((await wrongs_seen(connection)).values())


@pytest.mark.parametrize("users", [10, 1_500])
async def test_without_faults_there_are_none(database, connection, users):
    report = await load_sample(database, users=users, faults=False)
    assert set(report.faults) == set(fault_counts(users, faults=True))
    assert await faults_seen(connection) == report.faults
    assert not any(report.faults.values())
    if users > 10:
        assert not any((await wrongs_seen(connection)).values())


async def test_rows_are_counted_and_no_table_is_empty(database, connection):
    report = await load_sample(database, users=1_000)
    assert set(report.rows) == set(table_names())
    for table, rows in report.rows.items():
        assert await connection.fetchval(f'SELECT count(*) FROM "{table}"') == rows > 0
    assert report.rows["bank_accounts"] == 1_000
    assert report.rows["bank_transactions"] == 10_000
    per_account = await connection.fetch(
        "SELECT count(*) FROM bank_transactions WHERE bank_account_id IN (SELECT id FROM bank_accounts)"
        " GROUP BY bank_account_id"
    )
    assert {row["count"] for row in per_account} <= {9, 10}  # nine where one of them is an orphan


@pytest.mark.parametrize("users", [1, 59])
async def test_a_tiny_sample_loads_too(database, connection, users):
    report = await load_sample(database, users=users)
    for table, rows in report.rows.items():
        assert await connection.fetchval(f'SELECT count(*) FROM "{table}"') == rows


async def test_the_same_seed_gives_the_same_rows_and_another_seed_others(database, connection):
    await load_sample(database, users=300, legacy_key=KEY)
    first = await checksums(connection)
    await drop_schema(connection)
    await load_sample(database, users=300, legacy_key=KEY)
    assert await checksums(connection) == first
    await drop_schema(connection)
    await load_sample(database, users=300, seed=2, legacy_key=KEY)
    other = await checksums(connection)
    assert {table for table in first if first[table] == other[table]} == set()


async def test_no_date_lies_where_the_clock_could_reach_it(database, connection):
    """What has expired did so years ago and what holds does so until 2099, so counts never change."""
    await load_sample(database, users=1_000)
    columns = await connection.fetch("""
        SELECT table_name, column_name FROM information_schema.columns
        WHERE table_schema = 'public' AND data_type IN ('date', 'timestamp without time zone')""")
    assert len(columns) > 90
    for table, column in columns:
        between = f"\"{column}\" BETWEEN '2024-10-01' AND '2098-12-31'"
        assert await connection.fetchval(f'SELECT count(*) FROM "{table}" WHERE {between}') == 0, (
            table,
            column,
        )


async def test_sensitive_columns_hold_what_the_report_says(database, connection):
    report = await load_sample(database, users=1_000, legacy_key=KEY)
    for name, counts in report.sensitive.items():
        table, column = name.split(".")
        null, empty, total = await connection.fetchrow(
            f'SELECT count(*) FILTER (WHERE "{column}" IS NULL), count(*) FILTER (WHERE "{column}" = \'\'),'
            f' count(*) FROM "{table}"'
        )
        assert (counts.null, counts.empty) == (null, empty)
        assert null > 0
        assert empty > 0
        assert counts.null + counts.empty + counts.plaintext + counts.legacy == total
        opened = [value for value in await values(connection, table, column) if opens(value) is not None]
        assert counts.legacy == len(opened)
        assert counts.legacy_prefixed == sum(value.startswith("encrypted:") for value in opened)
    assert report.sensitive["users.tfn"].legacy_prefixed > 0


def opens(value):
    """The plaintext of a value as the application seals it, or None."""
    try:
        raw = b64decode(value.removeprefix("encrypted:"), validate=True)
    except ValueError:
        return None
    if len(raw) <= 32:
        return None
    return AESGCM(KEY).decrypt(raw[:16], raw[32:] + raw[16:32], None).decode()


async def test_a_legacy_value_opens_to_what_would_stand_there_without_a_key(database, connection):
    query = 'SELECT id, tfn, "taxFileNumber", "twoFactorSecret" FROM users ORDER BY id'
    await load_sample(database, users=400)
    plain = await connection.fetch(query)
    await drop_schema(connection)
    await load_sample(database, users=400, legacy_key=KEY)
    sealed = await connection.fetch(query)
    changed = 0
    for before, after in zip(plain, sealed, strict=True):
        for old, new in zip(before, after, strict=True):
            if old != new:
                changed += 1
                assert (opens(new) == old) is True
    assert changed == 8 + 2 + 2 + 4  # tfn, prefixed tfn, taxFileNumber, twoFactorSecret


async def test_tax_file_numbers_have_eight_and_nine_digits_and_are_valid(database, connection):
    await load_sample(database, users=1_000, faults=False)
    tfns = await values(connection, "users", "tfn")
    older = await values(connection, "users", "taxFileNumber")
    assert {len(tfn) for tfn in tfns} == {8, 9}
    assert all(map(tfn_valid, (*tfns, *older)))
    assert len(tfns) == 900


async def test_phones_come_in_thirty_spellings_and_fit_their_column(database, connection):
    await load_sample(database, users=1_000)
    shapes = "SELECT count(DISTINCT {shape}) FROM users WHERE phone <> '' AND phone !~ '^\\+614\\d{{8}}$'"
    shape = r"regexp_replace(left(phone, 2), '\d\d', left(phone, 2)) || regexp_replace(phone, '\d', '9', 'g')"
    assert await connection.fetchval(shapes.format(shape=shape)) >= 25
    assert await connection.fetchval("SELECT max(length(phone)) FROM users") <= 20


async def test_every_password_hash_opens_with_the_published_password(database, connection):
    await load_sample(database, users=100)
    stored = {row["password"] for row in await connection.fetch("SELECT DISTINCT password FROM users")}
    word = SAMPLE_PASSWORD.encode()
    digests = {hashlib.new(name, word).hexdigest() for name in ("md5", "sha1", "sha256", "sha512")}
    assert digests < stored
    blowfish = {value for value in stored if value and value.startswith("$2")}
    assert {value[:4] for value in blowfish} == {"$2a$", "$2b$", "$2y$"}
    assert all(bcrypt.checkpw(word, value.encode()) for value in blowfish)
    (argon,) = (value for value in stored if value and value.startswith("$argon2id$"))
    assert argon2.PasswordHasher().verify(argon, word)
    (pbkdf2,) = (value for value in stored if value and value.startswith("pbkdf2_sha256$"))
    _, rounds, salt, digest = pbkdf2.split("$")
    assert hashlib.pbkdf2_hmac("sha256", word, salt.encode(), int(rounds)) == b64decode(digest)


async def test_the_client_does_not_hold_the_rows(database):
    tracemalloc.start()
    try:
        await load_sample(database, users=2_000)  # some eight megabytes of rows
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


async def test_progress_reaches_every_table_and_phase(database):
    seen = {}
    await load_sample(
        database, users=50, progress=lambda what, done, total: seen.update({what: (done, total)})
    )
    assert {*table_names()} - {*seen} == {"data_access_requests", "ai_cache", "ai_conversations"} - {*seen}
    assert {"primary keys", "indexes", "foreign keys", "vacuum"} < set(seen)
    assert all(done == total for done, total in seen.values())


async def test_a_load_that_fails_half_way_leaves_nothing_and_can_be_run_again(database, connection):
    def fail(what, _done, _total):
        if what == "goals":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await load_sample(database, users=100, progress=fail)
    assert await relations(connection) == []
    await load_sample(database, users=100)


async def test_a_load_that_the_server_refuses_leaves_nothing(database, connection):
    await connection.execute('CREATE TABLE "goals_status_idx" (a int)')
    with pytest.raises(ServerRefused, match="goals_status_idx"):
        await load_sample(database, users=100)
    assert await relations(connection) == ["goals_status_idx"]


async def test_a_load_that_loses_its_connections_leaves_nothing(database, connection):
    kills = []

    def kill(*_):
        if not kills:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            query += " AND datname = current_database()"
            kills.append(asyncio.ensure_future(connection.execute(query)))

    with pytest.raises(DatabaseError) as caught:
        await load_sample(database, users=20_000, progress=kill)
    await kills[0]
    assert caught.value.todo == "What had been created was dropped again"
    assert await relations(connection) == []


async def test_a_cancelled_load_leaves_nothing(database, connection):
    with anyio.CancelScope() as scope:
        await load_sample(database, users=100, progress=lambda *_: scope.cancel())
    assert scope.cancelled_caught
    assert await relations(connection) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"users": 0}, UsageError),
        ({"users": 50_000_001}, UsageError),
        ({"seed": -1}, UsageError),
        ({"seed": 2**31}, UsageError),
        ({"legacy_key": b"short"}, KeyFormatError),
    ],
)
async def test_numbers_out_of_range_are_refused_before_anything_is_tried(arguments, error):
    with pytest.raises(error):
        await load_sample("postgresql://nobody@/nowhere", **arguments)


async def test_no_server_is_one_clear_error_without_the_password(tmp_path):
    with pytest.raises(DatabaseUnavailable) as caught:
        await load_sample(f"postgresql://me:hunter2@/nowhere?host={tmp_path}")
    assert "hunter2" not in str(caught.value)

"""cleanup-sessions: expired sessions and tokens go; those that still let somebody in stay."""

from __future__ import annotations

from application import run_beside
from cycle import cycle

from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, rows, script, state

NAME = "cleanup-sessions"
TABLES = ("sessions", "verification_tokens", "password_reset_tokens")
#: By the sample's slots: expired sessions, tokens, and users with an expired reset or verification token.
COUNTS = {"sessions": 125, "verification_tokens": 17, "password_reset_tokens": 17, "users": 30}
EXPIRED_ON_USERS = '"passwordResetExpires" < now() OR "emailVerificationExpires" < now()'


async def test_there_and_back(sample):
    before = await state(sample)
    kept = 'SELECT count("passwordResetToken"), count("emailVerificationToken") FROM users'
    ((resets, verifications),) = await rows(sample, f"{kept} WHERE ({EXPIRED_ON_USERS}) IS NOT TRUE")

    async def after(dsn):
        for table in TABLES:
            assert (await rows(dsn, f"SELECT count(*) FROM {table} WHERE expires < now()"))[0][0] == 0
        assert (await rows(dsn, f"SELECT count(*) FROM users WHERE {EXPIRED_ON_USERS}"))[0][0] == 0
        assert await rows(dsn, kept) == [(resets, verifications)]
        now = await state(dsn)
        assert {name for name in before if before[name] != now[name]} == set(COUNTS)
        assert {table: before[table][0] - now[table][0] for table in TABLES} == {
            table: COUNTS[table] for table in TABLES
        }

    report = await cycle(sample, NAME, rows=sum(COUNTS.values()), after=after)
    assert report.deleted_rows == {table: COUNTS[table] for table in TABLES}
    assert {table.table: table.changed_rows for table in report.tables} == COUNTS


async def test_one_expired_token_goes_and_the_other_stays(database, keyed):
    await script(
        database,
        'CREATE TABLE users (id int PRIMARY KEY, "passwordResetToken" text,'
        ' "passwordResetExpires" timestamptz, email_verification_token text,'
        " email_verification_expires timestamp);"
        "INSERT INTO users VALUES (1, 'a', now() - interval '1 s', 'b', now() + interval '1 day'),"
        " (2, NULL, NULL, NULL, NULL), (3, 'c', NULL, 'd', '-infinity'), (4, 'e', 'infinity', 'f', NULL)",
    )

    async def after(dsn):
        assert await rows(
            dsn, 'SELECT id, "passwordResetToken", email_verification_token FROM users ORDER BY 1'
        ) == [(1, None, "b"), (2, None, None), (3, "c", None), (4, "e", "f")]

    await cycle(database, NAME, rows=2, after=after)


async def test_without_a_key_the_archive_is_compressed_only_and_the_run_says_so(sample, monkeypatch):
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    monkeypatch.delenv("FIELD_ENCRYPTION_LEGACY_KEY")

    async def after(_):
        pass

    await cycle(sample, NAME, rows=sum(COUNTS.values()), after=after)


async def test_beside_an_application_that_writes(sample):
    columns = {"sessions": ("id", "data"), "users": ("id", "image")}
    report, _ = await run_beside(sample, NAME, columns, deletes=True)
    assert report.changed_rows == sum(COUNTS.values())


async def test_it_may_be_killed_anywhere(few, points):
    report = await assert_crash_safe(
        NAME,
        few,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=5,
        random_kills=1,
    )
    assert report.changed_rows > 10

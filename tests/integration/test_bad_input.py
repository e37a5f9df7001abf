"""Bad input: one clear error (what, which, what to do), nothing sensitive in it, nothing changed."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import attrs
import pytest

from taaxdog_datamig import Changes, ColumnMigration, Database, RunOptions, Settings
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import (
    DatabaseUnavailable,
    DatamigError,
    KeyFormatError,
    KeyMissing,
    KeyWrong,
    LeaseHeld,
    PreflightFailed,
    ServerRefused,
    SettingsError,
    UnknownName,
    UsageError,
)
from taaxdog_datamig.events import Waiting
from tests.conftest import with_database
from tests.sample import KEY, NAME, engine, has_ledger, rows, script, state, told

TFN, ACCOUNT, BSB = "123456782", "9180273645", "062-947"
OTHER_KEY = bytes(range(100, 132)).hex()
TABLES = f"""
CREATE TABLE users (id text PRIMARY KEY, tfn text, "taxFileNumber" text, "twoFactorSecret" text);
INSERT INTO users VALUES ('u1', '{TFN}'), ('u2', '{TFN}');
CREATE TABLE bank_accounts (id int PRIMARY KEY, account_number varchar(50), bsb varchar(10));
INSERT INTO bank_accounts VALUES (1, '{ACCOUNT}', '{BSB}');
"""


@pytest.fixture
async def installation(database, keyed):
    """A small installation of this test's own."""
    await script(database, TABLES)
    return database


def assert_harmless(error):
    shown = told(error)
    for value in (TFN, ACCOUNT, BSB, KEY, OTHER_KEY):
        assert value not in shown


async def refusal(dsn, kind, pattern, *migrations, name=NAME, options=None, **settings):
    """The run raises `kind` with a message like `pattern`; nothing is told, nothing changed."""
    before = await state(admin(dsn))
    with pytest.raises(DatamigError, match=pattern) as caught:
        async with engine(dsn, *migrations, **settings) as runner:
            await runner.run(name, options)
    assert type(caught.value) is kind
    assert_harmless(caught.value)
    assert await state(admin(dsn)) == before
    return caught.value


def admin(dsn):
    """The URL of the same database for the superuser who made it."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"postgres@{parts.netloc.rpartition('@')[2]}"))


def as_role(dsn, role):
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
async def role(installation):
    """URL of the installation for an ordinary role, which may read and change its rows."""
    name = f"datamig_role_{secrets.token_hex(4)}"
    database = urlsplit(installation).path.lstrip("/")
    await script(
        installation,
        f'CREATE ROLE "{name}" LOGIN; GRANT CREATE ON DATABASE "{database}" TO "{name}";'
        f'GRANT SELECT, UPDATE ON users, bank_accounts TO "{name}"',
    )
    yield as_role(installation, name)
    await script(installation, f'DROP OWNED BY "{name}" CASCADE; DROP ROLE "{name}"')


def name_of(dsn):
    return urlsplit(dsn).username


# -- keys


async def test_a_missing_key(installation, monkeypatch):
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    await refusal(installation, KeyMissing, r"no encryption key.*keys generate.*FIELD_ENCRYPTION_KEY")
    assert not await has_ledger(installation)


@pytest.mark.parametrize("key", ["", "ab" * 16, KEY[:-1], KEY[:-1] + "g", "x" * 44, "00" * 32])
async def test_a_short_or_garbled_key(key, installation, monkeypatch):
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", key)
    error = await refusal(
        installation, KeyFormatError if key else KeyMissing, r"FIELD_ENCRYPTION_KEY.*keys generate|keys gen"
    )
    assert not key or key not in told(error)
    assert not await has_ledger(installation)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_wrong_key_is_found_before_anything_is_changed(dry_run, installation, monkeypatch):
    async with engine(installation) as runner:
        done = await runner.run(NAME)
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", OTHER_KEY)
    kid = (await rows(installation, "SELECT kid FROM datamig.keys"))[0][0]
    error = await refusal(
        installation,
        KeyWrong,
        f"sealed with key {kid}",
        options=RunOptions(force=True, dry_run=dry_run),
    )
    assert "FIELD_ENCRYPTION_KEYS" in error.todo
    async with engine(installation) as runner:
        with pytest.raises(KeyWrong, match=kid) as caught:
            await runner.rollback(done.run_id)
        assert_harmless(caught.value)
        # With both keys, the new one first, the old run can be undone.
        monkeypatch.setenv("FIELD_ENCRYPTION_KEYS", f"new:{OTHER_KEY},{KEY}")
        monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    async with engine(installation) as runner:
        assert (await runner.rollback(done.run_id)).restored_rows == 3


async def test_another_key_under_a_known_id(installation, monkeypatch):
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    monkeypatch.setenv("FIELD_ENCRYPTION_KEYS", f"main:{KEY}")
    async with engine(installation) as runner:
        await runner.run(NAME)
    monkeypatch.setenv("FIELD_ENCRYPTION_KEYS", f"main:{OTHER_KEY}")
    await refusal(installation, KeyWrong, "key main is not the one", options=RunOptions(force=True))


# -- the server


async def connecting(dsn, pattern, kind=DatabaseUnavailable):
    with pytest.raises(kind, match=pattern) as caught:
        async with Database.connect(settings=Settings(database_url=dsn)):
            pass
    assert "pa55word" not in told(caught.value)


async def test_no_server_there():
    await connecting(
        "postgresql://app:pa55word@127.0.0.1:1/taaxdog",
        r"127\.0\.0\.1:1/taaxdog.*Is it running",
    )


async def test_no_such_database(server_dsn):
    await connecting(with_database(server_dsn, "no_such_database"), r"no such database.*no_such_database")


async def test_a_url_that_does_not_parse():
    await connecting("postgresql://app:pa55word@host:port/db", "does not parse", SettingsError)


async def test_no_url_at_all(keyed):
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        async with Database.connect(settings=Settings()):
            pass


async def test_a_wrong_password(data_folder):
    rules = data_folder.parent / "pg_hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n", "utf-8")
    rules.chmod(0o644)
    async with EmbeddedServer(settings={"hba_file": str(rules)}) as server:
        await script(server.dsn, "CREATE ROLE app LOGIN PASSWORD 'right'")
        netloc = urlsplit(server.dsn).netloc.rpartition("@")[2]
        url = urlunsplit(urlsplit(server.dsn)._replace(netloc=f"app:pa55word@{netloc}"))
        await connecting(url, r"does not accept this role and password.*DATABASE_URL")
        await connecting(url.replace("app:pa55word", "nobody:pa55word"), "does not accept this role")


# -- privileges


async def test_a_read_only_role(role):
    await script(admin(role), f'ALTER ROLE "{name_of(role)}" SET default_transaction_read_only = on')
    await refusal(role, PreflightFailed, r"read-only.*default_transaction_read_only.*may write")


async def test_a_role_that_may_not_update(role):
    await script(admin(role), f'REVOKE UPDATE ON users FROM "{name_of(role)}"')
    await refusal(role, PreflightFailed, r"public\.users.*GRANT SELECT, UPDATE")


async def test_a_role_that_may_not_read(role):
    await script(admin(role), f'REVOKE SELECT ON users FROM "{name_of(role)}"')
    await refusal(role, PreflightFailed, r"public\.users.*GRANT SELECT, UPDATE")


async def test_a_role_that_may_not_alter_a_table_that_is_too_narrow(role):
    await refusal(
        role, PreflightFailed, r"public\.bank_accounts.*too narrow.*owner.*ALTER TABLE .*bank_accounts"
    )


async def test_a_role_that_may_not_create_the_ledger(role):
    await script(
        admin(role),
        f'REVOKE CREATE ON DATABASE "{urlsplit(role).path[1:]}" FROM "{name_of(role)}";'
        "DROP TABLE bank_accounts",
    )
    await refusal(role, PreflightFailed, r"schema datamig.*GRANT CREATE ON DATABASE")
    assert not await has_ledger(admin(role))


async def test_a_role_that_may_not_use_anothers_ledger(role):
    async with engine(admin(role)) as runner:
        await runner.run(NAME)
    await refusal(role, ServerRefused, r"schema datamig .42501.*Connect as", options=RunOptions(force=True))


async def test_row_level_security_that_hides_rows(role):
    await script(
        admin(role),
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY half ON users USING (id = 'u1'); DROP TABLE bank_accounts",
    )
    await refusal(role, PreflightFailed, r"row-level security.*public\.users.*BYPASSRLS")


# -- the tables


async def test_a_table_without_a_key(installation):
    await script(installation, "ALTER TABLE users DROP CONSTRAINT users_pkey")
    await refusal(installation, PreflightFailed, r"public\.users has no primary key.*add a primary key")
    # A complete unique index over NOT NULL columns names rows as well.
    await script(
        installation,
        "ALTER TABLE users ALTER id SET NOT NULL; CREATE UNIQUE INDEX partial ON users (id) WHERE id <> ''",
    )
    await refusal(installation, PreflightFailed, r"public\.users has no primary key")
    await script(installation, "CREATE UNIQUE INDEX whole ON users (id)")
    async with engine(installation) as runner:
        assert (await runner.run(NAME)).changed_rows == 3


async def test_a_table_that_others_inherit_from(installation):
    """To succeed without the children's rows would be a lie."""
    await script(
        installation,
        f"CREATE TABLE old_users () INHERITS (users); INSERT INTO old_users VALUES ('u9', '{TFN}')",
    )
    await refusal(installation, PreflightFailed, r"old_users inherits from public\.users.*NO INHERIT")


async def test_a_view_in_the_place_of_a_table(installation):
    await script(installation, "ALTER TABLE users RENAME TO people; CREATE VIEW users AS TABLE people")
    await refusal(installation, PreflightFailed, r"public\.users is a view.*tables\.users.*datamig\.toml")


async def test_a_view_that_stops_a_widening(installation):
    await script(installation, "CREATE VIEW statement AS SELECT bsb FROM bank_accounts")
    await refusal(installation, PreflightFailed, r"view statement depends.*bank_accounts.*Drop it")
    await script(installation, "DROP VIEW statement; CREATE VIEW harmless AS SELECT id FROM bank_accounts")
    async with engine(installation) as runner:
        assert (await runner.run(NAME)).status == "succeeded"


async def test_a_tfn_column_of_numbers(installation):
    await script(installation, "ALTER TABLE users ALTER tfn TYPE bigint USING tfn::bigint")
    await refusal(installation, PreflightFailed, r"tfn of public\.users is bigint.*TYPE text")


async def test_a_generated_sensitive_column(installation):
    await script(
        installation,
        'ALTER TABLE users DROP "taxFileNumber",'
        ' ADD "taxFileNumber" text GENERATED ALWAYS AS (upper(tfn)) STORED',
    )
    await refusal(installation, PreflightFailed, r"taxFileNumber of public\.users is a generated column")


class Typo(ColumnMigration):
    name = "typo"
    version = "1.0.0"
    description = "Names a column that is not there."
    table = "users"
    columns = ("taxFileNumbr",)
    pending = "tfn <> ''"

    def transform(self, row):
        return Changes(dict.fromkeys(row.values))


class Elsewhere(Typo):
    name = "elsewhere"
    table = "user"


async def test_a_column_that_is_not_there_and_near_names(installation):
    await refusal(
        installation,
        PreflightFailed,
        r"public\.users has no column 'taxFileNumbr'.*Did you mean taxFileNumber",
        Typo,
        name="typo",
    )


class Vague(Typo):
    name = "vague"
    pending = ""


async def test_a_migration_that_does_not_say_which_rows_are_pending(installation):
    await refusal(installation, SettingsError, "vague declares no pending", Vague, name="vague")


async def test_a_table_that_is_not_there(installation):
    async with engine(installation, Elsewhere) as runner:
        report = await runner.run("elsewhere")
    assert report.status == "nothing_to_do"
    assert "no table user" in report.warnings[0]


# -- words


async def test_an_unknown_migration_and_near_names(installation):
    await refusal(
        installation,
        UnknownName,
        r"no migration 'encrypt-users-data'.*Did you mean encrypt-user-data",
        name="encrypt-users-data",
    )
    async with engine(installation) as runner:
        with pytest.raises(UnknownName, match="no migration has run"):
            await runner.rollback("nonsense")


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (RunOptions(batch_size=0), "batch size 0"),
        (RunOptions(batch_size=-5), "batch size -5"),
        (RunOptions(workers=0), "0 workers"),
        (RunOptions(max_quarantine=-1), "max-quarantine -1"),
        (RunOptions(executor="cloud"), "cloud"),
        (attrs.evolve(RunOptions(), on_failure="shrug"), "shrug"),
    ],
)
async def test_options_that_mean_nothing(options, pattern, installation):
    await refusal(installation, UsageError, pattern, options=options)
    assert not await has_ledger(installation)


# -- two at once


@pytest.mark.parametrize("other", [NAME, "same-table"])
async def test_a_second_run_at_the_same_time_is_told_who_holds_it(other, installation):
    """The same migration, or another one on the same table; also a rollback of the living run."""

    class SameTable(Typo):
        name = "same-table"
        columns = ("twoFactorSecret",)

    waits = anyio.Event()
    application = await asyncpg.connect(installation)
    transaction = application.transaction()
    await transaction.start()
    await application.execute("SELECT FROM bank_accounts")  # in the way of the widening
    try:
        async with engine(installation, SameTable) as first, engine(installation, SameTable) as second:
            first.events.subscribe(lambda event: waits.set() if isinstance(event, Waiting) else None)
            async with anyio.create_task_group() as group:
                group.start_soon(first.run, NAME)
                with anyio.fail_after(20):
                    await waits.wait()
                (record,) = await second.status()
                assert (record.status, record.alive) == ("running", True)
                with pytest.raises(LeaseHeld, match=f"{record.run_id} .*{record.owner}") as caught:
                    await second.run(other)
                assert_harmless(caught.value)
                assert "datamig status" in caught.value.todo
                with pytest.raises(LeaseHeld):
                    await second.rollback(record.run_id)
                await transaction.rollback()
            assert (await first.status())[0].status == "succeeded"
    finally:
        await application.close()

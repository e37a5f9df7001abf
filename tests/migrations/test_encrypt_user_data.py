"""encrypt-user-data: before -> dry run -> run -> rollback -> before, and every kind of value on the way."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import anyio
import attrs
import pytest

from taaxdog_datamig import RunOptions
from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto.keyring import derive_kid
from taaxdog_datamig.crypto.keytext import stretch
from taaxdog_datamig.errors import PreflightFailed, QuarantineExceeded
from tests.sample import (
    KEY,
    LEGACY_KEY,
    NAME,
    allowing,
    cells,
    engine,
    has_ledger,
    meant,
    open_token,
    rows,
    script,
    seal_legacy,
    state,
)

NODE = shutil.which("node")
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "field-token.md"
NODE_MAIN = """
import { readFileSync } from "node:fs";
import { openFieldToken } from "./reader.mjs";
const { kid, master, tokens } = JSON.parse(readFileSync(0, "utf8"));
const keys = { [kid]: Buffer.from(master, "hex") };
console.log(JSON.stringify(tokens.map(([token, ...place]) => openFieldToken(token, ...place, keys))));
"""


async def test_a_dry_run_tells_what_the_run_will_do_and_leaves_nothing_behind(sample):
    before = await state(sample)
    async with engine(sample) as runner:
        dry = await runner.run(NAME, RunOptions(dry_run=True))
        assert await state(sample) == before
        assert not await has_ledger(sample)
        assert (dry.status, dry.run_id) == ("succeeded", None)
        assert await runner.history() == []
        real = await runner.run(NAME)
    assert (real.changed_rows, real.estimated_rows) == (dry.changed_rows, dry.estimated_rows)
    assert [(t.table, t.changed_rows, t.skipped_rows) for t in dry.tables] == [
        (t.table, t.changed_rows, t.skipped_rows) for t in real.tables
    ]


async def test_every_value_opens_to_what_it_was_and_null_and_empty_stay(pristine, sealed_sample, tmp_path):
    before, after = await cells(pristine), await cells(sealed_sample)
    assert before.keys() == after.keys()
    wrong = [
        place
        for place, text in after.items()
        if (open_token(text, *place) if text else text) != meant(before[place])
    ]
    assert wrong == []
    if NODE is not None:
        opened = await open_with_node(sealed_sample, tmp_path)
        assert [place for place, text in opened.items() if text != meant(before[place])] == []
    # The rest of each row, and every other table, is as it was.
    left, right = await state(pristine), await state(sealed_sample)
    changed = {name for name in left if left[name] != right[name]} - {"catalog"}
    assert changed == {"users", "basiq_users", "bank_accounts"}
    query = "SELECT md5(string_agg(({})::text, '' ORDER BY id)) FROM users AS t"
    rest = query.format("to_jsonb(t) - '{tfn,taxFileNumber,twoFactorSecret}'::text[]")
    assert await rows(pristine, rest) == await rows(sealed_sample, rest)


async def open_with_node(dsn, folder):
    """Every token opened by the reader of the documentation, straight from the table."""
    after = {place: text for place, text in (await cells(dsn)).items() if text}
    (reader,) = re.findall(r"```js\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (folder / "reader.mjs").write_text(reader, "utf-8")
    (folder / "main.mjs").write_text(NODE_MAIN, "utf-8")
    tokens = [[text, table, column, [key]] for (table, column, key), text in after.items()]
    given = {"kid": tokens[0][0].split(":")[2], "master": KEY, "tokens": tokens}
    assert NODE is not None
    done = await anyio.run_process(
        [NODE, str(folder / "main.mjs")],
        input=json.dumps(given).encode(),
    )
    return dict(zip(after, json.loads(done.stdout), strict=True))


async def test_a_rollback_gives_back_every_checksum_and_every_definition(pristine, sealed_sample):
    async with engine(sealed_sample) as runner:
        dry = await runner.rollback(NAME, dry_run=True)
        report = await runner.rollback(NAME)
        (record,) = await runner.history()
    assert (report.restored_rows, report.conflicts) == (dry.restored_rows, dry.conflicts)
    assert await state(sealed_sample) == await state(pristine)
    assert record.status == "rolled_back"
    assert record.affected_rows == 0


async def test_a_rollback_leaves_alone_and_lists_what_the_application_changed_since(pristine, sealed_sample):
    before = await cells(pristine)
    ((kept,), (gone,)) = await rows(
        sealed_sample, "SELECT id FROM users WHERE tfn LIKE 'encrypted:%' ORDER BY id LIMIT 2"
    )
    await script(
        sealed_sample,
        f"UPDATE users SET tfn = '648188480' WHERE id = '{kept}';"
        f"SET session_replication_role = replica; DELETE FROM users WHERE id = '{gone}'",
    )
    async with engine(sealed_sample) as runner:
        report = await runner.rollback(NAME)
    assert (report.conflicts, report.warnings) == (2, ())
    assert {table: sorted(keys) for table, keys in report.conflict_keys.items()} == {
        "users": sorted([kept, gone])
    }
    after = await cells(sealed_sample)
    differing = {place for place in before if before[place] != after.get(place, "gone")}
    assert differing == {("users", "tfn", kept)} | {place for place in before if place[2] == gone}
    assert after["users", "tfn", kept] == "648188480"
    assert (await state(sealed_sample))["catalog"] == (await state(pristine))["catalog"]


async def test_a_column_stays_wide_while_a_row_that_was_left_alone_needs_it(sealed_sample):
    long = "a value that the application wrote since"
    await script(
        sealed_sample,
        f"UPDATE bank_accounts SET bsb = '{long}' WHERE id = (SELECT min(id::text) FROM bank_accounts)::uuid",
    )
    async with engine(sealed_sample) as runner:
        report = await runner.rollback(NAME)
    assert report.conflicts == 1
    (warning,) = report.warnings
    assert "bank_accounts" in warning
    assert long not in warning
    types = dict(
        await rows(
            sealed_sample,
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid IN ('bank_accounts'::regclass, 'basiq_users'::regclass)"
            " AND attname IN ('bsb', 'mobile')",
        )
    )
    assert types == {"bsb": "text", "mobile": "character varying(20)"}


async def test_counts_are_exact_in_report_ledger_and_history(pristine, sealed_sample):
    expected = {}
    for table, columns in {
        "users": '"tfn", "taxFileNumber", "twoFactorSecret"',
        "basiq_users": "mobile, NULL",
        "bank_accounts": "account_number, bsb",
    }.items():
        query = f"SELECT count(*) FROM {table} WHERE concat({columns}) <> ''"
        ((expected[table],),) = await rows(pristine, query)
    ((report,),) = await rows(sealed_sample, "SELECT report FROM datamig.runs")
    report = json.loads(report)
    assert {table["table"]: table["changed_rows"] for table in report["tables"]} == expected
    sums = dict(await rows(sealed_sample, "SELECT relation, sum(changed) FROM datamig.chunks GROUP BY 1"))
    assert {name.partition(".")[2].strip('"'): int(total) for name, total in sums.items()} == expected
    async with engine(sealed_sample) as runner:
        (record,) = await runner.history()
        assert await runner.status() == [record]
    total = sum(expected.values())
    assert (record.affected_rows, record.estimated_rows, report["changed_rows"]) == (total, total, total)
    assert (record.migration, record.status, record.quarantined_rows) == (NAME, "succeeded", 0)
    assert (record.version, record.error, record.control, record.owner) == ("1.0.0", None, None, None)
    assert record.completed_at is not None
    assert record.completed_at > record.started_at
    assert record.run_id in record.rollback
    assert {"role", "os_user", "host", "pid", "version"} <= record.actor.keys()


async def test_a_second_run_says_already_run_and_force_finds_nothing_to_change(sealed_sample):
    before = await state(sealed_sample)
    async with engine(sealed_sample) as runner:
        again = await runner.run(NAME)
        assert (again.status, again.changed_rows) == ("already_run", 0)
        assert "already run" in again.warnings[0]
        forced = await runner.run(NAME, RunOptions(force=True))
        assert (forced.status, forced.changed_rows, forced.quarantined_rows) == ("succeeded", 0, 0)
        assert forced.skipped_rows == 0  # see test_encrypt_again.py
        assert [record.affected_rows > 0 for record in await runner.history()] == [False, True]
        # A run that changed nothing does not stand in the way of the first one's rollback.
        await runner.rollback((await runner.history())[1].run_id)
    assert (await state(sealed_sample))["catalog"] != before["catalog"]


USERS = 'CREATE TABLE users (id text PRIMARY KEY, tfn text, "taxFileNumber" text, "twoFactorSecret" text);'
LOOKS_LIKE_BASE64 = "QWxhZGRpbjpvcGVuIHNlc2FtZSBhbmQgdGhlIHJlc3Qgb2YgdGhlIHRhbGUgaXMga25vd24="


def sealed(table, column, key, value, *, master=KEY):
    ring = Keyring.of(MasterKey(derive_kid(bytes.fromhex(master)), bytes.fromhex(master)))
    return ring.field(table, column).seal(value, (key,))


async def fill(dsn, values, *, table="users", column="tfn"):
    statements = [
        f"INSERT INTO {table} (id, {column}) VALUES ('{key}', '{value}');" for key, value in values.items()
    ]
    await script(dsn, "".join(statements))


PASS_PHRASE = "the application's own pass phrase, 2019"
SPELLINGS = {
    "hex": (LEGACY_KEY.hex(), LEGACY_KEY),
    "base64": ("QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=", LEGACY_KEY),
    "pass phrase": (PASS_PHRASE, stretch(PASS_PHRASE, "the test")),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_values_the_application_sealed_are_sealed_anew(spelling, database, keyed, monkeypatch):
    """Whatever the spelling of its key; with and without the prefix; under our own key, too."""
    text, key = SPELLINGS[spelling]
    monkeypatch.setenv("FIELD_ENCRYPTION_LEGACY_KEY", text)
    await script(database, USERS)
    values = {
        "bare": seal_legacy("123456782", key),
        "prefixed": "encrypted:" + seal_legacy("876543210", key),
        "our own key": seal_legacy("648188480", bytes.fromhex(KEY)),
    }
    await fill(database, values)
    async with engine(database) as runner:
        report = await runner.run(NAME)
        assert report.changed_rows == 3
        opened = {key: open_token(text, "users", "tfn", key) for key, text in await tfns(database)}
        assert opened == {"bare": "123456782", "prefixed": "876543210", "our own key": "648188480"}
        await runner.rollback(NAME)
    assert dict(await tfns(database)) == values


async def tfns(dsn):
    return await rows(dsn, "SELECT id, tfn FROM users")


@pytest.fixture
async def mixed(database, keyed):
    """A table with a value of every kind; URL and the values."""
    values = {
        "plain": "123456782",
        "base64 look": LOOKS_LIKE_BASE64,
        "token": sealed("users", "tfn", "token", "648188499"),
        "malformed": "encrypted:v1:junk",
        "no token": "encrypted:648188519",
        "moved": sealed("users", "tfn", "elsewhere", "648188527"),
        "other column": sealed("users", "taxFileNumber", "other column", "648188535"),
        "unknown key": sealed("users", "tfn", "unknown key", "37118629", master="ab" * 31 + "cd"),
        "empty": "",
    }
    await script(database, USERS + "INSERT INTO users VALUES ('null');")
    await fill(database, values)
    return database, values


REFUSED = {
    "malformed": "malformed",
    "no token": "malformed",
    "moved": "does-not-open",
    "other column": "does-not-open",
    "unknown key": "foreign-key-id",
}


async def test_each_kind_of_value_is_told_apart_by_opening_it(mixed):
    dsn, values = mixed
    async with engine(dsn) as runner:
        report = await runner.run(NAME, allowing(5))
        assert (report.changed_rows, report.quarantined_rows) == (2, 5)
        refused = {record.key[0]: record.code for record in await runner.quarantine(NAME)}
        assert refused == REFUSED
        assert (await runner.history())[0].quarantined_rows == 5
    after = dict(await tfns(dsn))
    for key in ("plain", "base64 look"):
        assert open_token(after.pop(key), "users", "tfn", key) == values[key]
    assert after.pop("null") is None
    # Everything else stays as it was, byte for byte: valid tokens, refused ones, the empty string.
    assert after == {key: values[key] for key in after}


async def test_over_the_error_budget_the_run_fails_and_is_rolled_back(mixed):
    dsn, values = mixed
    before = await state(dsn)
    async with engine(dsn) as runner:
        dry = await runner.run(NAME, RunOptions(dry_run=True))
        assert dry.quarantined_rows == 5
        assert any("--max-quarantine" in warning for warning in dry.warnings)
        with pytest.raises(QuarantineExceeded, match="max-quarantine") as caught:
            await runner.run(NAME, allowing(1))
        (record,) = await runner.history(failed=True)
        assert record.status == "rolled_back"
        assert record.error.startswith("2 rows were refused, 1 are allowed. ")
        assert caught.value.what.endswith("; what the run had changed was rolled back")
        # Nothing stands in the way of another try.
        assert (await runner.run(NAME, allowing(5))).status == "succeeded"
        await runner.rollback(NAME)
    assert await state(dsn) == before
    assert not [value for value in values.values() if value and value in str(caught.value)]


async def test_a_run_paused_after_the_widening_is_gone_on_with_and_undone_to_the_old_widths(mixed):
    dsn, values = mixed
    await script(
        dsn,
        "CREATE TABLE bank_accounts (id int PRIMARY KEY, bsb varchar(10));"
        "INSERT INTO bank_accounts SELECT n, '062-000' FROM generate_series(1, 20) AS n",
    )
    before = await state(dsn)
    async with engine(dsn) as runner:
        pinned = json.loads(json.dumps(attrs.asdict(await runner.plan(NAME))))
        with pytest.raises(QuarantineExceeded):
            await runner.run(NAME, RunOptions(on_failure="pause"))
    assert (await rows(dsn, "SELECT count(*) FROM bank_accounts WHERE bsb = '062-000'"))[0][0] == 20
    async with engine(dsn) as runner:
        # The pinned plan knew the columns narrow, as they were when the run began.
        report = await runner.run(NAME, RunOptions(max_quarantine=5, pinned_plan=pinned))
        assert (report.resumed, report.changed_rows) == (True, 22)
        for number, text in await rows(dsn, "SELECT id::text, bsb FROM bank_accounts"):
            assert open_token(text, "bank_accounts", "bsb", number) == "062-000"
        assert (await runner.rollback(NAME)).restored_rows == 22
    assert await state(dsn) == before
    assert dict(await tfns(dsn)) == {**values, "null": None}


async def test_an_older_installation_is_sealed_where_it_has_something(database, keyed):
    """users.mobile exists, a sensitive column and two tables are missing: said, not crashed over."""
    await script(
        database,
        "CREATE TABLE users (id bigint PRIMARY KEY, tfn text, mobile varchar(20), two_factor_secret text);"
        "INSERT INTO users VALUES (7, '123456782', '0491570006', 'JBSWY3DPEHPK3PXP');"
        'CREATE TABLE bank_accounts (id int PRIMARY KEY, "accountNumber" varchar(500));'
        "INSERT INTO bank_accounts VALUES (1, '12345678')",
    )
    async with engine(database) as runner:
        report = await runner.run(NAME)
    ((tfn, mobile, secret),) = await rows(database, "SELECT tfn, mobile, two_factor_secret FROM users")
    assert open_token(tfn, "users", "tfn", "7") == "123456782"
    assert open_token(mobile, "users", "mobile", "7") == "0491570006"
    assert open_token(secret, "users", "twoFactorSecret", "7") == "JBSWY3DPEHPK3PXP"
    ((account, kind),) = await rows(
        database, 'SELECT "accountNumber", pg_typeof("accountNumber")::text FROM bank_accounts'
    )
    assert open_token(account, "bank_accounts", "account_number", "1") == "12345678"
    assert kind == "character varying"  # wide enough as it was
    said = "\n".join(report.warnings)
    for missing in ("users.taxFileNumber", "bank_accounts.bsb", "basiq_users"):
        assert f"{missing} is not in this database" in said
    assert "users.mobile is not" not in said


async def test_a_database_without_any_of_it_is_not_applicable(database, keyed):
    async with engine(database) as runner:
        plan = await runner.plan(NAME)
        report = await runner.run(NAME)
        (state,) = [found for found in await runner.states() if found.name == NAME]
    assert not plan.applicable
    assert plan.reason
    assert (report.status, report.changed_rows) == ("nothing_to_do", 0)
    assert (state.applicable, state.pending) == (False, None)
    assert not await has_ledger(database)


async def test_renamed_and_partitioned_tables_of_another_schema(database, keyed):
    """Tokens carry the logical names; a partitioned table is worked on partition by partition."""
    await script(
        database,
        'CREATE SCHEMA "App"; CREATE TABLE "App".people (no bigint, tax_no text, part int,'
        " PRIMARY KEY (no, part)) PARTITION BY LIST (part);"
        'CREATE TABLE "App"."people-1" PARTITION OF "App".people FOR VALUES IN (1);'
        'CREATE TABLE "App"."people-2" PARTITION OF "App".people FOR VALUES IN (2);'
        "INSERT INTO \"App\".people VALUES (1, '123456782', 1), (1, '876543210', 2), (2, '648188480', 2);"
        'CREATE TABLE "App".konten (id uuid PRIMARY KEY, bsb varchar(10), part int) ;'
        'CREATE TABLE "App".bank_accounts (id int, bsb varchar(7), PRIMARY KEY (id)) PARTITION BY HASH (id);'
        'CREATE TABLE "App".b0 PARTITION OF "App".bank_accounts FOR VALUES WITH (MODULUS 2, REMAINDER 0);'
        'CREATE TABLE "App".b1 PARTITION OF "App".bank_accounts FOR VALUES WITH (MODULUS 2, REMAINDER 1);'
        "INSERT INTO \"App\".bank_accounts SELECT n, '062-000' FROM generate_series(1, 20) AS n",
    )
    profile = {
        "schema": "App",
        "tables": {"users": {"names": ["people"], "columns": {"tfn": {"names": ["tax_no"]}}}},
    }
    before = await state(database)
    async with engine(database, profile=profile) as runner:
        await runner.run(NAME, RunOptions(dry_run=True))
        assert await state(database) == before
        report = await runner.run(NAME)
        assert {table.table: table.changed_rows for table in report.tables} == {
            "users": 3,
            "bank_accounts": 20,
        }
        for no, part, text in await rows(database, 'SELECT no, part, tax_no FROM "App".people'):
            expected = {(1, 1): "123456782", (1, 2): "876543210", (2, 2): "648188480"}[no, part]
            assert open_token(text, "users", "tfn", str(no), str(part)) == expected
        for number, text in await rows(database, 'SELECT id, bsb FROM "App".bank_accounts'):
            assert open_token(text, "bank_accounts", "bsb", str(number)) == "062-000"
        await runner.rollback(NAME)
    assert await state(database) == before


async def test_an_index_on_a_sensitive_column_is_warned_about(database, keyed):
    await script(database, USERS + "CREATE INDEX by_tfn ON users (lower(tfn)) WHERE tfn <> ''")
    await fill(database, {"a": "123456782"})
    async with engine(database) as runner:
        plan = await runner.plan(NAME)
    assert any("by_tfn" in warning for warning in plan.warnings)
    assert plan.tables[0].indexes == ("by_tfn",)


async def test_a_unique_index_is_refused_unless_its_loss_is_allowed(database, keyed):
    await script(database, USERS + "ALTER TABLE users ADD CONSTRAINT one_tfn UNIQUE (tfn)")
    await fill(database, {"a": "123456782", "b": "876543210"})
    before = await state(database)
    async with engine(database) as runner:
        with pytest.raises(PreflightFailed, match=r"one_tfn.*allow_unique_index_loss"):
            await runner.run(NAME)
    assert await state(database) == before
    assert not await has_ledger(database)
    async with engine(database, allow_unique_index_loss=True) as runner:
        assert (await runner.run(NAME)).changed_rows == 2


async def test_other_string_types_are_sealed_and_given_back(database, keyed):
    """citext, char(n), a domain over varchar(n), a domain over a domain."""
    await script(
        database,
        "CREATE EXTENSION citext; CREATE DOMAIN tfn_text AS varchar(11); CREATE DOMAIN old_tfn AS tfn_text;"
        'CREATE TABLE users (id char(4) PRIMARY KEY, tfn tfn_text, "taxFileNumber" char(11),'
        ' "twoFactorSecret" citext, mobile old_tfn);'
        "INSERT INTO users VALUES ('a', '123456782', '876543210', 'Secret', '0491570006'),"
        " ('b', '', '', '', ''), ('c', NULL, NULL, NULL, NULL);",
    )
    before = await state(database)
    async with engine(database) as runner:
        dry = await runner.run(NAME, RunOptions(dry_run=True))
        assert await state(database) == before
        report = await runner.run(NAME)
        assert (dry.changed_rows, report.changed_rows) == (1, 1)
        ((key, *texts),) = await rows(
            database,
            'SELECT id::text, tfn, "taxFileNumber", "twoFactorSecret"::text, mobile FROM users'
            " WHERE id = 'a'",
        )
        columns = ("tfn", "taxFileNumber", "twoFactorSecret", "mobile")
        opened = [
            open_token(text, "users", name, key.rstrip()) for name, text in zip(columns, texts, strict=True)
        ]
        assert opened == ["123456782", "876543210", "Secret", "0491570006"]
        await runner.rollback(NAME)
    assert await state(database) == before

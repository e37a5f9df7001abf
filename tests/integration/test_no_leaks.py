"""P5: no sensitive plaintext outside its column, whatever a run meets; and no key material anywhere."""

from __future__ import annotations

import base64
import hashlib
import logging
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import attrs
import orjson
import pytest
import zstandard

from taaxdog_datamig import Changes, ColumnMigration, RunOptions
from taaxdog_datamig.engine.runpage import run_html
from taaxdog_datamig.errors import DatamigError, QuarantineExceeded, ServerRefused
from taaxdog_datamig.events import RunFinished
from taaxdog_datamig.monitoring import EventLog, FailureHooks, Textfiles
from tests.sample import KEY, LEGACY_KEY, NAME, allowing, engine, rows, script, seal_legacy, told

PLANTED = {
    "tfn": "123456782",
    "legacy tfn": "876543210",
    "malformed tfn": "648188519",
    "tfn of 8 digits": "37118655",
    "older tfn": "648188480",
    "secret": "JBSWY3DPEHPK3PXP",
    "phone": "+61491570006",
    "refused phone": "0491570157",
    "account": "9180273645",
    "bsb": "062-947",
    "written since": "648188535",
}
#: Quoted by a trigger of the application's own, which the server's log shows whoever runs the statement.
QUOTED = "648188527"
SECRETS = [KEY, LEGACY_KEY.hex(), base64.b64encode(bytes.fromhex(KEY)).decode(), repr(bytes.fromhex(KEY))]

TABLES = f"""
CREATE TABLE users (id text PRIMARY KEY, tfn text, "taxFileNumber" text, "twoFactorSecret" text);
INSERT INTO users VALUES
  ('u1', '{PLANTED["tfn"]}', '{PLANTED["older tfn"]}', '{PLANTED["secret"]}'),
  ('u2', '{seal_legacy(PLANTED["legacy tfn"])}', NULL, ''),
  ('u3', 'encrypted:{PLANTED["malformed tfn"]}', NULL, NULL),
  ('u4', '{PLANTED["tfn of 8 digits"]}', NULL, NULL),
  ('u5', '{QUOTED}', NULL, NULL);
CREATE TABLE basiq_users (id int PRIMARY KEY, mobile varchar(20));
INSERT INTO basiq_users VALUES (1, '{PLANTED["phone"]}'), (2, '{PLANTED["refused phone"]}');
CREATE TABLE bank_accounts (id int PRIMARY KEY, account_number varchar(50), bsb varchar(10));
INSERT INTO bank_accounts
  SELECT n, '{PLANTED["account"]}', '{PLANTED["bsb"]}' FROM generate_series(1, 9) AS n;
ALTER TABLE basiq_users ADD CONSTRAINT as_it_was CHECK (id <> 2 OR mobile = '{PLANTED["refused phone"]}');
CREATE FUNCTION quoting() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF OLD.tfn = '{QUOTED}' THEN RAISE EXCEPTION 'not for %', OLD.tfn; END IF; RETURN NEW; END $$;
CREATE TRIGGER quoting BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION quoting();
"""


class Clumsy(ColumnMigration):
    """Everything a user's code may do wrong with a value in its hands."""

    name = "clumsy"
    version = "1.0.0"
    description = "Quotes what it reads."
    table = "users"
    columns = ("tfn",)
    pending = "tfn IS NOT NULL"

    def transform(self, row):
        match row.key[0]:
            case "u1":
                raise ValueError(f"cannot parse {row['tfn']} in {row}")
            case "u2":
                return Changes(tfn=[object()])
            case "u4":
                raise KeyError(row["tfn"]) from ValueError(row["tfn"])
        return Changes({row["tfn"]: "a value in the place of a name"})


def spellings(value):
    """A value as it may be hidden in text: itself, hex, base64 at each offset, and unkeyed hashes."""
    data = value.encode()
    yield value
    yield data.hex()
    for offset in range(3):
        # What stands before and behind decides the first and last characters.
        text = base64.b64encode(b"\0" * offset + data).decode().rstrip("=")
        yield text[-(-offset * 8 // 6) : len(text) - (1 if (offset + len(data)) % 3 else 0)]
    for algorithm in ("md5", "sha1", "sha256", "sha512", "blake2b"):
        digest = hashlib.new(algorithm, data).digest()
        yield digest.hex()
        yield base64.b64encode(digest).decode().rstrip("=")


NEEDLES = {
    spelling: name for name, value in {**PLANTED, "quoted": QUOTED}.items() for spelling in spellings(value)
} | dict.fromkeys(SECRETS, "a key")


def found_in(text, needles=NEEDLES):
    """Which planted values are in a text. Never the text itself."""
    lower = text.lower()
    return sorted(
        {name for spelling, name in needles.items() if spelling in text or spelling.lower() in lower}
    )


#: The form of a blob that is compressed only, and the magic number of zstd (RFC 8878).
COMPRESSED = b"\x01\x28\xb5\x2f\xfd"


async def ledger_dump(dsn):
    """Every value of every table of schema `datamig`: by column, as text; bytes as hex, and decompressed."""
    tables = await rows(dsn, "SELECT tablename FROM pg_tables WHERE schemaname = 'datamig' ORDER BY 1")
    dump = {}
    for (table,) in tables:
        for record in await rows(dsn, f'SELECT * FROM datamig."{table}"'):
            for column, value in record.items():
                texts = dump.setdefault(f"{table}.{column}", [])
                if isinstance(value, bytes):
                    texts += [value.hex(), value.decode("latin-1"), base64.b64encode(value).decode()]
                    if value.startswith(COMPRESSED):  # one hash in 256 begins with 1, too
                        texts.append(zstandard.decompress(value[1:]).decode("latin-1"))
                else:
                    texts.append(str(value))
    return dump


@pytest.fixture
def heard(caplog):
    """What is logged at DEBUG, by anybody."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "asyncpg", "taaxdog_datamig"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def log_text(records):
    formatter = logging.Formatter("%(message)s")
    return "\n".join(f"{formatter.format(record)} {record.args!r} {record.__dict__!r}" for record in records)


def server_log(dsn):
    """The embedded server's log so far; empty for a server of somebody else's."""
    (folder,) = parse_qs(urlsplit(dsn).query).get("host", ["/nowhere"])
    paths = [path for path in Path(folder).glob("**/server.log") if path.is_file()]
    return "\n".join(path.read_text("utf-8", "replace") for path in paths)


def test_the_needles_find_what_is_hidden():
    """This test's own eyes: each spelling of a planted value is seen in what surrounds it."""
    value = PLANTED["tfn"]
    for offset in range(3):
        hidden = base64.b64encode(b"x" * offset + value.encode() + b"tail").decode()
        assert found_in(hidden) == ["tfn"]
    assert found_in(f'{{"a":"{value}"}}'.encode().hex().upper()) == ["tfn"]
    assert found_in(hashlib.sha256(value.encode()).hexdigest()) == ["tfn"]
    assert found_in("nothing 123-456") == []


def check_monitors(events, folder, run_id, clumsy):
    """What they said of each end, and that it holds no value."""
    ends = [event for event in events if isinstance(event, RunFinished)]
    assert [(end.migration, end.action, end.status, end.error) for end in ends] == [
        (NAME, "run", "succeeded", None),  # dry
        (NAME, "run", "rolled_back", "QuarantineExceeded"),
        ("clumsy", "run", "rolled_back", clumsy),
        (NAME, "run", "succeeded", None),
        (NAME, "rollback", "rolling_back", "ServerRefused"),
        (NAME, "rollback", "rolled_back", None),
    ]
    assert [end.run_id for end in ends[3:]] == [run_id] * 3
    said = [path.read_text() for path in (folder / "called", *(folder / "metrics").iterdir())]
    assert said[0].count("datamig/failure/1") == 3
    assert found_in("\n".join(said)) == []


async def test_no_planted_value_and_no_key_is_anywhere_but_in_its_column(database, keyed, heard, tmp_path):
    """After a dry run, a failed run, a run with quarantine, a custom migration's blunders, a refusal by the
    server, and a rollback with conflicts."""
    await script(database, TABLES)
    said_before = len(server_log(database))
    shown = []
    events = []
    async with engine(database, Clumsy) as runner:
        hooks = FailureHooks(command=("sh", "-c", f"cat >> {tmp_path}/called"))
        for monitor in (EventLog(), Textfiles(tmp_path / "metrics"), hooks, events.append):
            runner.events.subscribe(monitor)

        def keep(report):
            shown.append(repr(report) + orjson.dumps(attrs.asdict(report), default=str).decode())
            return report

        keep(await runner.plan(NAME))
        dry = keep(await runner.run(NAME, RunOptions(dry_run=True)))
        assert dry.quarantined_rows == 3
        assert dry.columns["bank_accounts"] == {"account_number": 9, "bsb": 9}
        assert {row.table for row in dry.preview} == {"users", "basiq_users", "bank_accounts"}
        keep(await runner.plan("clumsy"))
        with pytest.raises(QuarantineExceeded) as caught:
            await runner.run(NAME, RunOptions(batch_size=2))
        shown.append(told(caught.value))
        with pytest.raises(DatamigError) as caught:
            await runner.run("clumsy", allowing(9))
        clumsy = caught.value
        shown.append(told(clumsy))
        done = keep(await runner.run(NAME, allowing(3)))
        assert (done.changed_rows, done.quarantined_rows) == (13, 3)
        details = keep(await runner.details(done.run_id))
        assert sum(point.rows for point in details.timeline) == 13
        shown.append(run_html(details))
        # The server refuses for a reason that is nobody's row, in words that quote one.
        await script(
            database,
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'stopped at %', '{QUOTED}' USING ERRCODE = 'XX999'; END $$;"
            "CREATE TRIGGER stop BEFORE UPDATE ON bank_accounts FOR EACH ROW EXECUTE FUNCTION stop();"
            f"UPDATE users SET tfn = '{PLANTED['written since']}' WHERE id = 'u4'",
        )
        with pytest.raises(ServerRefused, match="XX999") as caught:
            await runner.rollback(done.run_id)
        shown.append(told(caught.value))
        await script(database, "DROP TRIGGER stop ON bank_accounts")
        back = keep(await runner.rollback(done.run_id))
        assert back.conflict_keys == {"users": ["u4"]}
        shown += [repr(record) for record in await runner.history()]
        shown += [repr(record) for record in await runner.quarantine(done.run_id)]
        shown += [repr(runner), repr(runner.db), repr(runner.settings)]
    for place, texts in (await ledger_dump(database)).items():
        assert (place, found_in("\n".join(texts))) == (place, [])
    assert found_in("\n".join(shown)) == []
    assert found_in("\n".join(map(repr, events))) == []
    hooks.close()
    check_monitors(events, tmp_path, done.run_id, type(clumsy).__name__)
    assert heard.records
    assert found_in(log_text(heard.records)) == []
    others = {spelling: name for spelling, name in NEEDLES.items() if name != "quoted"}
    said = server_log(database)[said_before:]
    assert found_in(said, others) == []
    # And in their columns they are, as they were.
    ((tfn, account),) = await rows(
        database,
        "SELECT (SELECT tfn FROM users WHERE id = 'u1'), (SELECT min(account_number) FROM bank_accounts)",
    )
    assert (tfn, account) == (PLANTED["tfn"], PLANTED["account"])


async def test_a_before_image_does_not_open_without_the_key(sealed_sample):
    """What is kept for the rollback is sealed: compressed only, it would hold every value."""
    images = [image for (image,) in await rows(sealed_sample, "SELECT image FROM datamig.before_images")]
    assert images
    assert {image[:1] for image in images} == {b"\x02"}
    connection = await asyncpg.connect(sealed_sample)
    try:
        assert await connection.fetchval("SELECT count(*) FROM datamig.runs WHERE kid IS NULL") == 0
    finally:
        await connection.close()

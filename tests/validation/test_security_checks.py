"""Security: each check finds exactly what was planted for it, and says what is wrong with a token."""

from __future__ import annotations

import logging
import re
from collections import defaultdict

import anyio
import asyncpg
import attrs
import orjson
import pytest
from planting import result, validated

from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto.keyring import derive_kid
from taaxdog_datamig.demo.report import fault_counts, sensitive_counts
from taaxdog_datamig.validation import ExaminedCheck, validator
from taaxdog_datamig.validation.checks import builtin_checks, security
from tests.sample import KEY, LEGACY_KEY, engine, rows, script, seal_legacy

KEYS = {"field_encryption_key": KEY, "field_encryption_legacy_key": LEGACY_KEY.hex()}
KID = derive_kid(bytes.fromhex(KEY))
RING = Keyring.of(MasterKey(KID, bytes.fromhex(KEY)))
#: Of the same name, and another key.
IMPOSTOR = Keyring.of(MasterKey(KID, bytes(32)))
STRANGER = Keyring.of(MasterKey("lost-2019", bytes(range(1, 33))))
TFN, OTHER = "123456782", "876543210"
#: 44 characters of base64, and no legacy token; and 43, the shortest there could be.
LOOKALIKE, SHORTEST = "VGhpcyBpcyBwbGFpbiB0ZXh0LCBub3QgYSB0b2tlbiE=", "A" * 43
SECRET, ACCOUNT, BSB, MOBILE = "JBSWY3DPEHPK3PXP", "9180273645", "062-947", "+61491570156"


def seal(key, value=TFN, *, ring=RING, table="users", column="tfn"):
    return ring.field(table, column).seal(value, (key,))


def altered(token):
    """The token with one character of its body changed."""
    body = token.rindex(":") + 20
    return token[:body] + ("A" if token[body] != "A" else "B") + token[body + 1 :]


#: Key, what stands in `users.tfn`, and the rule it breaks.
TOKENS = [
    ("right", seal("right"), None),
    ("null", None, None),
    ("empty", "", None),
    ("plain", TFN, "plaintext-tfn:users.tfn"),
    ("spaced", "123 456 782", "plaintext-tfn:users.tfn"),
    ("blank", " ", "plaintext-tfn:users.tfn"),
    ("42 characters", "A" * 42, "plaintext-tfn:users.tfn"),
    ("prose", "the number is on the form, filed in the second drawer", "plaintext-tfn:users.tfn"),
    ("lookalike", LOOKALIKE, "plaintext-tfn:users.tfn.opaque"),
    ("43 characters", SHORTEST, "plaintext-tfn:users.tfn.opaque"),
    ("quoted", f'"{LOOKALIKE}"', "plaintext-tfn:users.tfn.opaque"),
    ("legacy", seal_legacy(OTHER), "legacy-token:users.tfn"),
    ("legacy, prefixed", "encrypted:" + seal_legacy(OTHER), "legacy-token:users.tfn"),
    ("of another row", seal("right"), "token-does-not-open:users.tfn"),
    ("of another column", seal("of another column", column="taxFileNumber"), "token-does-not-open:users.tfn"),
    (
        "of another table",
        seal("of another table", table="basiq_users", column="mobile"),
        "token-does-not-open:users.tfn",
    ),
    ("another key's", seal("another key's", ring=IMPOSTOR), "token-does-not-open:users.tfn"),
    ("damaged", altered(seal("damaged")), "token-does-not-open:users.tfn"),
    ("with a blank", seal("with a blank") + " ", "token-malformed:users.tfn"),
    ("of a lost key", seal("of a lost key", ring=STRANGER), "token-unknown-key:users.tfn"),
    ("cut short", seal("cut short")[:40], "token-malformed:users.tfn"),
    ("prefix only", "encrypted:", "token-malformed:users.tfn"),
    ("prefix in front", f"encrypted:{TFN}", "token-malformed:users.tfn"),
    ("sealed twice", seal_legacy(seal("sealed twice")), "token-malformed:users.tfn"),
]
BCRYPT = "$2b$10$abcdefghijklmnopqrstuuGGgFFcYeueaAql8Z7U7CnCTRw4DR77W"
PASSWORDS = [
    ("bcrypt", BCRYPT, None),
    ("no password", None, None),
    ("empty password", "", None),
    ("unusable", "!", None),
    ("wrapped", f"$datamig$v1$md5$hex{BCRYPT}", None),
    ("md5", "5f4dcc3b5aa765d61d8327deb882cf99", "password-legacy"),
    ("upper", "5F4DCC3B5AA765D61D8327DEB882CF99", "password-legacy"),
    ("sha512", "0123456789abcdef" * 8, "password-legacy"),
    ("33 digits", "5f4dcc3b5aa765d61d8327deb882cf990", "password-unknown"),
    ("mixed", "5F4dcc3b5aa765d61d8327deb882cf99", "password-unknown"),
    ("in the clear", "correct horse battery staple", "password-unknown"),
    ("bcrypt with a blank", f"{BCRYPT} ", "password-unknown"),
    ("salted", "md5:pepper:5f4dcc3b5aa765d61d8327deb882cf99", "password-unknown"),
]
PAST, FUTURE = "2024-02-29 23:59:59.999", "2099-12-31"
TABLES = """
CREATE TABLE users (
    id text PRIMARY KEY, tfn text, "taxFileNumber" text, "twoFactorSecret" text, password text,
    "passwordResetToken" text, "passwordResetExpires" timestamp(3),
    "emailVerificationToken" text, "emailVerificationExpires" timestamp(3));
CREATE TABLE basiq_users (id int PRIMARY KEY, mobile text);
CREATE TABLE bank_accounts (id int PRIMARY KEY, account_number text, bsb varchar(10));
CREATE TABLE sessions (id text PRIMARY KEY, "sessionToken" text, expires timestamp(3));
CREATE TABLE verification_tokens (identifier text, token text PRIMARY KEY, expires timestamp(3));
CREATE TABLE password_reset_tokens (id text PRIMARY KEY, token text, expires timestamp(3));
"""
OTHERS = f"""
INSERT INTO users (id, "twoFactorSecret", "taxFileNumber") VALUES
    ('2fa', '{SECRET}', NULL), ('2fa empty', '', ''),
    ('2fa sealed', '{seal("2fa sealed", SECRET, column="twoFactorSecret")}', NULL),
    ('older', NULL, '{OTHER}');
INSERT INTO basiq_users VALUES (1, '{MOBILE}'), (2, ''), (3, NULL),
    (4, '{seal("3", MOBILE, table="basiq_users", column="mobile")}');
INSERT INTO bank_accounts VALUES (1, '{ACCOUNT}', '{BSB}'), (2, NULL, ''),
    (3, '{seal("3", ACCOUNT, table="bank_accounts", column="account_number")}', NULL);
INSERT INTO users (id, "passwordResetToken", "passwordResetExpires", "emailVerificationToken",
    "emailVerificationExpires") VALUES
  ('reset past', 'r1', '{PAST}', NULL, NULL), ('reset due', 'r2', '{FUTURE}', NULL, NULL),
  ('reset without expiry', 'r3', NULL, NULL, NULL),
  ('verification past', NULL, NULL, 'v1', '{PAST}'), ('verification due', NULL, NULL, 'v2', '{FUTURE}');
INSERT INTO sessions VALUES
    ('session past', 's1', '{PAST}'), ('session due', 's2', '{FUTURE}'), ('never', 's3', NULL);
INSERT INTO verification_tokens VALUES ('a', 'vt1', '{PAST}'), ('b', 'vt2', '{FUTURE}');
INSERT INTO password_reset_tokens VALUES ('token past', 't1', '{PAST}'), ('token due', 't2', '{FUTURE}');
"""
EXPECTED = {
    "plaintext-two-factor-secret:users.twoFactorSecret": {"2fa"},
    "plaintext-tfn:users.taxFileNumber": {"older"},
    "plaintext-sensitive:basiq_users.mobile": {"1"},
    "token-does-not-open:basiq_users.mobile": {"4"},
    "plaintext-sensitive:bank_accounts.account_number": {"1"},
    "plaintext-sensitive:bank_accounts.bsb": {"1"},
    "expired-session:sessions.expires": {"session past"},
    "expired-reset-token:password_reset_tokens.expires": {"token past"},
    "expired-reset-token:users.passwordResetToken": {"reset past"},
    "expired-verification-token:users.emailVerificationToken": {"verification past"},
    # Its key is a token: rows are counted, not named.
    "expired-verification-token:verification_tokens.expires": set(),
}


async def build(dsn):
    await script(dsn, TABLES + OTHERS)
    connection = await asyncpg.connect(dsn)
    try:
        given = [(key, tfn, None) for key, tfn, _ in TOKENS] + [
            (key, None, text) for key, text, _ in PASSWORDS
        ]
        await connection.executemany("INSERT INTO users (id, tfn, password) VALUES ($1, $2, $3)", given)
    finally:
        await connection.close()


def expected():
    keys = defaultdict(set, {check: set(keys) for check, keys in EXPECTED.items()})
    for key, _, check in [*TOKENS, *PASSWORDS]:
        if check:
            keys[check].add(key)
    return dict(keys)


async def build_and_validate(dsn, **settings):
    await build(dsn)
    return await validated(dsn, settings=settings, categories=["security"])


@pytest.fixture(scope="module")
def planted(databases):
    dsn = databases.create()
    yield dsn, anyio.run(lambda: build_and_validate(dsn, **KEYS))
    databases.drop(dsn)


def test_each_check_finds_exactly_what_was_planted_for_it(planted):
    _, report = planted
    found = {each.id: set(each.sample_keys) for each in report.checks if each.failed}
    assert found == expected()
    counts = {each.id: each.violations for each in report.checks if each.failed}
    assert counts == {check: len(keys) or 1 for check, keys in expected().items()}
    assert report.errors == ()


def test_every_rule_was_broken(planted):
    _, report = planted
    assert {each.rule for each in report.checks if each.failed} == {rule.id for rule in security.RULES}


def test_a_sealed_value_that_opens_breaks_no_rule(planted):
    _, report = planted
    named = {key for each in report.checks for key in each.sample_keys}
    assert named.isdisjoint(
        {"right", "null", "empty", "2fa sealed", "2fa empty", "bcrypt", "wrapped", "unusable"}
    )


async def test_without_a_key_certain_plaintext_is_told_and_the_rest_is_said_to_be_unknown(planted):
    dsn, seen = planted
    report = await validated(dsn, categories=["security"])
    for each in report.checks:
        if each.id.startswith(("legacy-token", "token-")) or each.id.endswith(".opaque"):
            assert "no encryption key is configured" in (each.skipped or each.id)
        else:
            assert each.skipped == result(seen, each.id).skipped
            assert each.violations == result(seen, each.id).violations


async def test_an_applications_own_digests_are_legacy_once_they_are_described(planted):
    dsn, _ = planted
    form = {
        "name": "prefixed",
        "algorithm": "md5",
        "order": "salt+password",
        "pattern": "md5:(?P<salt>[a-z]+):(?P<digest>[0-9a-f]{32})",
    }
    report = await validated(
        dsn, settings={"legacy_passwords": (form,)}, checks=["password-legacy", "password-unknown"]
    )
    assert set(result(report, "password-legacy").sample_keys) == {"md5", "upper", "sha512", "salted"}
    assert set(result(report, "password-unknown").sample_keys) == (
        expected()["password-unknown"] - {"salted"}
    )


async def test_tokens_of_a_table_without_a_key_are_not_looked_at_and_that_is_said(database):
    await script(
        database, f"CREATE TABLE users (id text, tfn text); INSERT INTO users VALUES ('u', '{seal('u')}')"
    )
    report = await validated(database, settings=KEYS, checks=["token-does-not-open"], tables=["users"])
    assert "no primary key" in result(report, "token-does-not-open:users.tfn").skipped


def shown(report):
    """Every form in which people see a report, the rules' own words left out."""
    report = attrs.evolve(report, rules=())
    return "\n".join([repr(report), str(report), orjson.dumps(attrs.asdict(report), default=str).decode()])


def test_no_value_is_in_the_report(planted):
    _, report = planted
    values = [TFN, "123 456 782", OTHER, LOOKALIKE, SHORTEST, SECRET, ACCOUNT, BSB, MOBILE]
    values += [text for _, text, _ in [*TOKENS, *PASSWORDS] if text and len(text) > 8]
    values += ["s1", "vt1", "correct horse"]
    told = shown(report)
    assert [value for value in values if value in told] == []


async def test_a_check_whose_code_quotes_a_value_says_only_that_it_failed(planted, monkeypatch, caplog):
    dsn, _ = planted

    def quote(row):
        raise ValueError(f"{row.found('tfn').plaintext} in {row!r}")

    clumsy = ExaminedCheck(
        rule=security.TOKEN_MALFORMED,
        table="users",
        part="clumsy",
        suspect="{tfn} <> ''",
        looked_at=("tfn",),
        violated=quote,
        needs_keys=True,
    )
    monkeypatch.setattr(validator, "builtin_checks", lambda scene: [*builtin_checks(scene), clumsy])
    with caplog.at_level(logging.DEBUG):
        report = await validated(dsn, settings=KEYS, checks=["token-malformed", "legacy-token"])
    failed = result(report, "token-malformed:clumsy")
    assert (failed.error, failed.violations) == ("its code raised ValueError", 0)
    assert not report.valid
    assert TFN not in shown(report) + caplog.text
    assert result(report, "legacy-token:users.tfn").violations == 2, "the others go on"


async def many(dsn, *, bad):
    """3,000 tokens of which `bad` are those of other rows, and three legacy ones."""
    await script(dsn, "CREATE TABLE users (id text PRIMARY KEY, tfn text)")
    values = [(f"u{n}", seal(f"u{n}" if n >= bad else "elsewhere")) for n in range(3_000)]
    values += [(f"legacy{n}", seal_legacy(OTHER)) for n in range(3)]
    connection = await asyncpg.connect(dsn)
    try:
        await connection.copy_records_to_table("users", records=values, columns=["id", "tfn"])
    finally:
        await connection.close()


async def test_a_sample_says_what_share_it_took_and_what_its_finds_stand_for(database):
    await many(database, bad=600)
    report = await validated(database, settings=KEYS, examined=500, tables=["users"], categories=["security"])
    moved = result(report, "token-does-not-open:users.tfn")
    examined, total, found, likely = map(
        int, re.findall(r"\d+", re.sub(r"95 %", "", moved.note.replace(",", "")))
    )
    assert total == 3_000
    assert found == moved.violations == len(moved.sample_keys)
    # Five standard deviations.
    assert 400 < examined < 600
    assert 350 < likely < 850
    again = await validated(database, settings=KEYS, examined=500, tables=["users"], categories=["security"])
    assert result(again, moved.id) == moved, "the same rows are in it each time"


async def test_a_sample_without_a_find_says_how_sure_that_is(database):
    await many(database, bad=0)
    report = await validated(
        database, settings=KEYS, examined=1_000, tables=["users"], categories=["security"]
    )
    moved = result(report, "token-does-not-open:users.tfn")
    examined = int(moved.note.split()[0].replace(",", ""))
    share = float(re.search(r"fewer than ([\d.]+)%", moved.note)[1]) / 100
    assert "95 % confidence" in moved.note
    assert (1 - share) ** examined == pytest.approx(0.05, rel=0.05)
    # Each check has a sample of its own suspects: few of them are all looked at.
    legacy = result(report, "legacy-token:users.tfn")
    assert (legacy.violations, legacy.note) == (3, "")


SLOTS = {
    "bank_transactions.description_tfn": "tfn-in-text:bank_transactions.description",
    "bank_transactions.notes_tfn": "tfn-in-text:bank_transactions.notes",
    "tax_returns.data_tfn": "tfn-in-text:tax_returns.data",
    "users.password_md5": "password-legacy",
    "users.password_sha1": "password-legacy",
    "users.password_sha256": "password-legacy",
    "users.password_sha512": "password-legacy",
    "users.password_unknown": "password-unknown",
    "users.reset_token_expired": "expired-reset-token:users.passwordResetToken",
    "users.email_unverified": "expired-verification-token:users.emailVerificationToken",
    "sessions.expired": "expired-session:sessions.expires",
    "verification_tokens.expired": "expired-verification-token:verification_tokens.expires",
    "password_reset_tokens.expired": "expired-reset-token:password_reset_tokens.expires",
}
PLAINTEXT = {
    "users.tfn": "plaintext-tfn",
    "users.taxFileNumber": "plaintext-tfn",
    "users.twoFactorSecret": "plaintext-two-factor-secret",
    "basiq_users.mobile": "plaintext-sensitive",
    "bank_accounts.account_number": "plaintext-sensitive",
    "bank_accounts.bsb": "plaintext-sensitive",
}


def sample_counts(*, sealed):
    counts = defaultdict(int)
    for slot, check in SLOTS.items():
        counts[check] += fault_counts(1_000, faults=True)[slot]
    for column, rule in PLAINTEXT.items():
        if not sealed:
            held = sensitive_counts(1_000, legacy=True)[column]
            counts[f"{rule}:{column}"] += held.plaintext
            counts[f"legacy-token:{column}"] += held.legacy
    return {check: count for check, count in counts.items() if count}


async def test_the_samples_faults_are_found_as_often_as_they_are_there(pristine):
    report = await validated(pristine, settings=KEYS, categories=["security"])
    assert {each.id: each.violations for each in report.checks if each.failed} == sample_counts(sealed=False)


async def test_once_sealed_nothing_sensitive_is_readable_and_every_token_opens(sealed_sample):
    report = await validated(sealed_sample, settings=KEYS, categories=["security"])
    assert {each.id: each.violations for each in report.checks if each.failed} == sample_counts(sealed=True)


async def test_what_has_a_fix_is_fixed_by_it(sealed_sample, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path))
    async with engine(sealed_sample) as runner:
        await runner.run("cleanup-sessions")
    assert await rows(sealed_sample, "SELECT FROM users WHERE password ~ '^[0-9a-f]{32}$'")
    report = await validated(sealed_sample, settings=KEYS, categories=["security"])
    left = {each.rule for each in report.checks if each.failed}
    assert left == {"password-legacy", "password-unknown", "tfn-in-text"}

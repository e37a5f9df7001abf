from __future__ import annotations

import io
import logging
import sys

import orjson
import pytest

from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.redaction import RedactingFilter, configure_logging, install, redact

# Another one each time, so it must not become part of a test's name: pytest-xdist compares names.
TOKEN = Keyring.of(MasterKey("one", bytes(range(32)))).field("users", "tfn").seal("123456782", ["1"])

SECRETS = [
    "123456782",
    "123 456 782",
    "648-188-480",
    "648.188.499",
    "648\u00a0188\u00a0519",
    "37118629",
    "37 118 655",
    "51824753556",
    "51 824 753 556",
    "+61491570156",
    "+61 491 570 156",
    "0491 570 156",
    "(02) 5550 1234",
    "+61 (0)2 5550 1234",
    "4111 1111 1111 1111",
    "062-000",
    "062-000 12345678",
    "bob.smith+tax@example.com.au",
    # Named: a token differs from process to process, and xdist wants the same names in each.
    pytest.param(TOKEN, id="token"),
    "encrypted:garbage",
    "0123456789abcdef" * 4,
    "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=",
    "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83v/SNFZ4+rze8BI0VniavN7wEj",
    "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
    "$2b$12$abcdefghijklmnopqrstuuKk0pQ9p1J2x3y4z5A6B7C8D9E0F1G2H",
    "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2g",
]
AROUND = [
    "{}",
    "value {} of users",
    "tfn={}, next",
    "tfn={!r}",
    '{{"tfn": "{}"}}',
    "({})",
    "TFN:{};",
    "x\n{}\ny",
    "<{}>",
]

KEPT = [
    "550e8400-e29b-41d4-a716-446655440000",
    "12345678-1234-1234-1234-123456789012",
    "2026-11-23T07:57:20.123456+00:00",
    "2026-11-23 07:57:20,123",
    "2026-11-23",
    "20261123T075720Z",
    "07:57:20.123456",
    "12,345,678 rows",
    "1,234 of 10,000,000 rows in 12.5 s (0.123456789)",
    "blocks 1024..2047, 131072..262143",
    "pid 1234567",
    "key k12345678",
    "127.0.0.1:5432 and 192.168.100.200",
    "row cjld2cjxh0000qzrmn831i7rn of users.tfn",
    "/usr/local/lib/python3.11/site-packages/taaxdog_datamig/engine/executors/local.py, line 1234",
    "/home/Somebody/Projects/App2/very/long/folder/name/without/dots/in/it/at/all",
    "test_a_very_long_function_name_that_is_longer_than_base64_keys_are",
    "wrong password: the server refused it",
    "postgresql://app@db.internal:5432/taaxdog",
    "PostgreSQL 18.1 on x86_64-pc-linux-gnu, 64-bit",
]


@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
@pytest.mark.parametrize("around", AROUND)
def test_what_looks_sensitive_goes(secret, around):
    clean = redact(around.format(secret))
    assert secret not in clean
    assert sum(map(str.isdigit, clean)) == 0
    assert "[" in clean


@pytest.mark.parametrize("text", KEPT)
def test_what_makes_a_log_useful_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize("word", ["TFN123456782", "tfn_123456782_x", "user648188480", "id123456782abc"])
def test_a_number_grown_into_a_word_goes(word):
    assert sum(map(str.isdigit, redact(word))) == 0


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("postgresql://app:s3cr@t/x@db/taaxdog", "postgresql://app:[secret]@db/taaxdog"),
        ("host=db password=hunter2 user=app", "host=db password=[secret] user=app"),
        ("password='a b c' x", "password=[secret] x"),
        ('{"password": "a b c"}', '{"password": [secret]}'),
        ("FIELD_ENCRYPTION_KEY=short x", "FIELD_ENCRYPTION_KEY=[secret] x"),
        ("Key (name)=(Bob Smith) already exists.", "Key (name)=([row]) already exists."),
        ("DETAIL:  Failing row contains (a, Bob).\nnext", "DETAIL:  Failing row contains ([row])\nnext"),
        ("rows 12345678", "rows [number]"),
    ],
)
def test_passwords_and_the_servers_row_details_go_and_the_rest_stays(text, clean):
    assert redact(text) == clean


@pytest.fixture
def root():
    logger = logging.getLogger()
    level = logger.level
    yield logger
    logger.handlers[:] = []
    logger.setLevel(level)


def logging_to(stream: io.StringIO, log_format: str = "text") -> None:
    # pytest's own handlers, which hold raw records, come back for the next test by themselves.
    logging.getLogger().handlers[:] = []
    configure_logging("debug", log_format, stream)


def fail(error: Exception):
    raise error


def deepest(value):
    try:
        fail(ValueError(f"bad value {value}"))
    except ValueError as error:
        error.add_note(f"seen {value}")
        raise RuntimeError("row refused") from error


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("secret", SECRETS, ids=range(len(SECRETS)))
def test_no_road_into_the_log_carries_a_secret(root, log_format, secret):
    stream = io.StringIO()
    logging_to(stream, log_format)
    log = logging.getLogger("app.sub")
    log.info(f"in the message {secret}")  # noqa: G004 -- the mistake this is about
    log.info("in an argument %s and %r", secret, [secret])
    log.info("named %(tfn)s", {"tfn": secret})
    log.info("more arguments than places", secret)  # noqa: PLE1205 -- likewise
    log.info(
        "extra",
        extra={"tfn": secret, "nested": {secret: [(secret,), {secret}]}, "object": ValueError(secret)},
    )
    log.warning("with a stack", stack_info=True)
    try:
        deepest(secret)
    except RuntimeError:
        log.exception("failed")
    try:
        fail(ExceptionGroup("several", [ValueError(secret), KeyError(secret)]))
    except ExceptionGroup:
        log.exception("failed too")
    out = stream.getvalue()
    assert secret not in out
    assert ascii(secret)[1:-1] not in out
    assert "RuntimeError: row refused" in out
    assert "ValueError: bad value" in out
    if log_format == "json":
        assert all(isinstance(orjson.loads(line), dict) for line in out.splitlines())


def test_numbers_handed_over_as_numbers_go_too_and_small_ones_stay_numbers(root):
    stream = io.StringIO()
    logging_to(stream, "json")
    logging.getLogger("app").info(
        "tfn %d of %d",
        123456782,
        5,
        extra={"tfn": 123456782, "rows": 1200, "rate": 0.5, "done": True, "none": None},
    )
    line = orjson.loads(stream.getvalue())
    assert line["message"] == "tfn [number] of 5"
    assert line["tfn"] == "[number]"
    assert (line["rows"], line["rate"], line["done"], line["none"]) == (1200, 0.5, True, None)
    assert line["level"] == "info"
    assert line["logger"] == "app"
    assert line["ts"].endswith("+00:00")


def test_a_formatter_that_looks_at_the_live_exception_finds_none():
    record = logging.makeLogRecord({"msg": "failed"})
    try:
        deepest("123456782")
    except RuntimeError:
        record.exc_info = sys.exc_info()
    assert RedactingFilter().filter(record)
    assert record.exc_info is None
    assert record.args is None
    assert "123456782" not in str(vars(record))


def test_what_cannot_be_shown_does_not_break_the_caller(root):
    class Silent:
        def __str__(self):
            raise RuntimeError("no")

        __repr__ = __str__

    stream = io.StringIO()
    logging_to(stream, "json")
    logging.getLogger("app").info(
        "value %s", Silent(), extra={"value": Silent(), "half": "\ud800", "big": 10**5000}
    )
    line = orjson.loads(stream.getvalue())
    assert line["logger"].strip("'") == "app"


def test_configuring_again_replaces_the_handler_and_leaves_the_applications(root):
    theirs = logging.NullHandler()
    root.addHandler(theirs)
    first = configure_logging(" INFO ", stream=io.StringIO())
    second = configure_logging("warning", stream=io.StringIO())
    assert first not in root.handlers
    assert {theirs, second} <= set(root.handlers)
    assert root.level == logging.WARNING


def test_installing_twice_puts_one_filter():
    handler = logging.NullHandler()
    assert install(install(handler)) is handler
    assert len(handler.filters) == 1


@pytest.mark.parametrize("level", ["", "loud", "10", "notset"])
def test_an_unknown_level_is_a_settings_error(root, level):
    with pytest.raises(SettingsError, match="LOG_LEVEL"):
        configure_logging(level)

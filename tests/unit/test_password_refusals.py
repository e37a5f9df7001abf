"""Stored values that no password matches, and resets, which make such values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import bcrypt
import pytest

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.passwords import RESET_LIFETIME, new_reset_token, recognise, unusable, verify

MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"  # of "password"
BCRYPT = "$2{}${}$" + "." * 53


@pytest.mark.parametrize(
    "stored",
    [
        BCRYPT.format("x", 12),  # the mark of a faulty library's hashes
        BCRYPT.format("b", 12)[:-1],
        BCRYPT.format("b", 32),
        BCRYPT.format("b", 12) + "\n",
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$",
        "$argon2id$v=19$m=80000000,t=1,p=1$c2FsdHNhbHQ$" + "A" * 43,
        "pbkdf2_sha256$0$salt$" + "A" * 43 + "=",
        "pbkdf2_sha256$1000000000$salt$" + "A" * 43 + "=",
        "pbkdf2_md5$1000$salt$" + "A" * 22 + "==",
        MD5[:-1],
        MD5 + "\n",
        MD5[:-2] + "CF",
        "\u0665" * 32,
        "\ud800",
        "\0",
    ],
)
def test_unknown_values_match_nothing(stored):
    assert recognise(stored).kind == "unknown"
    assert not verify(stored, "password")
    assert not verify(stored, stored)


@pytest.mark.parametrize(
    "stored",
    [
        "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA",  # a tag of three bytes
        "$argon2id$v=19$m=8,t=0,p=1$c2FsdHNhbHQ$" + "A" * 43,
        "$argon2id$v=19$m=8,t=1,p=1$A$" + "A" * 43,
        "$scrypt$ln=99,r=8,p=1$c2FsdA$" + "A" * 43,
        "$scrypt$ln=30,r=9999,p=1$c2FsdA$" + "A" * 43,
        "$scrypt$ln=4,r=8,p=1$c2FsdA$AA",  # a key of one byte
        "$scrypt$ln=4,r=8,p=1$c$" + "A" * 43,
        "scrypt$0$salt$8$1$" + "A" * 86 + "==",
        "scrypt$15$salt$8$1$" + "A" * 86 + "==",  # no power of two
        "pbkdf2_sha256$1$salt$AA==",
        "pbkdf2_sha256$1$salt$A",
        "pbkdf2_sha256$1$\ud800$" + "A" * 43 + "=",
        "$pbkdf2-sha256$1$A$" + "A" * 43,
    ],
)
def test_modern_looking_values_whose_parts_make_no_sense_match_nothing(stored):
    assert recognise(stored).kind == "modern"
    assert verify(stored, "password") is False
    assert verify(stored, "") is False


def test_a_wrapped_value_whose_outer_hash_makes_no_sense_matches_nothing():
    stored = "$datamig$v1$md5$hex$argon2id$v=19$m=8,t=1,p=1$A$A"
    assert recognise(stored).kind == "wrapped"
    assert verify(stored, "password") is False


def test_null_the_empty_string_and_markers_match_nothing():
    djangos = "!N69V6yUmuTsZahheSk40zj8yE3E6jFoh3JchXwr2"
    for stored, kind in {None: "empty", "": "empty", "!": "unusable", djangos: "unusable"}.items():
        assert recognise(stored).kind == kind
        for candidate in ("", "!", "password", stored or ""):
            assert not verify(stored, candidate)
    assert recognise("!a password that begins so").kind == "unknown"


def test_each_unusable_marker_is_another_and_no_library_takes_it():
    first, second = unusable(), unusable()
    assert first != second
    assert recognise(first).kind == "unusable"
    assert not verify(first, first)
    with pytest.raises(ValueError, match="salt"):
        bcrypt.checkpw(b"x", first.encode())


def test_a_reset_token_is_long_random_and_expires():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    token = new_reset_token(now)
    assert token.expires == now + RESET_LIFETIME
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", token.token)
    assert new_reset_token(now).token != token.token
    assert token.token not in repr(token)
    assert new_reset_token(now, lifetime=timedelta(hours=1)).expires == now + timedelta(hours=1)


def test_a_reset_token_wants_a_time_with_a_zone_and_a_lifetime():
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    with pytest.raises(UsageError, match="time zone"):
        new_reset_token(now.replace(tzinfo=None))
    with pytest.raises(UsageError, match="lifetime"):
        new_reset_token(now, lifetime=timedelta(0))

from __future__ import annotations

import json
import os
import re
from binascii import b2a_base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from taaxdog_datamig.crypto import FieldCipher, Keyring, MasterKey
from taaxdog_datamig.errors import TokenError
from taaxdog_datamig.settings import Settings

TFN = "123456782"
ROW = ("cjld2cjxh0000qzrmn831i7rn",)
ONE = MasterKey("one", bytes(range(32)))
TWO = MasterKey("two", bytes(range(32, 64)))
VECTORS = json.loads((Path(__file__).parents[1] / "data" / "field-token-vectors.json").read_text("utf-8"))


@pytest.fixture
def tfn() -> FieldCipher:
    return Keyring.of(ONE, TWO).field("users", "tfn")


def found(cipher: FieldCipher, value: str | None, row=ROW) -> tuple[str, str | None]:
    answer = cipher.classify(value, row)
    return answer.kind, answer.plaintext


def test_a_token_opens_in_its_own_row_and_column_only(tfn):
    token = tfn.seal(TFN, ROW)
    assert tfn.open(token, ROW) == TFN
    assert found(tfn, token) == ("token", TFN)
    assert found(tfn, token, ("another",)) == ("does_not_open", None)
    assert found(Keyring.of(ONE).field("users", "taxFileNumber"), token) == ("does_not_open", None)
    assert found(Keyring.of(ONE).field("people", "tfn"), token) == ("does_not_open", None)


def test_the_primary_key_seals_and_every_key_opens(tfn):
    old = Keyring.of(TWO).field("users", "tfn").seal(TFN, ROW)
    assert found(tfn, old) == ("token", TFN)
    assert tfn.seal(TFN, ROW).startswith("encrypted:v1:one:")


def test_a_token_of_an_unknown_key_is_told_from_one_that_does_not_open(tfn):
    token = Keyring.of(MasterKey("three", bytes(range(64, 96)))).field("users", "tfn").seal(TFN, ROW)
    assert found(tfn, token) == ("foreign_key_id", None)
    assert found(tfn, token.replace(":three:", ":one:")) == ("does_not_open", None)


@pytest.mark.parametrize("value", [None, ""])
def test_null_and_the_empty_string_are_empty(tfn, value):
    assert found(tfn, value) == ("empty", None)


@pytest.mark.parametrize(
    "value", [TFN, "encrypted", "Encrypted:v1:one:x", "YWJj" * 20, "\u00e9" * 60, "a+b" * 30, " ", "v1:one:x"]
)
def test_what_opens_under_no_key_and_has_no_prefix_is_plaintext(tfn, value):
    assert found(tfn, value) == ("plaintext", value)


@pytest.mark.parametrize(
    "value",
    [
        "encrypted:",
        f"encrypted:{TFN}",
        "encrypted:v1:",
        "encrypted:v1:one:",
        "encrypted:v1:one:AAAA",
        "encrypted:v1:o ne:" + "A" * 40,
        "encrypted:" + "YWJj" * 20,
        "encrypted:v1:one:" + "\u00e9" * 40,
    ],
)
def test_a_prefix_without_a_token_is_malformed(tfn, value):
    assert found(tfn, value) == ("malformed", None)


@pytest.mark.parametrize("vector", VECTORS["legacy"], ids=["hex", "base64", "phrase", "phrase, empty"])
@pytest.mark.parametrize("prefix", ["", "encrypted:"])
def test_the_applications_values_are_recognised_by_opening_them(vector, prefix):
    settings = Settings(field_encryption_key=os.urandom(32).hex(), field_encryption_legacy_key=vector["key"])
    ring = Keyring.from_settings(settings)
    assert found(ring.field("users", "tfn"), prefix + vector["value"]) == ("legacy", vector["plaintext"])
    stranger = Keyring.of(ONE).field("users", "tfn")
    kind = "malformed" if prefix else "plaintext"
    assert found(stranger, prefix + vector["value"])[0] == kind


def test_a_master_key_opens_what_the_application_sealed_with_it():
    vector = VECTORS["legacy"][0]
    ring = Keyring.from_settings(Settings(field_encryption_key=vector["key"]))
    assert found(ring.field("users", "tfn"), vector["value"]) == ("legacy", vector["plaintext"])


def test_nothing_that_trails_a_legacy_value_is_dropped():
    vector = VECTORS["legacy"][0]
    cipher = Keyring.from_settings(Settings(field_encryption_key=vector["key"])).field("users", "tfn")
    for text in (vector["value"] + vector["value"], vector["value"] + ", see note", "x " + vector["value"]):
        assert found(cipher, text) == ("plaintext", text)


def test_a_value_sealed_by_the_application_over_a_token_is_malformed():
    iv = bytes(16)
    sealed = AESGCM(ONE.material).encrypt(iv, b"encrypted:abc", None)
    value = b2a_base64(iv + sealed[-16:] + sealed[:-16], newline=False).decode()
    assert found(Keyring.of(ONE).field("users", "tfn"), value) == ("malformed", None)


def test_nothing_is_sealed_twice(tfn):
    with pytest.raises(TokenError, match="sealed already"):
        tfn.seal(tfn.seal(TFN, ROW), ROW)


def test_half_a_surrogate_pair_is_refused_without_being_shown(tfn):
    with pytest.raises(TokenError) as caught:
        tfn.seal(TFN + "\ud800", ROW)
    assert TFN not in str(caught.value)


@pytest.mark.parametrize("row", ["abc", [], [1], ["a", 1], [None]])
def test_a_primary_key_that_is_not_text_columns_is_a_mistake(tfn, row):
    with pytest.raises(TypeError):
        tfn.seal(TFN, row)


def test_a_composite_key_is_not_its_parts_joined(tfn):
    token = tfn.seal(TFN, ("a", "b"))
    assert tfn.open(token, ["a", "b"]) == TFN
    for other in (("b", "a"), ("a",), ("ab",), ('["a","b"]',), ("a", "b", "")):
        assert found(tfn, token, other) == ("does_not_open", None)


def test_the_pattern_matches_well_formed_tokens_of_known_keys_only(tfn):
    pattern = re.compile(tfn.kid_pattern)
    good = [tfn.seal("x" * length, ROW) for length in range(40)]
    assert all(pattern.search(token) for token in good)
    foreign = Keyring.of(MasterKey("on", bytes(range(32)))).field("users", "tfn").seal(TFN, ROW)
    bad = [foreign, TFN, "", good[1] + "\n", " " + good[1], good[1] + "=", good[1] + " ", good[0][:-2]]
    bad += [good[0][:-1] + "B", good[1][:-1] + "B", good[9].replace("v1", "v2")]
    assert not any(pattern.search(text) for text in bad)


def test_what_the_pattern_takes_for_a_token_never_classifies_as_plaintext_or_malformed(tfn):
    token = tfn.seal(TFN, ROW)
    for end in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=":
        text = token[:-1] + end
        matched = re.search(tfn.kid_pattern, text) is not None
        assert matched == (found(tfn, text)[0] in {"token", "does_not_open"})


def test_no_error_or_repr_shows_a_value(tfn):
    token = tfn.seal(TFN, ROW)
    with pytest.raises(TokenError) as caught:
        tfn.open(token, ("other",))
    assert token not in str(caught.value)
    assert "users.tfn" in str(caught.value)
    assert TFN not in repr(tfn.classify(token, ROW))
    assert TFN not in repr(tfn.classify(TFN, ROW))
    assert "one" in repr(tfn)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_draws_other_nonces_than_its_parent(tfn):
    tfn.seal(TFN, ROW)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, tfn.seal(TFN, ROW).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        theirs = pipe.read()
    os.waitpid(child, 0)
    assert theirs[:36] != tfn.seal(TFN, ROW)[:36]
    assert tfn.open(theirs, ROW) == TFN

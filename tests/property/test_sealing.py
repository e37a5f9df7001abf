from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.crypto import BlobSealer, Keyring, MasterKey, base64url

RING = Keyring.of(MasterKey("one", bytes(range(32))), MasterKey("two-_2", bytes(range(32, 64))))
FIELD = RING.field("users", "tfn")
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
KEYS = st.lists(TEXT, min_size=1, max_size=4)


@given(TEXT.filter(lambda value: not value.startswith("encrypted:")), KEYS)
def test_any_text_comes_back_from_its_row(value, key):
    token = FIELD.seal(value, key)
    assert re.search(FIELD.kid_pattern, token)
    assert FIELD.open(token, key) == value
    found = FIELD.classify(token, key)
    assert (found.kind, found.plaintext) == ("token", value)


@given(KEYS, KEYS)
def test_a_token_opens_under_no_other_row_key(key, other):
    token = FIELD.seal("123456782", key)
    assert (FIELD.classify(token, other).kind == "token") == (key == other)


@given(st.data())
def test_a_token_with_any_character_changed_opens_no_more(data):
    token = FIELD.seal("123456782", ["1"])
    place = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda c: c != token[place]))
    found = FIELD.classify(token[:place] + character + token[place + 1 :], ["1"])
    assert found.kind in {"plaintext", "malformed", "foreign_key_id", "does_not_open"}


@given(st.text())
def test_any_stored_text_is_classified_without_error_and_plaintext_is_itself(value):
    found = FIELD.classify(value, ["1"])
    assert found.kind in {"empty", "plaintext", "malformed", "foreign_key_id"}
    assert found.plaintext == (value if found.kind == "plaintext" else None)


@given(st.binary())
def test_bytes_have_one_spelling(data):
    text = base64url.encode(data)
    assert base64url.decode(text) == data


@given(st.text("ABCQgw09-_+/= \n\u00e9", max_size=12))
def test_what_decodes_is_spelled_as_it_would_be_encoded(text):
    data = base64url.decode(text)
    assert data is None or base64url.encode(data) == text


@given(st.binary(max_size=2000), TEXT)
def test_any_payload_comes_back_from_a_blob(payload, context):
    for sealer in (BlobSealer(None), BlobSealer(bytes(32))):
        assert sealer.open(sealer.seal(payload, context), context) == payload

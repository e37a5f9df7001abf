from __future__ import annotations

import base64
import copy
import hashlib
import pickle

import pytest

from taaxdog_datamig.crypto import Keyring, MasterKey, derive_kid, generate_key
from taaxdog_datamig.crypto.keytext import parse_key, parse_legacy_key
from taaxdog_datamig.errors import KeyFormatError, KeyWrong, UsageError
from taaxdog_datamig.settings import Settings

A, B = bytes(range(32)), bytes(range(32, 64))
PHRASE = "correct horse battery staple"


def ring(**settings: str) -> Keyring:
    made = Keyring.from_settings(
        Settings(**{f"field_encryption_{name}": text for name, text in settings.items()})
    )
    assert made is not None
    return made


def scrypt(phrase: str) -> bytes:
    return hashlib.scrypt(phrase.encode(), salt=b"salt", n=16384, r=8, p=1, dklen=32, maxmem=64 << 20)


@pytest.mark.parametrize(
    "text",
    [
        A.hex(),
        A.hex().upper(),
        f" {A.hex()}\n",
        base64.b64encode(A).decode(),
        base64.urlsafe_b64encode(A).decode(),
    ],
)
def test_every_spelling_of_a_key_gives_the_same_key(text):
    assert ring(key=text).primary.material == A


def test_both_base64_alphabets_are_read():
    key = bytes([0xFB, 0xFF] * 16)
    for spell in (base64.b64encode, base64.urlsafe_b64encode):
        assert parse_key(spell(key).decode(), "KEY") == key


def test_a_pass_phrase_is_stretched_as_the_application_does_it():
    assert ring(key=PHRASE).primary.material == scrypt(PHRASE)
    assert parse_legacy_key("short", "KEY") == scrypt("short")


DAMAGED = [
    "",
    " ",
    "short",
    "short phrase",
    A.hex()[:-1],
    A.hex() + "0",
    A.hex()[:-1] + "g",
    A.hex()[:-1] + " " + "-",
    f'"{A.hex()}"',
    f"'{base64.b64encode(A).decode()}'",
    f"one:{A.hex()}",
    f"key={A.hex()} # the key",
    "base64:" + base64.b64encode(A).decode(),
    base64.b64encode(A).decode()[:-1],
    base64.b64encode(A).decode() + "=",
    base64.b64encode(A).decode()[:-2] + "==",
    A.hex(":"),
    A.hex(" "),
    "x" * 30,
    "correct horse battery staple with a few more",
    "\ud800 correct horse battery staple",
    "0" * 64,
    base64.b64encode(b"\xff" * 32).decode(),
]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_what_could_be_a_damaged_key_is_refused_and_never_quoted(text):
    with pytest.raises(KeyFormatError) as caught:
        ring(key=text)
    message = str(caught.value)
    assert "FIELD_ENCRYPTION_KEY" in message
    assert "datamig keys generate" in message
    assert not text.strip() or text.strip() not in message


def test_a_generated_key_is_accepted_and_new_each_time():
    one, two = generate_key(), generate_key()
    assert len(one) == 64
    assert one != two
    assert ring(key=one).primary.material.hex() == one


def test_an_id_is_derived_from_the_key_where_none_is_given():
    expected = "k" + hashlib.sha256(b"taaxdog_datamig/kid/v1|" + A).hexdigest()[:8]
    assert derive_kid(A) == expected
    assert ring(key=A.hex()).kids == (expected,)
    assert ring(keys=f"{A.hex()}\nnext:{B.hex()}").kids == (expected, "next")


@pytest.mark.parametrize("separator", [",", "\n", "\r\n", ",\n", " , "])
def test_keys_are_separated_by_commas_or_line_ends_and_the_first_is_primary(separator):
    made = ring(keys=f"new:{B.hex()}{separator}old:{A.hex()}{separator}")
    assert made.kids == ("new", "old")
    assert made.primary == MasterKey("new", B)


def test_keys_rule_and_the_single_key_is_added_for_reading():
    assert ring(keys=f"new:{B.hex()}", key=A.hex()).kids == ("new", derive_kid(A))
    assert ring(keys=f"new:{B.hex()},old:{A.hex()}", key=A.hex()).kids == ("new", "old")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"a:{A.hex()},a:{B.hex()}", "the id a"),
        (f"a:{A.hex()},b:{A.hex()}", "same key"),
        (f"a:{A.hex()},b:{B.hex()[:-1]}", "entry 2 of FIELD_ENCRYPTION_KEYS"),
        (f"{'i' * 33}:{A.hex()}", "entry 1 of FIELD_ENCRYPTION_KEYS"),
        (f"a b:{A.hex()}", "entry 1 of FIELD_ENCRYPTION_KEYS"),
        (",\n,", "holds no key"),
    ],
)
def test_entries_that_do_not_fit_are_named_by_their_place(text, says):
    with pytest.raises(KeyFormatError, match=says) as caught:
        ring(keys=text)
    assert A.hex()[:16] not in str(caught.value)


def test_without_a_key_to_seal_with_there_is_no_keyring():
    assert Keyring.from_settings(Settings()) is None
    assert Keyring.from_settings(Settings(field_encryption_legacy_key=PHRASE)) is None


@pytest.mark.parametrize(("kid", "material"), [("", A), ("a:b", A), ("a\n", A), ("x" * 33, A), ("a", A[:-1])])
def test_a_master_key_has_a_fitting_id_and_32_bytes(kid, material):
    with pytest.raises(KeyFormatError):
        MasterKey(kid, material)


def test_material_shows_nowhere_and_is_not_pickled_or_copied():
    made = Keyring.of(MasterKey("a", A))
    for shown in (repr(made), repr(made.primary), repr(made.field("users", "tfn"))):
        assert A.hex() not in shown
        assert repr(A)[2:20] not in shown
    for secret in (made, made.primary):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret)
        with pytest.raises(TypeError, match="not pickled"):
            copy.deepcopy(secret)


def test_an_empty_keyring_cannot_be_made():
    with pytest.raises(KeyFormatError):
        Keyring.of()


def test_a_column_has_one_cipher_and_a_name_without_the_separator():
    made = Keyring.of(MasterKey("a", A))
    assert made.field("users", "tfn") is made.field("users", "tfn")
    with pytest.raises(UsageError):
        made.field("users|tfn", "x")


def test_a_data_key_unwraps_in_its_context_under_its_key_only():
    made = Keyring.of(MasterKey("a", A), MasterKey("b", B))
    kid, wrapped = made.wrap(b"k" * 32, "run 1")
    assert kid == "a"
    assert made.unwrap(kid, wrapped, "run 1") == b"k" * 32
    assert b"k" * 32 not in wrapped
    for wrong in (
        ("a", wrapped, "run 2"),
        ("b", wrapped, "run 1"),
        ("c", wrapped, "run 1"),
        ("a", b"", "run 1"),
    ):
        with pytest.raises(KeyWrong):
            made.unwrap(*wrong)
    with pytest.raises(KeyWrong):
        Keyring.of(MasterKey("a", B)).unwrap("a", wrapped, "run 1")


def test_a_canary_tells_another_key_of_the_same_id():
    made = Keyring.of(MasterKey("a", A), MasterKey("b", B))
    for kid in made.kids:
        assert made.opens_canary(kid, made.canary(kid))
    canary = made.canary("a")
    assert not Keyring.of(MasterKey("a", B)).opens_canary("a", canary)
    assert not made.opens_canary("b", canary)
    assert not made.opens_canary("c", canary)
    assert not made.opens_canary("a", "garbage")
    assert not made.opens_canary("a", "")
    with pytest.raises(KeyWrong):
        made.canary("c")

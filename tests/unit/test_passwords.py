from __future__ import annotations

import json
import pickle
import re
from importlib import resources
from pathlib import Path

import bcrypt
import pytest

from taaxdog_datamig.demo.slots import SAMPLE_PASSWORD
from taaxdog_datamig.errors import KeyFormatError, KeyWrong, PasswordUnfit, UsageError
from taaxdog_datamig.passwords import (
    CHEAPEST_COST,
    DEFAULT_COST,
    Cost,
    LegacyForm,
    Pepper,
    hash_password,
    needs_rehash,
    recognise,
    verify,
    wrap,
)
from taaxdog_datamig.redaction import redact

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "password-hash-vectors.json").read_text("utf-8"))
PEPPER = Pepper({name: bytes.fromhex(secret) for name, secret in VECTORS["peppers"].items()})
MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"  # of "password"
SALTED = LegacyForm(
    name="md5-salted",
    pattern=r"^(?P<salt>[0-9a-f]{8}):(?P<digest>[0-9a-f]{32})$",
    algorithm="md5",
    order="salt+password",
)
# md5("5eed5a17" + SAMPLE_PASSWORD), as the first of the salted vectors has it.
SALTED_VALUE = "5eed5a17:" + next(v["digest"] for v in VECTORS["wrapped"] if v["why"] == "salt in front")


@pytest.mark.parametrize("vector", VECTORS["accepted"], ids=lambda v: f"{v['scheme']}, {v['source']}")
def test_published_and_foreign_values_are_recognised_and_verified(vector):
    found = recognise(vector["stored"])
    assert (found.kind, found.scheme) == (vector["kind"], vector["scheme"])
    assert verify(vector["stored"], vector["password"])
    assert not verify(vector["stored"], "x" + vector["password"])
    assert not verify(vector["stored"], "")


@pytest.mark.parametrize("vector", VECTORS["wrapped"], ids=lambda v: v["why"])
def test_wrapped_vectors_verify_and_are_spelled_in_the_one_way(vector):
    found = recognise(vector["stored"])
    assert found.kind == "wrapped"
    assert found.wrapped is not None
    assert found.wrapped.text == vector["stored"]
    assert found.scheme == ("wrapped-argon2id" if "argon2id" in vector["stored"] else "wrapped-bcrypt")
    assert verify(vector["stored"], vector["password"], pepper=PEPPER)
    assert not verify(vector["stored"], vector["password"] + "x", pepper=PEPPER)
    assert needs_rehash(vector["stored"])


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda v: v["why"])
def test_what_is_not_quite_a_wrapped_form_is_unknown_and_matches_nothing(vector):
    assert recognise(vector["stored"]).kind == "unknown"
    assert not verify(vector["stored"], SAMPLE_PASSWORD, pepper=PEPPER)
    assert not needs_rehash(vector["stored"])


def sample_values() -> list[str]:
    """Every password value that the sample's generator writes."""
    text = (resources.files("taaxdog_datamig.demo") / "rows" / "people.sql").read_text("utf-8")
    block = text[text.index("-- All of them hash one published password") : text.index("https://cdn")]
    whole = re.sub(r"'\s*\n\s*'", "", block)  # SQL joins literals over a line end
    return re.findall(r"'([^']{20,})'", whole)


def test_the_samples_password_verifies_against_every_known_form_of_it():
    values = sample_values()
    kinds = {value: recognise(value) for value in values}
    assert sorted(found.scheme for found in kinds.values()) == sorted(
        ["md5", "sha1", "sha256", "sha512", "unknown", "argon2id", "django-pbkdf2-sha256"] + 3 * ["bcrypt"]
    )
    for value, found in kinds.items():
        assert verify(value, SAMPLE_PASSWORD) == (found.kind != "unknown"), found.scheme
        assert not verify(value, SAMPLE_PASSWORD + "s"), found.scheme


@pytest.mark.parametrize("to", ["bcrypt", "argon2id"])
@pytest.mark.parametrize("pepper", [None, PEPPER], ids=["plain", "peppered"])
def test_wrapping_keeps_the_password(to, pepper):
    legacy = [value for value in sample_values() if recognise(value).kind == "legacy"]
    assert len(legacy) == 4
    for value in legacy:
        wrapped = wrap(value, to=to, cost=CHEAPEST_COST, pepper=pepper)
        assert recognise(wrapped).scheme == f"wrapped-{to}"
        assert verify(wrapped, SAMPLE_PASSWORD, pepper=pepper)
        assert not verify(wrapped, "Correct horse battery staple", pepper=pepper)
        assert not verify(wrapped, value, pepper=pepper)  # the digest itself opens nothing
        assert value not in wrapped
        assert wrap(value, to=to, cost=CHEAPEST_COST, pepper=pepper) != wrapped  # a salt of its own


def test_a_scheme_that_does_not_exist_is_refused_with_those_that_do():
    for make in (wrap, hash_password):
        with pytest.raises(UsageError, match=r"scrypt.*bcrypt, argon2id"):
            make(MD5, to="scrypt")


def test_upper_case_digests_wrap_like_lower_case_ones():
    assert verify(wrap(MD5.upper(), cost=CHEAPEST_COST), "password")


def test_the_default_costs_are_those_of_the_design():
    assert Cost(bcrypt_log_rounds=12, argon2_memory=19_456, argon2_passes=2, argon2_lanes=1) == DEFAULT_COST
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in wrap(MD5, to="argon2id")
    assert wrap(MD5).startswith("$datamig$v1$md5$hex$2b$12$")


@pytest.mark.parametrize(
    "wrong",
    [
        {"bcrypt_log_rounds": 3},
        {"bcrypt_log_rounds": 32},
        {"argon2_passes": 0},
        {"argon2_lanes": 0},
        {"argon2_memory": 15, "argon2_lanes": 2},
    ],
    ids=str,
)
def test_a_cost_out_of_bounds_is_refused(wrong):
    right = {"bcrypt_log_rounds": 4, "argon2_memory": 16, "argon2_passes": 1, "argon2_lanes": 1}
    with pytest.raises(UsageError, match="out of bounds"):
        Cost(**(right | wrong))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a password as it is",
        "!",
        VECTORS["accepted"][5]["stored"],
        VECTORS["wrapped"][0]["stored"],
        VECTORS["refused"][0]["stored"],
    ],
)
def test_only_legacy_values_are_wrapped_and_the_error_does_not_show_them(value):
    with pytest.raises(UsageError, match="cannot be wrapped") as caught:
        wrap(value)
    assert not value or value not in str(caught.value) or value == "!"


def test_a_pepper_that_is_not_configured_is_an_error_and_not_a_wrong_password():
    wrapped = wrap(MD5, cost=CHEAPEST_COST, pepper=PEPPER)
    assert "$hmac-sha384,2026$" in wrapped
    for given in (None, Pepper({"2027": b"another" * 8})):
        with pytest.raises(KeyWrong, match="pepper 2026 is not configured"):
            verify(wrapped, "password", pepper=given)


def test_another_secret_under_the_same_id_verifies_nothing():
    wrapped = wrap(MD5, cost=CHEAPEST_COST, pepper=PEPPER)
    assert not verify(wrapped, "password", pepper=Pepper({"2026": b"another" * 8}))


def test_after_a_rotation_the_new_secret_wraps_and_both_verify():
    old = Pepper({"old": b"o" * 32})
    both = Pepper({"new": b"n" * 32, "old": b"o" * 32})
    earlier, later = (wrap(MD5, cost=CHEAPEST_COST, pepper=pepper) for pepper in (old, both))
    assert "hmac-sha384,old$" in earlier
    assert "hmac-sha384,new$" in later
    assert verify(earlier, "password", pepper=both)
    assert verify(later, "password", pepper=both)


@pytest.mark.parametrize(
    "secrets",
    [
        {},
        {"": b"s" * 32},
        {"a$b": b"s" * 32},
        {"a,b": b"s" * 32},
        {"k" * 33: b"s" * 32},
        {"short": b"s" * 31},
    ],
    ids=["none", "no id", "$", ",", "long id", "short"],
)
def test_an_unfit_pepper_is_refused(secrets):
    with pytest.raises(KeyFormatError):
        Pepper(secrets)


def test_a_pepper_shows_its_ids_only_and_is_not_pickled():
    pepper = Pepper({"2026": b"the secret itself, 32 bytes long"})
    assert repr(pepper) == "Pepper(ids=('2026',))"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(pepper)


def test_a_long_password_is_cut_for_a_plain_bcrypt_hash_as_older_libraries_did():
    stored = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert verify(stored, "x" * 72)
    assert verify(stored, "x" * 100)
    assert not verify(stored, "x" * 71)
    # In bytes, not characters, and through the middle of one.
    stored = bcrypt.hashpw(("\u20ac" * 24).encode(), bcrypt.gensalt(4)).decode()
    assert verify(stored, "\u20ac" * 25)
    assert not verify(stored, "\u20ac" * 23)


def test_every_byte_of_a_long_password_counts_in_a_wrapped_value():
    vector = next(v for v in VECTORS["wrapped"] if "longer" in v["why"])
    assert len(vector["password"]) == 80
    assert not verify(vector["stored"], vector["password"][:79])
    assert not verify(vector["stored"], vector["password"] + "x")


@pytest.mark.parametrize("candidate", ["x" * 73, "\u20ac" * 25, "nul\0nul"], ids=["73", "75 bytes", "NUL"])
def test_bcrypt_takes_no_password_that_it_would_cut_and_argon2id_does(candidate):
    with pytest.raises(PasswordUnfit) as caught:
        hash_password(candidate, cost=CHEAPEST_COST)
    assert candidate not in str(caught.value)
    stored = hash_password(candidate, to="argon2id", cost=CHEAPEST_COST)
    assert verify(stored, candidate)
    assert not verify(stored, candidate + "x")


def test_half_a_surrogate_pair_is_no_password():
    for to in ("bcrypt", "argon2id"):
        with pytest.raises(PasswordUnfit):
            hash_password("\ud800", to=to, cost=CHEAPEST_COST)
    assert not verify(MD5, "\ud800")


@pytest.mark.parametrize("to", ["bcrypt", "argon2id"])
def test_a_new_hash_is_a_plain_one_of_the_scheme_and_needs_no_other(to):
    stored = hash_password("p\u00e4ssword", to=to, cost=CHEAPEST_COST)
    assert recognise(stored).scheme == to
    assert stored.startswith({"bcrypt": "$2b$04$", "argon2id": "$argon2id$v=19$m=8,t=1,p=1$"}[to])
    assert verify(stored, "p\u00e4ssword")
    assert not needs_rehash(stored, to=to, cost=CHEAPEST_COST)
    assert needs_rehash(stored, to=to)


BCRYPT = "$2{}${}$" + "." * 53
ARGON2 = "$argon2{}$v={}$m={},t={},p=1$c2FsdHNhbHQ$" + "A" * 43


@pytest.mark.parametrize(
    ("stored", "for_bcrypt", "for_argon2id"),
    [
        (BCRYPT.format("b", 12), False, True),
        (BCRYPT.format("a", 14), False, True),
        (BCRYPT.format("y", 11), True, True),
        (ARGON2.format("id", 19, 19_456, 2), False, False),
        (ARGON2.format("id", 19, 65_536, 3), False, False),
        (ARGON2.format("id", 19, 19_455, 2), True, True),
        (ARGON2.format("id", 19, 19_456, 1), True, True),
        (ARGON2.format("id", 16, 19_456, 2), True, True),
        (ARGON2.format("i", 19, 19_456, 2), True, True),
        ("pbkdf2_sha256$900000$salt$" + "A" * 43 + "=", True, True),
        ("bcrypt$" + BCRYPT.format("b", 12), True, True),
        (MD5, True, True),
        (SALTED_VALUE, True, True),
        (None, False, False),
        ("", False, False),
        ("!" + "A" * 40, False, False),
        ("unknown", False, False),
    ],
)
def test_what_needs_a_new_hash(stored, for_bcrypt, for_argon2id):
    assert recognise(stored, forms=[SALTED]).kind != "unknown" or stored == "unknown"
    assert needs_rehash(stored, forms=[SALTED]) == for_bcrypt
    assert needs_rehash(stored, to="argon2id", forms=[SALTED]) == for_argon2id


@pytest.mark.parametrize(
    "vector", VECTORS["accepted"] + VECTORS["wrapped"], ids=lambda v: v.get("why") or v["source"]
)
def test_no_repr_shows_a_value_and_the_redaction_removes_it(vector):
    found = recognise(vector["stored"])
    shown = " ".join(map(repr, (found, found.legacy, found.wrapped, found.modern)))
    secret_part = vector["stored"].lower().rpartition("$")[2]
    assert secret_part not in shown.lower()
    assert secret_part not in redact(f"stored {vector['stored']} for row 17").lower()

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from taaxdog_datamig.demo.slots import SAMPLE_PASSWORD
from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.passwords import CHEAPEST_COST, LegacyForm, recognise, verify, wrap

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "password-hash-vectors.json").read_text("utf-8"))
MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"  # of "password"
SALTED = LegacyForm(
    name="md5-salted",
    pattern=r"^(?P<salt>[0-9a-f]{8}):(?P<digest>[0-9a-f]{32})$",
    algorithm="md5",
    order="salt+password",
)
# md5("5eed5a17" + SAMPLE_PASSWORD), as the first of the salted vectors has it.
SALTED_VALUE = "5eed5a17:" + next(v["digest"] for v in VECTORS["wrapped"] if v["why"] == "salt in front")


def test_a_form_of_the_application_is_verified_wrapped_and_then_needed_no_more():
    assert recognise(SALTED_VALUE).kind == "unknown"
    assert not verify(SALTED_VALUE, SAMPLE_PASSWORD)
    found = recognise(SALTED_VALUE, forms=[SALTED])
    assert (found.kind, found.scheme) == ("legacy", "md5-salted")
    assert verify(SALTED_VALUE, SAMPLE_PASSWORD, forms=[SALTED])
    wrapped = wrap(SALTED_VALUE, cost=CHEAPEST_COST, forms=[SALTED])
    assert wrapped.startswith("$datamig$v1$md5,sp,3565656435613137$hex$2b$04$")
    assert verify(wrapped, SAMPLE_PASSWORD)
    assert not verify(wrapped, "5eed5a17" + SAMPLE_PASSWORD)


@pytest.mark.parametrize(
    ("value", "form"),
    [
        # sha1("salt" + "password" + "salt"), the salt in hex and the digest in base64
        (
            "{X}73616c74:Bpj4YkjJWSWJAFuot/Hi6Tg5ZM8=",
            LegacyForm(
                name="both-sides",
                pattern=r"\{X\}(?P<salt>[0-9a-f]+):(?P<digest>.+)",
                algorithm="sha1",
                order="salt+password+salt",
                salt_encoding="hex",
                digest_encoding="base64",
            ),
        ),
        # LDAP's unsalted SHA-1
        (
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            LegacyForm(
                name="ldap-sha",
                pattern=r"\{SHA\}(?P<digest>.+)",
                algorithm="sha1",
                digest_encoding="base64",
            ),
        ),
        # md5("password" + "salt"), the salt in base64 without padding
        (
            "b305cadbb3bce54f3aa59c64fec00dea$c2FsdA",
            LegacyForm(
                name="behind",
                pattern=r"(?P<digest>[^$]+)\$(?P<salt>.*)",
                algorithm="md5",
                order="password+salt",
                salt_encoding="base64",
            ),
        ),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_orders_and_encodings(value, form):
    assert verify(value, "password", forms=[form])
    assert not verify(value, "Password", forms=[form])
    assert verify(wrap(value, cost=CHEAPEST_COST, forms=[form]), "password")
    assert pickle.loads(pickle.dumps(form)) == form


def test_an_empty_salt_is_none():
    form = LegacyForm(
        name="django-md5",
        pattern=r"md5\$(?P<salt>[^$]*)\$(?P<digest>[0-9a-f]{32})",
        algorithm="md5",
        order="salt+password",
    )
    wrapped = wrap(f"md5$${MD5}", cost=CHEAPEST_COST, forms=[form])
    assert wrapped.startswith("$datamig$v1$md5$hex$")
    assert verify(wrapped, "password")


def test_a_form_may_read_hex_digits_in_another_way_but_never_claims_a_modern_or_wrapped_value():
    greedy = LegacyForm(name="greedy", pattern=r"(?s)(?P<digest>.+)", algorithm="sha224")
    assert recognise("0" * 56, forms=[greedy]).scheme == "greedy"
    assert recognise(MD5, forms=[greedy]).scheme == "md5"  # of another length than SHA-224
    reader = LegacyForm(name="truncated", pattern=r"(?P<digest>[0-9a-f]{32})", algorithm="md5")
    assert recognise(MD5, forms=[reader]).scheme == "truncated"
    for vector in VECTORS["wrapped"] + [v for v in VECTORS["accepted"] if v["kind"] == "modern"]:
        assert recognise(vector["stored"], forms=[greedy]).kind in {"wrapped", "modern"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "md5"}, "built in"),
        ({"name": "argon2id"}, "built in"),
        ({"name": "Two Words"}, "does not fit"),
        ({"pattern": "(?P<digest>"}, "no regular expression"),
        ({"pattern": None}, "no regular expression"),
        ({"pattern": "(?P<digest>.+)"}, "digest, salt"),
        ({"pattern": "(?P<digest>.+)(?P<salt>.+)", "order": "password"}, "must be: digest"),
        ({"algorithm": "crc32"}, "algorithm"),
        ({"order": "pepper+password"}, "order"),
        ({"salt_encoding": "rot13"}, "salt_encoding"),
        ({"digest_encoding": "text"}, "digest_encoding"),
    ],
    ids=str,
)
def test_a_form_that_makes_no_sense_is_refused_with_what_is_wrong(wrong, said):
    right = {
        "name": "mine",
        "pattern": "(?P<digest>.+)(?P<salt>.+)",
        "algorithm": "md5",
        "order": "salt+password",
    }
    LegacyForm(**right)
    with pytest.raises(SettingsError, match=said):
        LegacyForm(**(right | wrong))


def test_no_repr_shows_a_salt():
    found = recognise(SALTED_VALUE, forms=[SALTED])
    wrapped = recognise(wrap(SALTED_VALUE, cost=CHEAPEST_COST, forms=[SALTED]))
    for shown in (repr(found.legacy), repr(wrapped.wrapped)):
        assert "5eed5a17" not in shown

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from taaxdog_datamig.errors import PasswordUnfit
from taaxdog_datamig.passwords import (
    CHEAPEST_COST,
    LegacyForm,
    Pepper,
    hash_password,
    needs_rehash,
    recognise,
    verify,
    wrap,
)
from taaxdog_datamig.passwords.legacy import Inner

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "password-hash-vectors.json").read_text("utf-8"))
PEPPER = Pepper({name: bytes.fromhex(secret) for name, secret in VECTORS["peppers"].items()})
PASSWORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
ALGORITHMS = st.sampled_from(["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
ORDERS = st.sampled_from(["password", "salt+password", "password+salt", "salt+password+salt"])
SCHEMES = st.sampled_from(["bcrypt", "argon2id"])
PEPPERS = st.sampled_from([None, PEPPER])


@given(PASSWORDS, PASSWORDS, ALGORITHMS, ORDERS, st.binary(min_size=1), SCHEMES, PEPPERS)
def test_what_was_wrapped_verifies_with_its_password_and_no_other(
    password, other, algorithm, order, salt, to, pepper
):
    salted = order != "password"
    inner = Inner(algorithm=algorithm, order=order, salt=salt if salted else b"")
    form = LegacyForm(
        name="mine",
        pattern=r"(?P<salt>[0-9a-f]+):(?P<digest>[0-9a-f]+)" if salted else r"(?P<digest>[0-9a-f]+)",
        algorithm=algorithm,
        order=order,
        salt_encoding="hex",
    )
    digest = inner.digest(password.encode())
    stored = f"{salt.hex()}:{digest}" if salted else digest
    assert recognise(stored, forms=[form]).kind == "legacy"
    wrapped = wrap(stored, to=to, cost=CHEAPEST_COST, pepper=pepper, forms=[form])
    found = recognise(wrapped, forms=[form])
    assert found.scheme == f"wrapped-{to}"
    assert found.wrapped is not None
    assert found.wrapped.inner == inner
    assert found.wrapped.text == wrapped
    assert verify(wrapped, password, pepper=pepper)
    for wrong in (other, password + "x", password[:-1], digest):
        # Salt and password run into each other: what was hashed may be the same for two passwords.
        if inner.digest(wrong.encode()) != digest:
            assert not verify(wrapped, wrong, pepper=pepper)


@given(PASSWORDS, PASSWORDS, SCHEMES)
def test_a_new_hash_verifies_with_its_password_and_no_other(password, other, to):
    try:
        stored = hash_password(password, to=to, cost=CHEAPEST_COST)
    except PasswordUnfit:
        assert to == "bcrypt"
        assert len(password.encode()) > 72 or "\0" in password
        return
    assert verify(stored, password)
    assert not needs_rehash(stored, to=to, cost=CHEAPEST_COST)
    # bcrypt reads 72 bytes of the password and a NUL, over and over: "a" and "a\0a" are one to it.
    same = to == "bcrypt" and ("\0" in other or other.encode()[:72] == password.encode())
    if other != password and not same:
        assert not verify(stored, other)


#: Pieces of real forms, put together in ways that nobody foresaw. The numbers are small: what fits is run.
PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *("$", "!", ",", "v1", "datamig", "md5", "sha512", "sp", "ps", "73616c74", "hex", "sha384"),
                *(
                    "hmac-sha384,2026",
                    "2b",
                    "2y",
                    "04",
                    "." * 22,
                    "." * 53,
                    "argon2id",
                    "v=19",
                    "m=8,t=1,p=1",
                ),
                *(
                    "c2FsdHNhbHQ",
                    "A" * 43,
                    "pbkdf2",
                    "pbkdf2-sha256",
                    "pbkdf2_sha256",
                    "1",
                    "scrypt",
                    "bcrypt",
                ),
                *("ln=4,r=8,p=1", "argon2", "=", "\n", "\0", "\ud800", "\u0661", "0" * 32, "f" * 40),
            ]
        ),
        st.text(max_size=4),
    ),
    max_size=12,
)
FORM = LegacyForm(
    name="any",
    pattern=r"(?s)(?P<salt>.*)\$(?P<digest>.*)",
    algorithm="md5",
    order="salt+password",
    salt_encoding="base64",
)
KINDS = {"empty", "unusable", "wrapped", "modern", "legacy", "unknown"}


@given(st.one_of(st.text(), PIECES.map("".join), PIECES.map("$".join)), st.text(), PEPPERS)
@settings(max_examples=500)
def test_any_text_is_recognised_and_verifying_it_never_fails(stored, candidate, pepper):
    pepper = PEPPER if "hmac" in stored else pepper
    for forms in ([], [FORM]):
        found = recognise(stored, forms=forms)
        assert found.kind in KINDS
        assert verify(stored, candidate, pepper=pepper, forms=forms) in {True, False}
        if found.kind in {"empty", "unusable", "unknown"}:
            assert not verify(stored, candidate, pepper=pepper, forms=forms)
            assert not needs_rehash(stored, forms=forms)


CHANGES = st.sampled_from([vector["stored"] for vector in VECTORS["wrapped"]])


@given(CHANGES, st.data())
def test_a_wrapped_form_with_a_character_changed_is_unknown_or_another_form_in_its_one_spelling(stored, data):
    place = data.draw(st.integers(0, len(stored) - 1))
    piece = data.draw(st.one_of(st.sampled_from("$,.0aA=\n"), st.just("")))
    changed = stored[:place] + piece + stored[place + 1 :]
    found = recognise(changed)
    if found.wrapped is not None:
        assert found.wrapped.text == changed
    else:
        assert found.kind == "unknown"

"""Peppers and legacy forms as settings spell them."""

from __future__ import annotations

import base64
import re
import tomllib
from pathlib import Path

import pytest

from taaxdog_datamig.errors import KeyFormatError, KeyWrong, SettingsError
from taaxdog_datamig.passwords import CHEAPEST_COST, LegacyForm, Pepper, recognise, verify, wrap
from taaxdog_datamig.passwords.wrapping import encloses, longest
from taaxdog_datamig.settings import Settings
from tests.sample import told

SECRET = bytes(range(32))
HEX = SECRET.hex()
MD5 = "5f4dcc3b5aa765d61d8327deb882cf99"  # of "password"


@pytest.mark.parametrize(
    "spelled", [HEX, HEX.upper(), base64.b64encode(SECRET).decode(), f" {HEX} "], ids=range(4)
)
def test_a_secret_is_spelled_in_hex_or_base64(spelled):
    assert Pepper.parse(f"2026:{spelled}").secret("2026") == SECRET


def test_several_peppers_stand_by_commas_or_lines_and_the_first_wraps():
    pepper = Pepper.parse(f"b:{HEX}\n a:{HEX}aa , \r\nc : {HEX}bb\n")
    assert pepper.ids == ("b", "a", "c")
    assert pepper.primary == "b"
    assert pepper.secret("a") == SECRET + b"\xaa"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " , ",
        HEX,
        f":{HEX}",
        f"a b:{HEX}",
        f"a:{HEX[:-1]}",
        f"a:{HEX[:-2]}",
        f"a:{HEX}x",
        f"a:{base64.b64encode(SECRET).decode()[:-1]}",
        "a:" + "00" * 32,
        f"a:{HEX},a:{HEX}",
        f"a:{HEX},b",
    ],
    ids=range(12),
)
def test_what_is_no_pepper_is_refused_without_a_word_of_it(text):
    with pytest.raises(KeyFormatError) as caught:
        Pepper.parse(text)
    assert HEX[:16] not in told(caught.value)


FORM = {"name": "mine", "pattern": "x(?P<digest>[0-9a-f]{32})", "algorithm": "md5"}


def test_a_form_is_a_table_with_the_fields_of_the_class():
    assert LegacyForm.parse(FORM) == LegacyForm(**FORM)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({**FORM, "colour": "red"}, "unknown key 'colour'"),
        ({"name": "mine", "algorithm": "md5"}, "an entry has no pattern"),
        ({**FORM, "algorithm": "md4"}, "algorithm of a legacy password form is unknown"),
        ({**FORM, "name": "bcrypt"}, "a legacy password form is named bcrypt"),
        ({**FORM, "pattern": "("}, "no regular expression"),
        ({**FORM, "pattern": 7}, "no regular expression"),
    ],
)
def test_a_table_that_is_no_form_is_refused(table, said):
    with pytest.raises(SettingsError, match=said):
        LegacyForm.parse(table)


@pytest.mark.parametrize("text", ["legacy_passwords = 7", "legacy_passwords = ['x']", "[legacy_passwords]"])
def test_a_list_of_tables_is_asked_for(text, tmp_path):
    path = tmp_path / "datamig.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError, match=r"Write each one as \[\[legacy_passwords\]\]"):
        Settings.load(config=path, environ={})


def test_the_example_of_the_page_is_read(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "reference" / "settings.md").read_text("utf-8")
    (block,) = (b for b in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "legacy_passwords" in b)
    path = tmp_path / "datamig.toml"
    path.write_text(block, "utf-8")
    (table,) = Settings.load(config=path, environ={}).legacy_passwords
    assert table == tomllib.loads(block)["legacy_passwords"][0]
    found = recognise("sha1$salt$" + "0" * 40, forms=[LegacyForm.parse(table)])
    assert found.scheme == "django-sha1"


PEPPER = Pepper({"a" * 32: SECRET})


@pytest.mark.parametrize("to", ["bcrypt", "argon2id"])
@pytest.mark.parametrize("pepper", [None, PEPPER])
@pytest.mark.parametrize("digits", [32, 40, 64, 128])
def test_no_wrapped_digest_is_longer_than_the_longest(to, pepper, digits):
    wrapped = wrap("0" * digits, to=to, cost=CHEAPEST_COST, pepper=pepper)
    # The cheapest argon2id has one digit where there may be 7, 4 and 3.
    assert len(wrapped) + (11 if to == "argon2id" else 0) <= longest(to, pepper)
    if digits == 128:
        assert len(wrapped) + (11 if to == "argon2id" else 0) == longest(to, pepper)


@pytest.mark.parametrize("to", ["bcrypt", "argon2id"])
@pytest.mark.parametrize("pepper", [None, PEPPER])
def test_a_wrapped_value_encloses_its_digest_and_no_other(to, pepper):
    wrapped = wrap(MD5, to=to, cost=CHEAPEST_COST, pepper=pepper)
    assert verify(wrapped, "password", pepper=pepper)
    assert encloses(wrapped, MD5, pepper=pepper)
    assert encloses(wrapped, MD5.upper(), pepper=pepper)
    for other in ("0" * 32, "0" * 40, "", wrapped, "{X}"):
        assert not encloses(wrapped, other, pepper=pepper)
    assert not encloses(MD5, MD5, pepper=pepper)
    if pepper is not None:
        with pytest.raises(KeyWrong):
            encloses(wrapped, MD5)

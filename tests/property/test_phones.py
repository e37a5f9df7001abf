"""The common spellings agree with `phonenumbers` on every input, and a normal form is its own."""

from __future__ import annotations

import re
import unicodedata

import attrs
import phonenumbers
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from taaxdog_datamig.identifiers import numbering_plan, phone

PLAN = phonenumbers.PhoneMetadata.metadata_for_region("AU", None)
KINDS = ("mobile", "fixed_line", "toll_free", "shared_cost", "premium_rate", "voip", "pager")
COMMON = ("", "0", "61", "610", "+61", "+610", "001161", "0011610")
DIALLED = (*COMMON, "+", "00", "1831", "01831", "0014161", "1411001161")
GAPS = ("", " ", "-", ".", "(", ") ", "\u00a0", " (0)", "/", "\t", "\u2013", "  ")
E164 = phonenumbers.PhoneNumberFormat.E164


def from_pattern(pattern):
    return st.from_regex(re.compile(pattern, re.ASCII), fullmatch=True)


def edited(digits):
    """One digit of a number changed, dropped or doubled, or none: the borders of the ranges."""

    def edit(choice):
        text, place, digit = choice
        place %= len(text)
        return text[:place] + digit + text[place + (digit == "" or len(digit) == 1) :]

    one = st.tuples(digits, st.integers(0, 11), st.sampled_from(["", *"0123456789", "00", "11"])).map(edit)
    return digits | one.filter(bool)


numbers_of = {kind: from_pattern(getattr(PLAN, kind).national_number_pattern) for kind in KINDS}
mobile_or_land_line = numbers_of["mobile"] | numbers_of["fixed_line"]
valid = st.one_of(*numbers_of.values())


def abroad(region):
    """Numbers of a country, with its trunk prefix left in, as people write them."""
    plan = phonenumbers.PhoneMetadata.metadata_for_region(region)
    trunk, national = plan.national_prefix or "", plan.general_desc.national_number_pattern
    return from_pattern(rf"\+{plan.country_code}(?:{trunk})?(?:{national})")


foreign = st.one_of(*map(abroad, ["NZ", "GB", "US", "IN", "CN", "IT", "BY"]))


@st.composite
def spelled(draw, numbers, dialled=DIALLED, gaps=GAPS):
    """A number behind one of the dialled prefixes, separators anywhere."""
    text = draw(st.sampled_from(dialled)) + draw(numbers)
    for place in draw(st.lists(st.integers(0, len(text)), max_size=4)):
        text = text[:place] + draw(st.sampled_from(gaps)) + text[place:]
    return text


def texts():
    """Common spellings as often as all others together. Hypothesis would flatten a nested `one_of`."""
    common = spelled(edited(valid), COMMON, (" ", "-", ".", "(", ") ", "\u00a0"))
    digits = st.text("0123456789", min_size=1, max_size=16)
    rubbish = st.text("0123456789 +-.()/,;#*x\u00a0\u2013\u200b\n\t\0\uff0b\uff14\u0661", max_size=40)
    tails = st.sampled_from([" ext 5", " x12", ",5", ";ext=5", " #7", "#", " h", " (mum)", "\n", "\0", " ?"])
    tailed = st.tuples(common, tails).map("".join)
    other = [spelled(edited(valid)), spelled(digits), foreign, rubbish, st.text(max_size=40), tailed]
    return st.sampled_from([common] * len(other) + other).flatmap(lambda strategy: strategy)


def read(text):
    """The oracle: the number that `phonenumbers` reads, without our code."""
    try:
        number = phonenumbers.parse(text, "AU")
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None


def expected(text):
    number = read(text)
    if number is None:
        return "invalid", None, "no valid number"
    if number.extension:
        return "invalid", None, "has an extension"
    if any(unicodedata.category(letter).startswith("L") for letter in text):
        return "invalid", None, "has letters"
    kind = "foreign"
    value = phonenumbers.format_number(number, E164)
    if number.country_code == 61:
        abroad = phonenumbers.can_be_internationally_dialled(number)
        kind = "e164" if abroad else "national"
        value = value if abroad else phonenumbers.national_significant_number(number)
    if read(value) != number:
        return "invalid", None, "is read in two ways"
    return kind, value, None


@settings(max_examples=1000)
@example("+61 13 11 66")
@example("1831 491 570 006")
@example("0491570006" + " " * 241)
@example("+37588100000000")
@given(texts())
def test_every_text_is_judged_as_phonenumbers_judges_it(text):
    said = attrs.astuple(phone.classify(text))
    event(f"{said[0]}: {said[2] or ('common' if phone._common(text) else 'asked')}")
    assert said == expected(text)
    assert phone.normalise(text) == said[1]
    assert phone.is_valid(text) == (said[1] is not None)


@settings(max_examples=300)
@given(valid, st.sampled_from(COMMON))
def test_every_valid_australian_number_has_its_form_in_every_way_of_dialling(nsn, dialled):
    number = read(f"+61{nsn}")
    assume(number is not None and phonenumbers.national_significant_number(number) == nsn)
    assume(read(dialled + nsn) == number)
    assert phone.normalise(dialled + nsn) == (nsn if nsn.startswith(("13", "18")) else f"+61{nsn}")


@settings(max_examples=300)
@given(mobile_or_land_line, st.sampled_from(COMMON))
def test_mobiles_and_land_lines_never_need_phonenumbers(nsn, dialled):
    assert numbering_plan.spelling().fullmatch(dialled + nsn)["nsn"] == nsn


@settings(max_examples=500)
@given(texts())
def test_a_normal_form_is_its_own(text):
    normal = phone.normalise(text)
    if normal is not None:
        assert phone.normalise(normal) == normal
        assert attrs.astuple(phone.classify(normal)) == attrs.astuple(phone.classify(text))

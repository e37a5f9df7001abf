"""What SQL says of a stored value is what the identifiers and the ciphers say of it, on a server."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto import predicates as sealing
from taaxdog_datamig.identifiers import abn, account_number, bsb, phone, postcode, predicates, tfn
from tests.sample import rows, seal_legacy

TFNS = [
    *("123456782", "876543210", "648188480", "648188499", "648188519", "648188527", "648188535"),
    *("37118629", "37118655", "38593503", "85655755"),
]
CODES = ["000000000", "111111111", "333333333", "444444444", "987654321", "00000000"]
ABNS = ["51824753556", "53004085616"]
BANK = ["062-947", "062947", "12345678", "1234", "1234567890", "12345678901"]
PHONES = ["+61491570006", "+61255501234", "+61753501234", "+61891234567", "+61145123456"]
SEALED = [
    seal_legacy("123456782"),
    "encrypted:v1:k:abc",
    "a" * 43,
    "a" * 42,
    " " + "a" * 43 + "\n",
    "A b" * 20,
]
KNOWN = [*TFNS, *CODES, *ABNS, *BANK, *PHONES, *SEALED]
#: What is put in the place of a character, or beside it.
PIECES = st.sampled_from(
    [*"0123456789", "", " ", "-", "\u00a0", "\t", "\n", "+", "x", "=", "/", "12", "\u0661", "\u00e9"]
)


@st.composite
def near(draw):
    """A known value with a few characters changed, taken out or put in."""
    text = draw(st.sampled_from(KNOWN))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        text = text[:place] + draw(PIECES) + text[place + draw(st.sampled_from([0, 1])) :]
    return text


def numbers(length):
    return st.text("0123456789", min_size=length, max_size=length)


@pytest.fixture(scope="module")
def texts():
    """Collected first: thousands of texts are one statement then."""
    seen = {"", *KNOWN}

    @settings(max_examples=2500, database=None)
    @given(st.one_of(near(), st.integers(4, 12).flatmap(numbers), numbers(9), numbers(11)))
    def collect(text):
        seen.add(text)

    collect()
    return sorted(seen)


JUDGED = {
    "abn_malformed": lambda text: abn.fault(text) == "form",
    "abn_misread": lambda text: abn.fault(text) == "check digits",
    "tfn_malformed": lambda text: tfn.fault(text) == "form",
    "tfn_misread": lambda text: tfn.fault(text) == "check digit",
    "tfn_placeholder": lambda text: tfn.fault(text) == "placeholder",
    "bsb_malformed": lambda text: not bsb.is_valid(text),
    "account_number_malformed": lambda text: not account_number.is_valid(text),
}


@pytest.mark.parametrize("name", JUDGED)
async def test_sql_and_python_judge_alike(database, texts, name):
    predicate = getattr(predicates, name)("x")
    found = dict(await rows(database, f"SELECT x, {predicate} FROM unnest($1::text[]) AS s(x)", texts))
    wrong = [text for text in texts if bool(found[text]) != (text != "" and JUDGED[name](text))]
    assert wrong == []
    assert {True, False} <= {bool(each) for each in found.values()}


A_NUMBER = predicates.phone_known("x")


async def test_what_sql_takes_for_e164_is_left_as_it_stands(database, texts):
    known = (
        f"{predicates.phone_known('x')} AND NOT {predicates.phone_spelled('x', predicates.phone_known('x'))}"
    )
    found = await rows(database, f"SELECT x FROM unnest($1::text[]) AS s(x) WHERE {known}", texts)
    taken = {x for (x,) in found}
    assert taken >= {"+61491570006", "+61753501234", "+61891234567"}
    assert [x for x in taken if phone.classify(x) != phone.Phone("e164", x)] == []


async def test_what_sql_takes_for_another_spelling_of_a_number_is_one(database, texts):
    spelling = predicates.phone_spelled("x", A_NUMBER)
    query = f"SELECT x FROM unnest($1::text[]) AS s(x) WHERE {spelling}"
    spelled = [x for (x,) in await rows(database, query, texts)]
    assert len(spelled) >= 3
    assert [x for x in spelled if phone.classify(x).kind != "e164" or phone.classify(x).value == x] == []


async def test_a_state_has_the_postcodes_of_its_ranges_and_no_others(database):
    states = [*postcode.RANGES, "nsw", " VIC ", "Bavaria", "", None]
    codes = [*(f"{number:04}" for number in range(10_000)), "200", "20000", "2x00", " 2000", "", None]
    query = f"""SELECT s, p, {predicates.postcode_elsewhere("s", "p")} AS elsewhere
        FROM unnest($1::text[]) AS a(s), unnest($2::text[]) AS b(p)"""
    for state, code, elsewhere in await rows(database, query, states, codes):
        ranges = postcode.RANGES.get((state or "").strip().upper())
        fits = len(code or "") == 4 and code.isdecimal() and any(a <= int(code) <= b for a, b in ranges or ())
        assert bool(elsewhere) == bool(ranges and code and not fits), (state, code)


async def test_every_value_is_plaintext_or_opaque_or_sealed_and_plaintext_is_certain(database, texts):
    cipher = Keyring.of(MasterKey("k", bytes(range(32))), legacy=[bytes(range(64, 96))]).field("users", "tfn")
    query = f"""SELECT x, {sealing.plaintext("x")}, {sealing.opaque("x")}, {sealing.sealed("x")}
        FROM unnest($1::text[]) AS s(x)"""
    kinds = set()
    for text, *which in await rows(database, query, texts):
        assert sum(which) == (text != "")
        kind = cipher.classify(text, ("1",)).kind
        kinds.add((kind, which.index(True) if text else None))
        assert (kind == "plaintext") or not which[0], text
        assert which[2] == text.startswith("encrypted:")
    assert kinds >= {("plaintext", 0), ("plaintext", 1), ("legacy", 1), ("malformed", 2), ("empty", None)}


@pytest.mark.parametrize("name", ["plaintext", "opaque", "sealed"])
async def test_no_value_is_nothing(database, name):
    ((found,),) = await rows(database, f"SELECT {getattr(sealing, name)('NULL::text')}")
    assert not found

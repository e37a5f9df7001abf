"""What the detector promises of any text: no error, check digits that count, words that count."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from taaxdog_datamig.identifiers import abn, prose, tfn
from taaxdog_datamig.identifiers.digits import luhn

WORDS = st.text("abcdefghijklmnop ,.", max_size=30).map(lambda text: f"{text} ")


def digits(length: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=length, max_size=length)


def spelled(number: str, gap: str, *groups: int) -> str:
    parts, rest = [], number
    for group in groups:
        parts, rest = [*parts, rest[:group]], rest[group:]
    return gap.join(parts)


@given(st.text())
@example('{"a": 1e999}')
@example("[" * 10)
@example('{"a": "\ud800"}')
def test_any_text_is_judged(text):
    assert prose.find(text) <= {"tfn", "abn", "card", "account"}


@given(digits(9), st.sampled_from(["", " ", "-", "\u00a0"]), WORDS)
def test_a_labelled_number_is_a_tfn_when_its_check_digit_says_so(number, gap, words):
    text = f"{words}TFN {spelled(number, gap, 3, 3, 3)}"
    assert ("tfn" in prose.find(text)) == tfn.is_valid(number)
    assert ("tfn" in prose.find(json.dumps([{"a": {"tfn": text[len(words) + 4 :]}}]))) == tfn.is_valid(number)


@given(digits(11), st.sampled_from(["", " ", "-", "\u00a0"]), WORDS)
def test_a_labelled_number_is_an_abn_when_its_check_digits_say_so(number, gap, words):
    assert ("abn" in prose.find(f"{words}abn: {spelled(number, gap, 2, 3, 3, 3)}")) == abn.is_valid(number)


@given(digits(15), st.sampled_from(["", " ", "-"]), WORDS)
def test_a_number_of_an_issuer_is_a_card_when_its_check_digit_says_so(rest, gap, words):
    number = "4" + rest
    assert ("card" in prose.find(words + spelled(number, gap, 4, 4, 4, 4))) == luhn(number)


@given(digits(15))
def test_each_fifteen_digits_have_one_check_digit(body):
    assert sum(luhn(body + last) for last in "0123456789") == 1


@given(digits(9), WORDS)
def test_without_a_word_no_number_is_a_tfn(number, words):
    assert "tfn" not in prose.find(words + number)


@given(digits(6), digits(8), WORDS)
def test_a_bsb_and_a_number_are_an_account_where_a_word_says_so(bsb, number, words):
    pair = f"{bsb[:3]}-{bsb[3:]} {number}"
    assert prose.find(f"{words}BSB {pair}") >= {"account"}
    assert "account" not in prose.find(words + pair)


@given(st.sampled_from(["invoice", "receipt no.", "order", "ref:", "phone"]), digits(16), digits(11))
def test_a_number_of_something_else_is_none_of_ours(word, sixteen, eleven):
    assert prose.find(f"{word} {sixteen}") == prose.find(f"{word} {eleven}") == frozenset()

"""Oracles that do not repeat the rule: how check digits are *made*, and that one wrong digit is seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.identifiers import abn, acn, tfn

DIGITS = "0123456789"


def text_of(length: int) -> st.SearchStrategy[str]:
    return st.text(DIGITS, min_size=length, max_size=length)


@given(text_of(8).filter(lambda body: body.strip("0")))
def test_the_last_digit_of_a_nine_digit_tfn_is_its_weighted_sum_modulo_11(body):
    # The last weight, 10, is -1 modulo 11; where the remainder is 10, no TFN exists.
    rest = sum(int(digit) * weight for digit, weight in zip(body, [1, 4, 3, 7, 5, 8, 6, 9], strict=True)) % 11
    valid = {last for last in DIGITS if tfn.is_valid(body + last)}
    assert valid == ({str(rest)} if rest < 10 else set()) - {
        code[-1] for code in tfn.EXEMPTION_CODES if code[:-1] == body
    }


@given(text_of(7).filter(lambda body: body.strip("0")))
def test_the_last_digit_of_an_eight_digit_tfn_completes_its_sum(body):
    total = sum(int(digit) * weight for digit, weight in zip(body, [10, 7, 8, 4, 6, 3, 5], strict=True))
    missing = -total % 11
    assert {last for last in DIGITS if tfn.is_valid(body + last)} == (
        {str(missing)} if missing < 10 else set()
    )


@given(text_of(9))
def test_the_first_two_digits_of_an_abn_are_made_from_the_others(body):
    total = sum(int(digit) * weight for digit, weight in zip(body, range(3, 20, 2), strict=True))
    made = {prefix for prefix in range(10, 100) if (prefix - 10 + total) % 89 == 0}
    assert {prefix for prefix in range(100) if abn.is_valid(f"{prefix:02}{body}")} == made


@given(text_of(8))
def test_each_eight_digits_have_one_acn(body):
    total = sum(int(digit) * (8 - place) for place, digit in enumerate(body))
    assert [last for last in DIGITS if acn.is_valid(body + last)] == [str((10 - total % 10) % 10)]


@given(st.sampled_from(["123456782", "876543210", "37118629", "85655755", "51824753556"]), st.data())
def test_one_wrong_digit_is_always_seen(number, data):
    valid = abn.is_valid if len(number) == 11 else tfn.is_valid
    place = data.draw(st.integers(0, len(number) - 1))
    digit = data.draw(st.sampled_from(DIGITS.replace(number[place], "")))
    assert valid(number)
    assert not valid(number[:place] + digit + number[place + 1 :])


@given(st.text())
def test_any_text_is_judged_without_error(text):
    for kind in (tfn, abn, acn):
        normal = kind.normalise(text)
        assert normal is None or kind.normalise(normal) == normal

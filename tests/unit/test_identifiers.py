from __future__ import annotations

import pytest

from taaxdog_datamig.identifiers import abn, acn, bsb, postcode, tfn

TFNS = ["123456782", "876543210", "648188480", "648188499", "648188519", "648188527", "648188535"]
TFNS += ["37118629", "37118655", "38593503", "85655755"]


@pytest.mark.parametrize("number", TFNS)
def test_published_tfns_are_valid_with_and_without_separators(number):
    for text in (number, f"{number[:3]} {number[3:6]} {number[6:]}", f"{number[:3]}-{number[3:]} "):
        assert tfn.is_valid(text)
        assert tfn.normalise(text) == number


@pytest.mark.parametrize("code", ["000000000", "111111111", "333333333", "444444444", "987654321"])
def test_exemption_codes_belong_to_nobody(code):
    assert tfn.is_exemption_code(f"{code[:3]} {code[3:]}")
    assert not tfn.is_valid(code)
    assert not tfn.is_exemption_code("123456782")


@pytest.mark.parametrize(
    "text", ["", "-", "123456783", "00000000", "12345678x", "1234567", "1234567820", "\u0661" * 9]
)
def test_other_texts_are_no_tfn(text):
    assert not tfn.is_valid(text)
    assert tfn.normalise(text) is None


def test_published_abns_and_acns_are_valid():
    assert abn.normalise("51 824 753 556") == "51824753556"
    assert abn.normalise("53-004-085-616") == "53004085616"
    assert acn.normalise("004 085 616") == "004085616"
    assert acn.is_valid("010499966")


@pytest.mark.parametrize(
    "text", ["", "51824753557", "5182475355", "518247535560", "01824753556", "ABN 51824753556"]
)
def test_other_texts_are_no_abn(text):
    assert not abn.is_valid(text)


@pytest.mark.parametrize("text", ["", "004085617", "00408561", "0040856160"])
def test_other_texts_are_no_acn(text):
    assert not acn.is_valid(text)


def test_a_bsb_is_six_digits_with_or_without_its_hyphen():
    assert bsb.normalise(" 062000 ") == bsb.normalise("062-000") == "062-000"
    for text in ("", "06-2000", "062--000", "0620000", "062 000", "\u0660" * 6, "062-000\n1"):
        assert not bsb.is_valid(text)


@pytest.mark.parametrize(
    "text", ["0200", "0299", "0800", "0999", "1000", "2618", "2619", "6797", "6800", "7999", " 9999 "]
)
def test_a_postcode_is_in_the_range_of_a_state(text):
    assert postcode.normalise(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0199",
        "0300",
        "0799",
        "6798",
        "6799",
        "0000",
        "800",
        "20000",
        "2 000",
        "SW1A",
        "\u0662" * 4,
        "2000\n1",
    ],
)
def test_other_texts_are_no_postcode(text):
    assert not postcode.is_valid(text)

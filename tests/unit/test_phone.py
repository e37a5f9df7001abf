"""Numbers that belong to nobody: ACMA's for fiction, the metadata's examples, and zeros abroad."""

from __future__ import annotations

import subprocess
import sys

import attrs
import phonenumbers
import pytest

from taaxdog_datamig.identifiers import phone
from taaxdog_datamig.identifiers.phone import Phone


def said(text):
    """What a text says; `Phone` itself keeps the number out of its repr, and so out of a failure."""
    return attrs.astuple(phone.classify(text))


@pytest.mark.parametrize(
    "text",
    [
        "0491570006",
        "0491 570 006",
        "0491-570-006",
        "(0491) 570 006",
        "04 9157 0006",
        "0491.570.006",
        "0491\u00a0570\u00a0006",
        "61 491 570 006",
        "+61 491 570 006",
        "+61 (0)491 570 006",
        "+61491-570-006",
        "(+61) 491 570 006",
        "0011 61 491 570 006",
        "491 570 006",
        " 0491 570 006 ",
        "0491 570 006\n",
        "\t0491 570 006\t",
        "0491/570/006",
        "++61 491 570 006",
        "\uff0b61 491 570 006",
        "".join(chr(0xFF10 + int(digit)) for digit in "0491570006"),
        "".join(chr(0x0660 + int(digit)) for digit in "0491570006"),
    ],
)
def test_every_spelling_of_a_number_becomes_its_e164_form(text):
    assert said(text) == ("e164", "+61491570006", None)
    assert phone.normalise(text) == "+61491570006"
    assert phone.is_valid(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(02) 5550 1234", "+61255501234"),
        ("02 7010 0000", "+61270100000"),
        ("03 5550 0000", "+61355500000"),
        ("07-5550-0000", "+61755500000"),
        ("+61 8 7010 9999", "+61870109999"),
        ("14 7101 234", "+61147101234"),  # voice over IP
        ("0163 1234", "+611631234"),  # a pager
        ("1900 654 321", "+611900654321"),  # premium rate
        ("08 9162 0000", "+61891620000"),  # the Cocos Islands
        ("08 9164 0000", "+61891640000"),  # Christmas Island
    ],
)
def test_other_australian_numbers_become_theirs(text, value):
    assert said(text) == ("e164", value, None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1300 975 707", "1300975707"),
        ("1300-975-707", "1300975707"),
        ("+61 1300 975 707", "1300975707"),
        ("0011 61 1800 160 401", "1800160401"),
        ("1800 160 401", "1800160401"),
        ("13 11 66", "131166"),
        ("131 166", "131166"),
        ("+61 13 11 66", "131166"),
        ("61 13 11 66", "131166"),
        ("180 2000", "1802000"),
        ("1345 0000", "13450000"),
    ],
)
def test_a_number_that_cannot_be_dialled_from_abroad_stays_national(text, value):
    assert said(text) == ("national", value, None)
    assert phone.normalise(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("+64 21 000 0000", "+64210000000"),
        ("0011 64 21 000 0000", "+64210000000"),
        ("+44 7400 000000", "+447400000000"),
        ("+1 (415) 555-0100", "+14155550100"),
        ("+39 06 0000 0000", "+390600000000"),  # the 0 belongs to the number
        ("+800 0000 0000", "+80000000000"),  # no country's
    ],
)
def test_a_number_of_another_country_stays_its_own(text, value):
    assert said(text) == ("foreign", value, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\0",
        "-",
        "not given",
        "12345",
        "0400",
        "+61",
        "+",
        "0011",
        "0000000000",
        "000",
        "112",
        "119 1234",
        "0500 000 000",
        "0550 000 000",
        "049157000",
        "0491 570 006 0491 570 156",
        "0491 570 006 / 0491 570 156",
        "5550 1234",  # no area code
        "0491\0570006",
        "0491\ud800570006",
        "0491\t570\t006",
        "\uff0b",
        "+999 0000 0000",
        "0491570006" + " " * 241,
        " " * 1_000_000,
        "0" * 1_000_000,
        "(" * 249,
        "+61" * 80,
    ],
)
def test_what_is_no_number_is_invalid_and_says_so(text):
    assert said(text) == ("invalid", None, "no valid number")
    assert phone.normalise(text) is None
    assert not phone.is_valid(text)


@pytest.mark.parametrize(
    "text", ["02 5550 1234 ext 5", "02 5550 1234 x5", "(02) 5550 1234 #5", "02 5550 1234,5", "1300 975 707;5"]
)
def test_an_extension_is_never_cut_off(text):
    assert said(text) == ("invalid", None, "has an extension")


@pytest.mark.parametrize(
    "text", ["1300 FLOWER", "1800-flower", "0491 570 006 h", "Tel: 0491 570 006", "Zoë 0491 570 006"]
)
def test_letters_are_neither_turned_into_digits_nor_dropped(text):
    assert phonenumbers.is_valid_number(phonenumbers.parse(text, "AU"))
    assert said(text) == ("invalid", None, "has letters")


def test_a_number_whose_e164_form_reads_as_another_is_left_alone():
    # Belarus: the trunk prefix 8 may stand before a number that begins with 8 itself.
    number = phonenumbers.parse("+375 88 1000 00000", "AU")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert phonenumbers.is_valid_number(number)
    assert phonenumbers.parse(e164, "AU") != number
    assert said("+375 88 1000 00000") == ("invalid", None, "is read in two ways")


def test_the_number_is_not_in_the_repr():
    assert repr(phone.classify("0491 570 006")) == "Phone(kind='e164', reason=None)"
    assert Phone("e164", "+61491570006") == phone.classify("0491 570 006")


def test_phonenumbers_is_not_imported_before_the_first_number_is_read():
    program = (
        "import sys\n"
        "from taaxdog_datamig.identifiers import phone\n"
        "assert 'phonenumbers' not in sys.modules\n"
        "assert phone.normalise('0491 570 006') == '+61491570006'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


class TestAnotherRelease:
    """The common spellings follow the installed metadata, not a table of ours."""

    @pytest.fixture
    def plan(self, monkeypatch):
        from taaxdog_datamig.identifiers import numbering_plan  # noqa: PLC0415 - only this class needs it

        def changed(**fields):
            original = phonenumbers.PhoneMetadata.metadata_for_region("AU", None)
            monkeypatch.setattr(original, "_mutable", True)
            for name, value in fields.items():
                monkeypatch.setattr(original, name, value)
            return numbering_plan.spelling()

        return changed

    @staticmethod
    def mobile(pattern):
        return phonenumbers.PhoneNumberDesc(
            national_number_pattern=pattern, example_number="412345678", possible_length=(9,)
        )

    def test_a_range_that_is_withdrawn_is_not_read(self, plan):
        assert plan().fullmatch("0491570006")
        assert not plan(mobile=self.mobile(r"41\d{7}")).fullmatch("0491570006")

    def test_a_range_that_is_opened_is_read(self, plan):
        assert not plan().fullmatch("0560000000")
        general = phonenumbers.PhoneNumberDesc(national_number_pattern=r"[2-578]\d{8}", possible_length=(9,))
        pattern = plan(mobile=self.mobile(r"[45]\d{8}"), general_desc=general)
        assert pattern.fullmatch("0560000000")["nsn"] == "560000000"

    def test_a_way_of_writing_that_reads_otherwise_is_left_to_phonenumbers(self, plan):
        assert plan().fullmatch("001161491570006")
        pattern = plan(international_prefix="0099", preferred_international_prefix="0011")
        assert not pattern.fullmatch("001161491570006")
        assert pattern.fullmatch("+61491570006")

    def test_without_a_kind_or_its_pattern_the_others_are_read(self, plan):
        pattern = plan(mobile=None, toll_free=phonenumbers.PhoneNumberDesc(possible_length=(-1,)))
        assert not pattern.fullmatch("0491570006")
        assert not pattern.fullmatch("1800160401")
        assert pattern.fullmatch("0255501234")

    def test_without_dialling_prefixes_the_bare_number_is_read(self, plan):
        pattern = plan(
            national_prefix=None,
            national_prefix_for_parsing=None,
            international_prefix=None,
            preferred_international_prefix=None,
        )
        for text in ("491570006", "61491570006", "+61491570006"):
            assert pattern.fullmatch(text)["nsn"] == "491570006"
        for text in ("0491570006", "001161491570006", "None61491570006"):
            assert not pattern.fullmatch(text)

    def test_without_an_example_nothing_is_sure(self, plan):
        kinds = {
            kind: phonenumbers.PhoneNumberDesc(national_number_pattern=r"\d{9}", possible_length=(9,))
            for kind in ("mobile", "fixed_line", "toll_free", "shared_cost")
        }
        assert not plan(**kinds).fullmatch("+61491570006")

    def test_without_a_plan_there_is_nothing_to_build(self, monkeypatch):
        from taaxdog_datamig.identifiers import numbering_plan  # noqa: PLC0415 - only this class needs it

        monkeypatch.setattr(phonenumbers.PhoneMetadata, "metadata_for_region", lambda *_: None)
        with pytest.raises(LookupError, match="AU"):
            numbering_plan.spelling()

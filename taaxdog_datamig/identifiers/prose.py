"""Numbers that must not stand in free text: TFNs, ABNs, payment cards and bank accounts.

Check digits alone say little: 9 % of all nine-digit numbers pass as a TFN, 10 % as a card, 1 % as an ABN. A
number also needs the right form (digits in the groups people write, no part of a longer number, of an amount
or of an id) and the right words:

- **tfn**: 8 or 9 digits, valid, and the nearest label says TFN or tax file number;
- **abn**: 11 digits, valid, and labelled ABN, or spelled `dd ddd ddd ddd`;
- **card**: an issuer's range and length (ISO/IEC 7812), Luhn; 13 and 14 digits only where a label says card;
- **account**: a BSB and an account number near it, with a label (BSB, account, acct, a/c) near both.

The nearest label in front of a number decides, or else the first one behind it. A word such as invoice,
receipt, phone or id right in front of a number makes it that. In JSON the keys on the way to a value are the
words in front of it. Digits are ASCII; separators are a space, a hyphen and, but for
cards, a no-break space.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from taaxdog_datamig.identifiers import abn, tfn
from taaxdog_datamig.identifiers.digits import luhn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind: TypeAlias = Literal["tfn", "abn", "card", "account"]

#: Characters between a label and its number; behind a number a label stands closer.
_BEFORE, _BEHIND = 40, 25
#: A TFN's; all others have more.
_FEWEST_DIGITS: Final = 8

_FLAGS: Final = re.ASCII | re.IGNORECASE | re.VERBOSE
#: Whole words; `TFN123456782` and `tax_file_number` count, `downtfn` does not.
_LABEL: Final = re.compile(
    r"""(?<![a-z])(?:
        (?P<tfn> tfn | t\.f\.n | tax[\s_-]*file(?:[\s_-]*(?:number|num|no|nr))? )
      | (?P<abn> abn | a\.b\.n | business[\s_-]*number )
      | (?P<acn> acn | arbn )
      | (?P<card> (?:credit|debit|master)?card | visa | amex | american\s+express | diners | jcb )
      | (?P<account> bsb | account | acct | acc | a/c )
    )s?(?![a-z])""",
    _FLAGS,
)
#: Right in front of a number: what else it is.
_OTHER: Final = re.compile(
    r"""(?:^|[^a-z])(?:
        medicare|crn|prn|phone|telephone|tel|ph|mobile|mob|fax|invoice|inv|order|reference|ref|receipt|rrn|bpay
      | biller|ticket|case|policy|licen[cs]e|passport|tracking|consignment|booking|confirmation|quote
      | transaction|txn|trans|serial|barcode|ean|gtin|imei|sku|ids?|uuid|timestamp|epoch|arn
      | (?:customer|client|member|job)[\s_-]*(?:number|no)
    )[^a-z0-9]*(?:(?:number|num|no|nr|code|is|was)[^a-z0-9]*)*\Z""",
    _FLAGS,
)

_DIGIT: Final = re.compile(r"[0-9]")
_SEPARATORS: Final = str.maketrans("", "", " -\u00a0")
_GAP: Final = "[ \u00a0-]?"
#: Not within a longer number, an amount, a date, or an international phone number.
_START: Final = "(?<![0-9+$\u20ac\u00a3])(?<![0-9][.,/:-])"
_END: Final = "(?![A-Za-z0-9_])(?![.,/:-][0-9])"
_TFN: Final = re.compile(f"{_START}[0-9]{{2,3}}{_GAP}[0-9]{{3}}{_GAP}[0-9]{{3}}{_END}")
_ABN: Final = re.compile(f"{_START}[0-9]{{2}}(?:{_GAP}[0-9]{{3}}){{3}}{_END}")
_CARD: Final = re.compile(
    rf"""{_START}(?<![A-Za-z_])(?:
        [2-6][0-9]{{12,18}}
      | [2-6][0-9]{{3}}(?P<four>[ -])[0-9]{{4}}(?P=four)[0-9]{{4}}(?P=four)[0-9]{{4}}(?:(?P=four)[0-9]{{3}})?
      | 3[0-9]{{3}}(?P<six>[ -])[0-9]{{6}}(?P=six)[0-9]{{4,5}}
    )(?![A-Za-z0-9_])(?![.,][0-9])""",
    re.VERBOSE,
)
#: Issuers and their lengths. Maestro's ranges are left out: they are a tenth of all numbers.
_ISSUER: Final = re.compile(
    r"""4[0-9]{12}(?:[0-9]{3}(?:[0-9]{3})?)?                                               # Visa
      | (?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}  # Mastercard
      | 3[47][0-9]{13}                                                                     # American Express
      | 3(?:0[0-5]|[689][0-9])[0-9]{11}                                                    # Diners Club
      | 35(?:2[89]|[3-8][0-9])[0-9]{12}                                                    # JCB
      | (?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2})[0-9]{12,15}                            # Discover etc.
    """,
    re.VERBOSE,
)
#: Shorter ones, 13 and 14 digits, are as often barcodes and moments.
_CARD_WITHOUT_LABEL: Final = 15
#: One more group follows, or stands in front: part of a longer number, such as an IBAN.
_THREE_BEHIND: Final = re.compile("[ \u00a0-][0-9]{3}(?![0-9/])")
_FOUR_BEHIND: Final = re.compile(r"[ -][0-9]{4}(?![0-9/])")
_GROUP_BEFORE: Final = re.compile("[0-9][ \u00a0-]\\Z")
_LONG_BEFORE: Final = re.compile(r"(?:[0-9]{4}|[A-Za-z]{2}[0-9]{2})[ -]\Z")
#: Eight digits that are a date.
_DATE: Final = re.compile(
    r"(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[1-9]|[12][0-9]|3[01])(?:0[1-9]|1[0-2])(?:19|20)[0-9]{2}"
)
_SPELLED_ABN: Final = re.compile(r"[0-9]{2}(?: [0-9]{3}){3}")
#: +61 without its plus, and an area code or a mobile number.
_PHONE: Final = re.compile(r"61 [23478]")

_BSB: Final = re.compile(
    r"""(?<![0-9-])[0-9]{3}-[0-9]{3}(?![0-9-])
      | (?<![a-z])bsb(?![a-z])[^a-z0-9]{0,5}(?:(?:no|number|code)[^a-z0-9]{1,5})?
        [0-9]{3}[ -]?[0-9]{3}(?![0-9-])
    """,
    _FLAGS,
)
_NUMBER: Final = f"{_START}([0-9]{{2,10}}(?:[ -][0-9]{{2,6}}){{0,2}}){_END}"
_NUMBER_BEHIND: Final = re.compile(f"[^0-9]{{1,30}}{_NUMBER}")
_NUMBER_BEFORE: Final = re.compile(f"{_NUMBER}[^0-9]{{1,30}}\\Z")
#: Five to ten digits, three of them together.
_ACCOUNT_FORM: Final = re.compile(r"(?=(?:[^0-9]*[0-9]){5,10}[^0-9]*\Z)(?=.*[0-9]{3})[0-9]+(?:[ -][0-9]+)*")
_BSB_FORM: Final = re.compile(r"[0-9]{3}[ -]?[0-9]{3}")
_BSB_KEY: Final = re.compile(r"(?<![a-z])bsb(?![a-z])", _FLAGS)
_ACCOUNT_KEY: Final = re.compile(r"(?<![a-z])(?:account|acct|acc)\s*(?:number|num|no|nr)?\Z", _FLAGS)

_WORDS_IN_KEY: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\W]+", re.ASCII)
#: ASCII as JSON may also spell it. Hardly anybody does: such a text is read as it stands.
_ESCAPE: Final = re.compile(r"\\u00[0-7]")


def find(text: str) -> frozenset[Kind]:
    """What kinds of number a text holds: prose, JSON, or an array as PostgreSQL spells it."""
    if _may_be_json(text) and not _ESCAPE.search(text):
        try:
            document = json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=tuple)
        except (ValueError, RecursionError):
            pass
        else:
            return frozenset(_in_document(document))
    return frozenset(_in_prose(text))


def _may_be_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def _in_document(document: Any) -> Iterator[Kind]:
    """Kinds in a document. Objects are tuples of pairs, arrays are lists, numbers are strings."""
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        words, value = waiting.pop()
        if isinstance(value, tuple):
            members = [(_WORDS_IN_KEY.sub(" ", key), member) for key, member in value]
            if _is_account(members):
                yield "account"
            waiting += [(f"{words} {key}"[-_BEFORE:], member) for key, member in members]
        elif isinstance(value, list):
            waiting += [(words, item) for item in value]
        elif isinstance(value, str) and _may_be_json(value):
            yield from find(value)
        elif isinstance(value, str):
            yield from _in_prose(f"{words}: {value}")


def _is_account(members: list[tuple[str, Any]]) -> bool:
    texts = [(key, value.strip()) for key, value in members if isinstance(value, str)]
    return any(_BSB_KEY.search(key) and _BSB_FORM.fullmatch(value) for key, value in texts) and any(
        _ACCOUNT_KEY.search(key) and _ACCOUNT_FORM.fullmatch(value) for key, value in texts
    )


def _in_prose(text: str) -> Iterator[Kind]:
    if len(_DIGIT.findall(text)) < _FEWEST_DIGITS:
        return
    for kind, (pattern, judge) in _JUDGES.items():
        if any(judge(text, match) for match in pattern.finditer(text)):
            yield kind


def _is_tfn(text: str, match: re.Match[str]) -> bool:
    digits = match[0].translate(_SEPARATORS)
    return (
        tfn.is_valid(digits)
        and not _DATE.fullmatch(digits)
        and _stands_alone(text, match)
        and _label(text, match) == "tfn"
    )


def _is_abn(text: str, match: re.Match[str]) -> bool:
    if not (abn.is_valid(match[0]) and _stands_alone(text, match)):
        return False
    label = _label(text, match)
    spelled = _SPELLED_ABN.fullmatch(match[0]) is not None and not _PHONE.match(match[0])
    return label == "abn" or (spelled and label != "other")


def _is_card(text: str, match: re.Match[str]) -> bool:
    digits = match[0].translate(_SEPARATORS)
    if not (_ISSUER.fullmatch(digits) and luhn(digits)):
        return False
    longer = _LONG_BEFORE.search(text, max(0, match.start() - 6), match.start()) or (
        match["four"] and _FOUR_BEHIND.match(text, match.end())
    )
    if longer and digits != match[0]:
        return False
    label = _label(text, match)
    return label == "card" or (len(digits) >= _CARD_WITHOUT_LABEL and label != "other")


def _is_bank_account(text: str, bsb: re.Match[str]) -> bool:
    around = text[max(0, bsb.start() - _BEFORE) : bsb.end() + _BEFORE]
    if not any(label.lastgroup == "account" for label in _LABEL.finditer(around)):
        return False
    numbers = (
        _NUMBER_BEHIND.match(text, bsb.end()),
        _NUMBER_BEFORE.search(text, max(0, bsb.start() - 2 * _BEFORE), bsb.start()),
    )
    return any(
        number and _ACCOUNT_FORM.fullmatch(number[1]) and not _is_other(text, number.start(1))
        for number in numbers
    )


_JUDGES: Final[dict[Kind, tuple[re.Pattern[str], Callable[[str, re.Match[str]], bool]]]] = {
    "tfn": (_TFN, _is_tfn),
    "abn": (_ABN, _is_abn),
    "card": (_CARD, _is_card),
    "account": (_BSB, _is_bank_account),
}


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    """Whether it is no part of a word, unless that is its label, nor of a longer number in groups."""
    start, end = match.span()
    if re.match(r"[A-Za-z_]", text[max(0, start - 1) : start]):
        labels = list(_LABEL.finditer(text, max(0, start - _BEFORE), start))
        if not labels or text[labels[-1].end() : start].strip("_"):
            return False
    grouped = not match[0].isdigit()
    return not grouped or not (
        _GROUP_BEFORE.search(text, max(0, start - 2), start) or _THREE_BEHIND.match(text, end)
    )


def _is_other(text: str, start: int) -> bool:
    return _OTHER.search(text[max(0, start - _BEFORE) : start]) is not None


def _label(text: str, match: re.Match[str]) -> str | None:
    """What the words around a number call it; "other" for what is none of ours, None without a word."""
    start, end = match.span()
    if _is_other(text, start):
        return "other"
    before = [label.lastgroup for label in _LABEL.finditer(text, max(0, start - _BEFORE), start)]
    if before:
        return before[-1]
    behind = _LABEL.search(text, end, end + _BEHIND)
    # In front of another number it is that one's.
    if behind is None or re.match(r"[^A-Za-z0-9]*[0-9]", text[behind.end() :][:_BEHIND]):
        return None
    return behind.lastgroup

"""SQL over a stored value: which ones are no identifiers. It says what the modules beside it say.

(Of white space around a BSB it knows what ASCII has, and the no-break space.)

Arguments are SQL of a value of type text; what comes back is false or NULL where that is empty or NULL.
Patterns are short and lengths are compared apart: the server builds an automaton at each call, and one
that counts is large.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from taaxdog_datamig.identifiers import abn, account_number, tfn
from taaxdog_datamig.identifiers.postcode import RANGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The no-break space has no spelling that every server encoding knows.
_SEPARATORS: Final = "' -' || chr(160)"
_BLANKS: Final = r"E' \t\n\r\f\v' || chr(160)"


def abn_malformed(text: str) -> str:
    """True of what does not have the form of an ABN."""
    return f"({text} <> '' AND NOT {_digits(text, [len(abn.WEIGHTS)], '[1-9][0-9]*')})"


def abn_misread(text: str) -> str:
    """True of 11 digits that are no ABN by their check digits."""

    def wrong(digits: str) -> str:
        total = _weighted_sum(digits, abn.WEIGHTS, abn.MODULUS)
        return f"({total} - {abn.OFFSET}) % {abn.MODULUS} <> 0"

    return _of_digits(text, [len(abn.WEIGHTS)], "[1-9][0-9]*", wrong(text), wrong(_bare(text)))


def tfn_malformed(text: str) -> str:
    """True of what does not have the form of a TFN."""
    return f"({text} <> '' AND NOT {_digits(text, tfn.WEIGHTS)})"


def tfn_misread(text: str) -> str:
    """True of 8 or 9 digits that are no TFN by their check digit, placeholders not counted."""

    def wrong(digits: str) -> str:
        sums = (
            f"WHEN {length} THEN ({_weighted_sum(digits, weights, tfn.MODULUS)}) % {tfn.MODULUS} <> 0"
            for length, weights in tfn.WEIGHTS.items()
        )
        return f"CASE length({digits}) {' '.join(sums)} END AND {digits} NOT IN {_words(tfn.PLACEHOLDERS)}"

    return _of_digits(text, tfn.WEIGHTS, "[0-9]+", wrong(text), wrong(_bare(text)))


def tfn_placeholder(text: str) -> str:
    """True of a code that stands for a TFN not given."""
    codes = _words(tfn.PLACEHOLDERS)
    return f"({text} IN {codes} OR ({text} ~ '[^0-9]' AND {_bare(text)} IN {codes}))"


def bsb_malformed(text: str) -> str:
    """True of what does not have the form of a BSB."""
    form = "'^[0-9]{3}-?[0-9]{3}$'"
    return f"({text} <> '' AND {text} !~ {form} AND btrim({text}, {_BLANKS}) !~ {form})"


def account_number_malformed(text: str) -> str:
    """True of what does not have the form of an account number."""
    lengths = range(account_number.SHORTEST, account_number.LONGEST + 1)
    return f"({text} <> '' AND NOT {_digits(text, lengths)})"


def phone_known(text: str) -> str:
    """True of Australian mobile and fixed-line numbers, in E.164 and in their common other spellings.

    Wider spellings are left to `phone.classify`.
    """
    from taaxdog_datamig.identifiers import numbering_plan  # noqa: PLC0415 - slow to import, see there

    return numbering_plan.diallable(_phone_bare(text))


def phone_spelled(text: str, known: str) -> str:
    """True of numbers that are known and not in E.164; `known` is `phone_known` of the same text."""
    return f"({known} AND NOT (starts_with({text}, '+') AND {text} = {_phone_bare(text)}))"


def _phone_bare(text: str) -> str:
    return f"translate({text}, ' -.()' || chr(160), '')"


def postcode_elsewhere(state: str, postcode: str) -> str:
    """True where the state, by its abbreviation, has no such postcode."""
    text = f'{postcode} COLLATE "C"'
    abbreviation = f'upper(btrim({state}) COLLATE "C")'
    cases = []
    for name, ranges in RANGES.items():
        within = " OR ".join(f"{text} BETWEEN '{first:04}' AND '{last:04}'" for first, last in ranges)
        cases.append(f"WHEN '{name}' THEN NOT ({within})")
    return (
        f"({postcode} <> '' AND CASE WHEN {_plain(postcode, [4], '[0-9]+')}"
        f" THEN CASE {abbreviation} {' '.join(cases)} END"
        f" ELSE {abbreviation} IN {_words(RANGES)} END)"
    )


def _bare(text: str) -> str:
    return f"translate({text}, {_SEPARATORS}, '')"


def _words(words: Iterable[str]) -> str:
    return str(tuple(sorted(words)))


def _digits(text: str, lengths: Iterable[int], form: str = "[0-9]+") -> str:
    """True of so many digits, between which spaces and hyphens may stand."""
    plain, spaced = (_plain(each, lengths, form) for each in (text, _bare(text)))
    return f"({plain} OR {spaced})"


def _of_digits(text: str, lengths: Iterable[int], form: str, plain: str, spaced: str) -> str:
    """What is said of the digits, where there are so many. CASE, since casts must come after the form."""
    return (
        f"CASE WHEN {_plain(text, lengths, form)} THEN {plain}"
        f" WHEN {_plain(_bare(text), lengths, form)} THEN {spaced} END"
    )


def _plain(text: str, lengths: Iterable[int], form: str) -> str:
    return f"(length({text}) IN ({', '.join(map(str, lengths))}) AND {text} ~ '^{form}$')"


def _weighted_sum(digits: str, weights: Sequence[int], modulus: int) -> str:
    """SQL of a sum that is, modulo `modulus`, that of the digits times their weights.

    With q(k) the number without its last k digits, digit k from the right is q(k) - 10 q(k+1), so that the
    sum is one of q(k) times w(k) - 10 w(k-1): a division each, and no remainder.
    """
    right = weights[::-1]
    factors = [right[0], *(weight - 10 * before for before, weight in pairwise(right))]
    number = f"{digits}::bigint"
    return " + ".join(
        f"{factor % modulus} * ({number} / {10**place})"
        for place, factor in enumerate(factors)
        if factor % modulus
    )

"""Australia's numbering plan as the installed `phonenumbers` has it, and its reading of any text.

Nothing here lists a range of numbers: `spelling` is made from the metadata of the release that is installed,
so an update of `phonenumbers` updates it. Importing `phonenumbers` costs about 20 ms and 3 MB, therefore
`phone` imports this module when the first number is read, not before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    is_valid_number,
    national_significant_number,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from phonenumbers import PhoneNumber, PhoneNumberDesc

__all__ = ["COUNTRY_CODE", "REGION", "diallable", "national_significant_number", "read", "spelling"]

REGION: Final = "AU"
#: Christmas Island and the Cocos Islands share it.
COUNTRY_CODE: Final = 61


def read(text: str) -> PhoneNumber | None:
    """Return the valid number that `phonenumbers` reads in a text written in Australia; None without one."""
    try:
        number = parse(text, REGION)
    except NumberParseException:
        return None
    return number if is_valid_number(number) else None


def diallable(text: str) -> str:
    """SQL, true of Australian mobile and fixed-line numbers in the two commonest spellings of their digits.

    These are the national one (0491570006) and E.164. `phonenumbers` reads each as that number, and
    PostgreSQL the plan's patterns as Python does.

    Args:
        text: SQL of the value, of type text, without separators.

    Raises:
        LookupError: `phonenumbers` has no Australian metadata.
    """
    plan = _plan()
    prefixes = (plan.national_prefix or "", f"+{COUNTRY_CODE}")
    # Mobile numbers first, by far the most: their pattern is the shorter one.
    kinds = [kind for kind in (plan.mobile, plan.fixed_line) if kind and kind.national_number_pattern]
    before = _any(*map(re.escape, prefixes))
    # One look at the text: taking its separators out costs as much as matching it.
    return f"{text} ~ '^{before}{_any(*(kind.national_number_pattern for kind in kinds))}$'"


def spelling() -> re.Pattern[str]:
    """Build the pattern of the common spellings of a number, separators taken out.

    A full match says that `phonenumbers` reads the number whose digits are in the group `nsn` (the national
    significant number: what stands behind +61). No match says nothing: `read` has to be asked.

    Raises:
        LookupError: `phonenumbers` has no Australian metadata.
    """
    plan = _plan()
    kinds = [kind for kind in (plan.mobile, plan.fixed_line, plan.toll_free, plan.shared_cost) if kind]
    examples = [kind.example_number for kind in kinds if kind.example_number]
    trunks = ("", plan.national_prefix or "")
    abroad = [f"+{COUNTRY_CODE}"]
    if plan.preferred_international_prefix:
        abroad.append(f"{plan.preferred_international_prefix}{COUNTRY_CODE}")
    from_home = _ways(("", f"{COUNTRY_CODE}"), trunks, examples)
    from_abroad = _ways(abroad, trunks, examples)
    # `phonenumbers` takes a dialling prefix off wherever it finds one; where it would, we are not sure.
    home = rf"(?!{_any(plan.international_prefix)}){_any(*from_home)}"
    undialled = rf"(?!{_any(plan.national_prefix_for_parsing)})"
    general = rf"(?={_exactly(plan.general_desc)})"
    nsn = rf"{undialled}{general}{_any(*map(_exactly, kinds))}"
    return re.compile(rf"{_any(home, *from_abroad)}(?P<nsn>{nsn})", re.ASCII)


def _plan() -> PhoneMetadata:
    plan = PhoneMetadata.metadata_for_region(REGION, None)
    if plan is None or COUNTRY_CODE not in COUNTRY_CODE_TO_REGION_CODE:
        raise LookupError(f"phonenumbers has no metadata for {REGION}")
    return plan


def _ways(codes: Iterable[str], trunks: Iterable[str], examples: Sequence[str]) -> list[str]:
    """Patterns of the digits that may stand in front of a number: those that every example bears out."""
    ways = dict.fromkeys(code + trunk for code in codes for trunk in trunks)
    return [re.escape(way) for way in ways if examples and all(_holds(way, nsn) for nsn in examples)]


def _holds(way: str, nsn: str) -> bool:
    """Whether `phonenumbers` reads a number written with these digits in front as that number."""
    number = read(way + nsn)
    return (
        number is not None
        and number.country_code == COUNTRY_CODE
        and national_significant_number(number) == nsn
    )


def _any(*patterns: str | None) -> str:
    """One of the patterns; without a pattern, one that never matches."""
    stated = [pattern for pattern in patterns if pattern is not None]
    return f"(?:{'|'.join(stated)})" if stated else "(?!)"


def _exactly(kind: PhoneNumberDesc | None) -> str:
    """One kind's pattern up to the end of the text, with one of the kind's lengths where it states them."""
    if kind is None or not kind.national_number_pattern:
        return "(?!)"
    lengths = _any(*(rf"\d{{{length}}}\Z" for length in kind.possible_length))
    stated = f"(?={lengths})" if kind.possible_length else ""
    return rf"{stated}(?:{kind.national_number_pattern})\Z"

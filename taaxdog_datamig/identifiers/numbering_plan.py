"""Australia's numbering plan as the installed `phonenumbers` has it, and its reading of any text.

Nothing here lists a range of numbers: `spelling` is made from the metadata of the release that is installed,
so an update of `phonenumbers` updates it. Importing `phonenumbers` costs 20 to 40 ms and 3 MB, therefore
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
    from collections.abc import Iterable

    from phonenumbers import PhoneNumber, PhoneNumberDesc

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


def spelling() -> re.Pattern[str]:
    """Build the pattern of the common spellings of a number, separators taken out.

    A full match says that `phonenumbers` reads the number whose digits are in the group `nsn` (the national
    significant number: what stands behind +61). No match says nothing: `read` has to be asked.

    Raises:
        LookupError: `phonenumbers` has no Australian metadata.
    """
    plan = PhoneMetadata.metadata_for_region(REGION, None)
    if plan is None or COUNTRY_CODE not in COUNTRY_CODE_TO_REGION_CODE:
        raise LookupError(f"phonenumbers has no metadata for {REGION}")
    kinds = [kind for kind in (plan.mobile, plan.fixed_line, plan.toll_free, plan.shared_cost) if kind]
    abroad = (f"+{COUNTRY_CODE}", f"{plan.preferred_international_prefix}{COUNTRY_CODE}")
    written = ("", f"{COUNTRY_CODE}", *abroad)
    trunk = plan.national_prefix or ""
    examples = [kind.example_number for kind in kinds if kind.example_number]
    ways = [way for way in dict.fromkeys(w + t for w in written for t in ("", trunk)) if _holds(way, examples)]
    # `phonenumbers` takes a dialling prefix off wherever it finds one; where it would, we are not sure.
    abroad_ways = [re.escape(way) for way in ways if way.startswith(abroad)]
    home_ways = [re.escape(way) for way in ways if not way.startswith(abroad)]
    prefixes = _any(rf"(?!{_any(plan.international_prefix)}){_any(*home_ways)}", *abroad_ways)
    undialled = rf"(?!{_any(plan.national_prefix_for_parsing)})"
    general = rf"(?={_exactly(plan.general_desc)})"
    return re.compile(rf"{prefixes}(?P<nsn>{undialled}{general}{_any(*map(_exactly, kinds))})", re.ASCII)


def _holds(way: str, examples: Iterable[str]) -> bool:
    """Whether `phonenumbers` reads each number written with these digits in front as that number."""
    numbers = [(example, read(way + example)) for example in examples]
    return all(
        number is not None
        and number.country_code == COUNTRY_CODE
        and national_significant_number(number) == example
        for example, number in numbers
    )


def _any(*patterns: str | None) -> str:
    """One of the patterns; no pattern at all is one that never matches."""
    return f"(?:{'|'.join(pattern for pattern in patterns if pattern is not None) or '(?!)'})"


def _exactly(kind: PhoneNumberDesc | None) -> str:
    """One kind's pattern up to the end of the text, with one of the kind's lengths where it states them."""
    if kind is None or not kind.national_number_pattern:
        return "(?!)"
    lengths = _any(*(rf"\d{{{length}}}\Z" for length in kind.possible_length))
    stated = f"(?={lengths})" if kind.possible_length else ""
    return rf"{stated}(?:{kind.national_number_pattern})\Z"

"""Australian postcodes: four digits, in ranges that Australia Post has given to the states."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_FORM: Final = re.compile(r"[0-9]{4}")

#: First and last postcode of each range, by state. Border towns may have their neighbour's.
RANGES: Final[Mapping[str, tuple[tuple[int, int], ...]]] = MappingProxyType(
    {
        "NSW": ((1000, 2599), (2619, 2899), (2921, 2999)),
        "ACT": ((200, 299), (2600, 2618), (2900, 2920)),
        "VIC": ((3000, 3999), (8000, 8999)),
        "QLD": ((4000, 4999), (9000, 9999)),
        "SA": ((5000, 5999),),
        "WA": ((6000, 6797), (6800, 6999)),
        "TAS": ((7000, 7999),),
        "NT": ((800, 999),),
    }
)


def normalise(text: str) -> str | None:
    """Return a postcode's four digits; None when it is in no state's range."""
    digits = text.strip()
    return digits if _FORM.fullmatch(digits) and _state(int(digits)) else None


def is_valid(text: str) -> bool:
    """Tell whether a text is a postcode of a state. Whether any place has it, no rule can tell."""
    return normalise(text) is not None


def _state(number: int) -> str | None:
    for state, ranges in RANGES.items():
        if any(first <= number <= last for first, last in ranges):
            return state
    return None

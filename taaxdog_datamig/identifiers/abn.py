"""Australian business numbers: 11 digits, two check digits in front, modulo 89."""

from __future__ import annotations

from typing import Final

from taaxdog_datamig.identifiers.digits import digits_of, weighted_sum

_WEIGHTS: Final = (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)
#: The rule subtracts 1 from the first digit before weighing: its weight once too much.
_OFFSET: Final = 10


def normalise(text: str) -> str | None:
    """Return the digits of a valid ABN, without spaces and hyphens; None when it is not one."""
    digits = digits_of(text)
    # No ABN begins with 0: subtracting 1 from it would not leave a digit.
    if digits is None or len(digits) != len(_WEIGHTS) or digits[0] == "0":
        return None
    return digits if (weighted_sum(digits, _WEIGHTS) - _OFFSET) % 89 == 0 else None


def is_valid(text: str) -> bool:
    """Tell whether a text is an ABN with the right check digits."""
    return normalise(text) is not None

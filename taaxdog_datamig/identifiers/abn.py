"""Australian business numbers: 11 digits, two check digits in front, modulo 89."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from taaxdog_datamig.identifiers.digits import digits_of, weighted_sum

WEIGHTS: Final = (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19)
#: The rule subtracts 1 from the first digit before weighing: its weight once too much.
OFFSET: Final = 10
MODULUS: Final = 89

#: form: it has other characters than digits, spaces and hyphens, not 11 digits, or a 0 in front.
Fault: TypeAlias = Literal["form", "check digits"]


def fault(text: str) -> Fault | None:
    """Tell what is wrong with a text as an ABN; None when nothing is."""
    digits = digits_of(text)
    # No ABN begins with 0: subtracting 1 from it would not leave a digit.
    if digits is None or len(digits) != len(WEIGHTS) or digits[0] == "0":
        return "form"
    return None if (weighted_sum(digits, WEIGHTS) - OFFSET) % MODULUS == 0 else "check digits"


def normalise(text: str) -> str | None:
    """Return the digits of a valid ABN, without spaces and hyphens; None when it is not one."""
    return digits_of(text) if fault(text) is None else None


def is_valid(text: str) -> bool:
    """Tell whether a text is an ABN with the right check digits."""
    return normalise(text) is not None

"""Tax file numbers: 9 digits, or 8 for old ones, with a check digit modulo 11.

About one random number in eleven passes, so a valid number in free text is not yet a TFN.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from taaxdog_datamig.identifiers.digits import digits_of, weighted_sum

#: Codes that stand for "no TFN given" (the ATO's exemption codes) and placeholders: never a person's.
EXEMPTION_CODES: Final = frozenset({"000000000", "111111111", "333333333", "444444444", "987654321"})

#: With the same for eight digits.
PLACEHOLDERS: Final = EXEMPTION_CODES | {"00000000"}

#: Each length has weights of its own.
WEIGHTS: Final = {9: (1, 4, 3, 7, 5, 8, 6, 9, 10), 8: (10, 7, 8, 4, 6, 3, 5, 1)}
MODULUS: Final = 11


#: form: it has other characters than digits, spaces and hyphens, or not 8 or 9 digits; placeholder: it
#: stands for a TFN not given.
Fault: TypeAlias = Literal["form", "check digit", "placeholder"]


def fault(text: str) -> Fault | None:
    """Tell what is wrong with a text as a TFN; None when it can belong to somebody."""
    digits = digits_of(text) or ""
    weights = WEIGHTS.get(len(digits))
    if weights is None:
        return "form"
    if digits in PLACEHOLDERS:
        return "placeholder"
    return None if weighted_sum(digits, weights) % MODULUS == 0 else "check digit"


def normalise(text: str) -> str | None:
    """Return the digits of a valid TFN, without spaces and hyphens; None when it is not one."""
    return digits_of(text) if fault(text) is None else None


def is_valid(text: str) -> bool:
    """Tell whether a text is a TFN that can belong to somebody; exemption codes are not."""
    return normalise(text) is not None


def is_exemption_code(text: str) -> bool:
    """Tell whether a text is one of the codes that stand for a TFN not given."""
    return digits_of(text) in EXEMPTION_CODES

"""Australian company numbers: 9 digits, the last the complement of a weighted sum modulo 10."""

from __future__ import annotations

from typing import Final

from taaxdog_datamig.identifiers.digits import digits_of, weighted_sum

#: Over all nine digits: the check digit makes the sum a multiple of ten.
_WEIGHTS: Final = (8, 7, 6, 5, 4, 3, 2, 1, 1)


def normalise(text: str) -> str | None:
    """Return the digits of a valid ACN, without spaces and hyphens; None when it is not one."""
    digits = digits_of(text)
    if digits is None or len(digits) != len(_WEIGHTS):
        return None
    return digits if weighted_sum(digits, _WEIGHTS) % 10 == 0 else None


def is_valid(text: str) -> bool:
    """Tell whether a text is an ACN with the right check digit."""
    return normalise(text) is not None

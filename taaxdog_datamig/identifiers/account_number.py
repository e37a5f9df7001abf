"""Bank account numbers: 4 to 10 digits, without a check digit that all banks share.

Direct entry files have room for nine characters (BECS procedures); a few banks give ten digits.
"""

from __future__ import annotations

from typing import Final

from taaxdog_datamig.identifiers.digits import digits_of

#: Digits.
SHORTEST: Final = 4
LONGEST: Final = 10


def normalise(text: str) -> str | None:
    """Return the digits of an account number, without spaces and hyphens; None when it is not one."""
    digits = digits_of(text)
    return digits if digits is not None and SHORTEST <= len(digits) <= LONGEST else None


def is_valid(text: str) -> bool:
    """Tell whether a text has the form of an account number. Whether it exists, no rule can tell."""
    return normalise(text) is not None

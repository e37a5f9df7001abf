"""What the identifiers share: their digits, and weighted sums over them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEPARATORS = str.maketrans("", "", " -\u00a0")
_DIGITS = re.compile(r"[0-9]+")  # not \d: other scripts' digits are no identifier of ours


def digits_of(text: str) -> str | None:
    """Return the digits of a text that holds only digits, spaces and hyphens; else None."""
    bare = text.translate(_SEPARATORS)
    return bare if _DIGITS.fullmatch(bare) else None


def weighted_sum(digits: str, weights: Sequence[int]) -> int:
    """Sum the digits, each times its weight; both have the same length."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def luhn(digits: str) -> bool:
    """Tell whether digits pass the check of payment cards (ISO/IEC 7812-1, annex B)."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[::-2]))) % 10 == 0

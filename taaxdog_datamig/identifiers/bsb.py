"""Bank-state-branch numbers: `ddd-ddd` or `dddddd`, without a check digit."""

from __future__ import annotations

import re
from typing import Final

_FORM: Final = re.compile(r"([0-9]{3})-?([0-9]{3})")


def normalise(text: str) -> str | None:
    """Return a BSB as `ddd-ddd`; None when the text does not have its form."""
    match = _FORM.fullmatch(text.strip())
    return f"{match[1]}-{match[2]}" if match else None


def is_valid(text: str) -> bool:
    """Tell whether a text has the form of a BSB. Whether the branch exists, no rule can tell."""
    return normalise(text) is not None

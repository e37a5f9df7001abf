"""What lets somebody in until a moment, and when that has passed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Tables of nothing else, and their column of the moment.
EXPIRING_TABLES: Final[Mapping[str, str]] = MappingProxyType(
    {"sessions": "expires", "verification_tokens": "expires", "password_reset_tokens": "expires"}
)

#: Token and moment of those on `users`.
USER_TOKENS: Final = (
    ("passwordResetToken", "passwordResetExpires"),
    ("emailVerificationToken", "emailVerificationExpires"),
)


def expired(column: str) -> str:
    """SQL, true of rows whose moment has passed; `{now}` and the column are placeholders."""
    return f"{{{column}}} < {{now}}"

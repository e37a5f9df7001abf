"""Reset: a password that nothing matches, and the token of the link that sets a new one."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from typing import Final

import attrs

from taaxdog_datamig.errors import UsageError

#: Bytes of randomness in a token and in a marker.
_TOKEN_BYTES: Final = 32
_MARKER_BYTES: Final = 24
_MARKER: Final = re.compile(
    r"!(?:datamig\$v1\$[A-Za-z0-9_-]{32}"  # ours
    r"|[A-Za-z0-9]{40})?"  # Django's, and the bare mark of older applications
)

#: How long a reset link lives by default. Longer than the hour of a link that somebody has just asked for:
#: these are sent unasked.
RESET_LIFETIME: Final = timedelta(days=3)


@attrs.frozen
class ResetToken:
    """What a user's row gets so that the application's reset link opens."""

    #: For `passwordResetToken`, as it is: the application looks links up by it.
    token: str = attrs.field(repr=False)
    #: For `passwordResetExpires`, with its time zone.
    expires: datetime


def unusable() -> str:
    """Return a stored value that no password matches, here or in a library of any scheme.

    It begins with `!`, as Django's does, and is another one at each call, so that a reset link that an
    application derives from the stored value is void after the next reset.
    """
    return f"!datamig$v1${secrets.token_urlsafe(_MARKER_BYTES)}"


def is_unusable(stored: str) -> bool:
    """Tell whether a stored value is a marker: ours, Django's, or `!` alone."""
    return _MARKER.fullmatch(stored) is not None


def new_reset_token(now: datetime, *, lifetime: timedelta = RESET_LIFETIME) -> ResetToken:
    """Make a token of 256 random bits, in 43 characters that fit a URL.

    Raises:
        UsageError: `now` has no time zone, or the lifetime is not positive.
    """
    if now.tzinfo is None:
        raise UsageError("the time has no time zone", "Give datetime.now(UTC)")
    if lifetime <= timedelta(0):
        raise UsageError("a reset token's lifetime is not positive", "Give hours or days")
    return ResetToken(secrets.token_urlsafe(_TOKEN_BYTES), now + lifetime)

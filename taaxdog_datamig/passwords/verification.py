"""Login: does the password match, and should its hash be made anew."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from argon2.exceptions import Argon2Error

from taaxdog_datamig.errors import KeyWrong
from taaxdog_datamig.passwords.costs import DEFAULT_COST, Cost, Scheme
from taaxdog_datamig.passwords.grammar import Wrapped, prepare
from taaxdog_datamig.passwords.modern import Modern, check_argon2, check_bcrypt
from taaxdog_datamig.passwords.recognition import recognise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.passwords.legacy import LegacyForm
    from taaxdog_datamig.passwords.pepper import Pepper

#: The version of argon2 that everybody writes, 1.3.
_ARGON2_VERSION: Final = 19


def verify(
    stored: str | None,
    candidate: str,
    *,
    pepper: Pepper | None = None,
    forms: Sequence[LegacyForm] = (),
) -> bool:
    """Tell whether a password is the one that a stored value was made of, whatever the value's form.

    False, without an error, for what no password matches: NULL, markers, unknown and malformed values.
    Takes as long as the hash: call it in a thread, from an event loop. Digests are compared in constant
    time; that a user does not exist is told by the time unless the caller verifies against some hash then.

    Of a password longer than 72 bytes, a plain bcrypt hash was made of the first 72 alone, and so it is
    verified; wrapped values depend on all of it.

    Args:
        stored: the column's value.
        candidate: the password, hashed as UTF-8.
        pepper: the secrets that values may have been wrapped under.
        forms: the application's own legacy forms.

    Raises:
        KeyWrong: the value was wrapped under a secret that `pepper` does not have. It is not the password
            that is wrong then, and nobody should be locked out for it.
    """
    try:
        secret = candidate.encode()
    except UnicodeEncodeError:
        return False
    found = recognise(stored, forms=forms)
    if found.wrapped is not None:
        return _opens(found.wrapped, secret, pepper)
    if found.legacy is not None:
        return hmac.compare_digest(found.legacy.inner.digest(secret), found.legacy.digest)
    return found.modern is not None and found.modern.verify(secret)


def _opens(wrapped: Wrapped, secret: bytes, pepper: Pepper | None) -> bool:
    key = None
    if wrapped.pepper_id is not None:
        if pepper is None:
            raise KeyWrong(
                f"pepper {wrapped.pepper_id} is not configured", "Passwords wrapped under it need it"
            )
        key = pepper.secret(wrapped.pepper_id)
    prepared = prepare(wrapped.inner.digest(secret), key)
    try:
        check = check_bcrypt if wrapped.to == "bcrypt" else check_argon2
        return check(wrapped.outer, prepared)
    except (ValueError, MemoryError, Argon2Error):
        return False


def needs_rehash(
    stored: str | None,
    *,
    to: Scheme = "bcrypt",
    cost: Cost = DEFAULT_COST,
    forms: Sequence[LegacyForm] = (),
) -> bool:
    """Tell whether `hash_password` should replace a value that has just been verified.

    True for wrapped and legacy values, for modern ones of another scheme, and for those that cost less
    than `cost`. An argon2id hash of that cost stays, even if bcrypt is asked for: it is the better one.
    False for what no password matches.
    """
    found = recognise(stored, forms=forms)
    if found.modern is not None:
        return not _is_enough(found.modern, to, cost)
    return found.kind in {"wrapped", "legacy"}


def _is_enough(modern: Modern, to: Scheme, cost: Cost) -> bool:
    if modern.scheme == "argon2id":
        return (
            modern.number("version") == _ARGON2_VERSION
            and modern.number("memory") >= cost.argon2_memory
            and modern.number("passes") >= cost.argon2_passes
        )
    return modern.scheme == to == "bcrypt" and modern.number("log_rounds") >= cost.bcrypt_log_rounds

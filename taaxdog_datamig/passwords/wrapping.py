"""Wrapping: a legacy digest becomes a modern hash, and its user keeps the password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from argon2.exceptions import Argon2Error

from taaxdog_datamig.errors import KeyWrong, UsageError
from taaxdog_datamig.passwords.costs import DEFAULT_COST, Cost, Scheme
from taaxdog_datamig.passwords.grammar import Wrapped, prepare
from taaxdog_datamig.passwords.hashing import hash_bytes
from taaxdog_datamig.passwords.legacy import Inner
from taaxdog_datamig.passwords.modern import check_argon2, check_bcrypt
from taaxdog_datamig.passwords.recognition import recognise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.passwords.legacy import LegacyForm
    from taaxdog_datamig.passwords.pepper import Pepper

#: The longest modern hashes, characters: of argon2id with 7, 4 and 3 digits of parameters.
_OUTER: Final[dict[Scheme, int]] = {"bcrypt": 60, "argon2id": 104}


def wrap(
    stored: str,
    *,
    to: Scheme = "bcrypt",
    cost: Cost = DEFAULT_COST,
    pepper: Pepper | None = None,
    forms: Sequence[LegacyForm] = (),
) -> str:
    """Wrap a legacy digest in a modern hash, in the form of docs/reference/password-hashes.md.

    Takes as long as `cost` says, without the GIL: threads do as many at once as there are cores.

    Args:
        stored: the column's value; `recognise` finds it legacy.
        to: the modern hash.
        cost: its parameters.
        pepper: its first secret goes into the wrapped value, which cannot be verified without it.
        forms: the application's own legacy forms.

    Returns:
        About 80 characters for bcrypt, 120 for argon2id, and twice the bytes of the salt.

    Raises:
        UsageError: the value is of another kind, or there is no such scheme.
    """
    found = recognise(stored, forms=forms)
    if found.legacy is None:
        raise UsageError(
            f"a password value of kind {found.kind} cannot be wrapped", "Wrap what `recognise` finds legacy"
        )
    name = None if pepper is None else pepper.primary
    secret = None if pepper is None else pepper.secret(pepper.primary)
    outer = hash_bytes(prepare(found.legacy.digest, secret), to, cost)
    return Wrapped(inner=found.legacy.inner, pepper_id=name, outer=outer).text


def longest(to: Scheme, pepper: Pepper | None) -> int:
    """Characters of the longest wrapped form of a bare digest."""
    name = None if pepper is None else pepper.primary
    return len(Wrapped(inner=Inner(algorithm="sha512"), pepper_id=name, outer=_OUTER[to] * "x").text)


def encloses(
    stored: str, digest: str, *, pepper: Pepper | None = None, forms: Sequence[LegacyForm] = ()
) -> bool:
    """Tell whether a wrapped value is what `wrap` makes of a legacy one: whether its password is the same.

    Takes as long as the hash.

    Raises:
        KeyWrong: it was wrapped under a secret that `pepper` does not have.
    """
    outer, inner = recognise(stored).wrapped, recognise(digest, forms=forms).legacy
    if outer is None or inner is None or outer.inner != inner.inner:
        return False
    return opens(outer, inner.digest, pepper)


def opens(wrapped: Wrapped, digest: str, pepper: Pepper | None) -> bool:
    """Tell whether a wrapped value was made of this digest, in lower-case hex.

    Raises:
        KeyWrong: it was wrapped under a secret that `pepper` does not have.
    """
    key = None
    if wrapped.pepper_id is not None:
        if pepper is None:
            raise KeyWrong(
                f"pepper {wrapped.pepper_id} is not configured", "Passwords wrapped under it need it"
            )
        key = pepper.secret(wrapped.pepper_id)
    prepared = prepare(digest, key)
    try:
        check = check_bcrypt if wrapped.to == "bcrypt" else check_argon2
        return check(wrapped.outer, prepared)
    except (ValueError, MemoryError, Argon2Error):
        return False

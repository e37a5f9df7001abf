"""Wrapping: a legacy digest becomes a modern hash, and its user keeps the password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.passwords.costs import DEFAULT_COST, Cost, Scheme
from taaxdog_datamig.passwords.grammar import Wrapped, prepare
from taaxdog_datamig.passwords.hashing import hash_bytes
from taaxdog_datamig.passwords.recognition import recognise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.passwords.legacy import LegacyForm
    from taaxdog_datamig.passwords.pepper import Pepper


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

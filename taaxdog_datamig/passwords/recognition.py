"""What a stored password value is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from taaxdog_datamig.passwords import grammar, legacy, modern
from taaxdog_datamig.passwords.reset import is_unusable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.passwords.grammar import Wrapped
    from taaxdog_datamig.passwords.legacy import LegacyForm, LegacyHash
    from taaxdog_datamig.passwords.modern import Modern

Kind: TypeAlias = Literal["empty", "unusable", "wrapped", "modern", "legacy", "unknown"]


@attrs.frozen(kw_only=True)
class Recognised:
    """What a stored value turned out to be. Its `repr` shows kind and scheme only."""

    #: empty: NULL or ""; unusable: a marker that no password matches; wrapped: our own form; modern: a slow
    #: hash, left as it is; legacy: a fast digest, to be wrapped; unknown: none of these, never touched.
    kind: Kind
    #: bcrypt, argon2id, django-pbkdf2-sha256, ..., md5, ..., the name of the caller's form,
    #: wrapped-bcrypt, wrapped-argon2id; for the other kinds the kind itself.
    scheme: str
    wrapped: Wrapped | None = attrs.field(default=None, repr=False)
    modern: Modern | None = attrs.field(default=None, repr=False)
    legacy: LegacyHash | None = attrs.field(default=None, repr=False)


_EMPTY: Final = Recognised(kind="empty", scheme="empty")
_UNUSABLE: Final = Recognised(kind="unusable", scheme="unusable")
_UNKNOWN: Final = Recognised(kind="unknown", scheme="unknown")


def recognise(stored: str | None, *, forms: Sequence[LegacyForm] = ()) -> Recognised:
    """Tell what a stored value is. Every text has an answer; nothing is verified.

    Our own forms and the modern ones come first, then the caller's forms in their order, then bare
    digests: a form may give 32 hex digits another meaning, but never claim a bcrypt hash.

    Args:
        stored: the column's value.
        forms: the application's own legacy forms.
    """
    if not stored:
        return _EMPTY
    if is_unusable(stored):
        return _UNUSABLE
    if stored.startswith(grammar.PREFIX):
        if (wrapped := grammar.parse(stored)) is None:
            return _UNKNOWN
        return Recognised(kind="wrapped", scheme=f"wrapped-{wrapped.to}", wrapped=wrapped)
    if (slow := modern.parse(stored)) is not None:
        return Recognised(kind="modern", scheme=slow.scheme, modern=slow)
    for form in forms:
        if (found := form.read(stored)) is not None:
            return Recognised(kind="legacy", scheme=found.name, legacy=found)
    if (found := legacy.bare(stored)) is not None:
        return Recognised(kind="legacy", scheme=found.name, legacy=found)
    return _UNKNOWN

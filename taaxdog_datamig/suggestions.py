"""What somebody may have meant who gave a name that there is not."""

from __future__ import annotations

from collections.abc import Iterable

#: How like the name a suggestion is at least (1: the same), and how much less than the likest.
_LIKE, _BEHIND = 0.5, 0.15
_MOST = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names the likest of `known`; empty where none is like `name`."""
    import difflib  # noqa: PLC0415 - only on the way to an error

    def likeness(other: str) -> float:
        return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()

    likest = sorted(((likeness(other), other) for other in set(known)), key=lambda each: (-each[0], each[1]))
    near = [other for like, other in likest[:_MOST] if like >= max(_LIKE, likest[0][0] - _BEHIND)]
    return f"Did you mean {' or '.join(near)}?" if near else ""

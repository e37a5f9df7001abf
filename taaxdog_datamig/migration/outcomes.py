"""What a transform says of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.define  # frozen ones take twice as long to make, and there is one for each row
class Row:
    """A row as a transform sees it: `row["tfn"]` by logical column name, NULL as None. Not to be altered."""

    #: The key's columns as text.
    key: tuple[str, ...]
    #: Native values as asyncpg gives them, and the target's lookups. Never shown: any may be sensitive.
    values: Mapping[str, Any] = attrs.field(repr=False)

    def __getitem__(self, column: str) -> Any:
        return self.values[column]


class Changes(dict[str, Any]):
    """The row gets these values: logical column name to native value or text form.

    `reason` says in a word or two what the decision rests on, such as `state`; how often each was given is
    kept in the audit trail. It never holds a value. `left` says that, besides, a part of the row stays.
    """

    reason: str = ""
    left: Leave | None = None

    def because(self, reason: str) -> Changes:
        """The same, with its reason."""
        self.reason = reason
        return self

    def leaving(self, left: Leave | None) -> Changes:
        """The same, while a part of the row stays as it is on purpose: the row is changed, and listed."""
        self.left = left
        return self

    def __repr__(self) -> str:
        return f"Changes({', '.join(self)})"


@attrs.frozen
class Skip:
    """The row needs nothing, although the pending predicate found it."""


@attrs.frozen
class Leave:
    """The row stays as it is on purpose, and is listed with the run. It does not count as an error."""

    #: A short word for lists and counts, such as `invalid-phone`.
    code: str
    #: Why, naming the column, never quoting the value.
    reason: str


@attrs.frozen
class Reject:
    """The row is put in quarantine."""

    #: A short word for lists and counts, such as `malformed-token`.
    code: str
    #: What is wrong, naming the column, never quoting the value.
    reason: str


Outcome: TypeAlias = Changes | Skip | Leave | Reject

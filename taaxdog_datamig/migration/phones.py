"""Which columns hold phone numbers, and what becomes of a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taaxdog_datamig.identifiers.phone import Phone
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable

#: Logical names, in whichever table of the profile.
_PHONES = ("phone", "mobile")
#: Types that can hold `+` and fifteen digits.
_STRINGS = {"text", "varchar", "bpchar", "citext"}


def phones(table: FittedTable) -> dict[str, Column]:
    """The table's columns of phone numbers, by logical name."""
    found = {name: table.column(name) for name in _PHONES if name in table.spec.columns}
    return {name: column for name, column in found.items() if column is not None}


def fits(column: Column) -> bool:
    """Whether E.164 can be written into it."""
    return column.base in _STRINGS and not column.generated


def rewritten(found: Phone, text: str) -> str | None:
    """What replaces a number; None where it stays: done, no number, or not to be dialled from abroad."""
    return None if found.kind in {"invalid", "national"} or found.value == text else found.value

"""normalize-phones: every phone number in its one spelling, E.164.

Australian and foreign numbers become E.164. Numbers that cannot be dialled from abroad (13, 1300, 1800) have
no E.164 form, and what is no number cannot be read: both are left as they stand, and listed. Sealed numbers
are opened, and sealed anew where they change.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

import attrs

from taaxdog_datamig.identifiers import phone
from taaxdog_datamig.migration import (
    Changes,
    DeclaredMigration,
    Leave,
    NotApplicable,
    Outcome,
    Row,
    Skip,
    Target,
    shape_of,
    widening,
)
from taaxdog_datamig.migration.phones import fits, phones, rewritten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taaxdog_datamig.crypto import FieldCipher, Keyring
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable

#: What looks done: +61 with an area code and eight digits, or another + and what ITU-T E.164 allows. It is
#: inspected all the same, for some of it is no number, or has a 0 too many (`+640211234567`).
_E164 = r"'^\+(61[23478][0-9]{8}|(?!61)[1-9][0-9]{6,14})$'"
#: Characters of the longest E.164 number.
_LONGEST = 16

#: What is left for which reason, the first of a row's columns that applies.
_CODES = ("does-not-open", "invalid-phone", "national-only")

#: None where no key is configured.
Ciphers = dict[str, "FieldCipher | None"]


class NormalizePhones(DeclaredMigration):
    """Rewrites phone and mobile numbers in E.164."""

    name: ClassVar[str] = "normalize-phones"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Normalize phone numbers to E.164, the Australian ones to +61"
    category: ClassVar[str] = "user-data"

    async def targets(self) -> Sequence[Target]:
        """One target for each table with a column `phone` or `mobile` in the profile."""
        found = [
            (table, columns) for table in self.context.profile.tables.values() if (columns := phones(table))
        ]
        said = tuple(
            f"{table.relation.label}: {column.name} is {column.type} and holds no E.164: left out"
            for table, columns in found
            for column in columns.values()
            if not fits(column)
        )
        targets = [
            _target(self.context.keyring, table, usable)
            for table, columns in found
            if (usable := {name: column for name, column in columns.items() if fits(column)})
        ]
        if not targets:
            raise NotApplicable("; ".join(said) or "no table of the profile has a column phone or mobile")
        return [attrs.evolve(targets[0], warnings=(*said, *targets[0].warnings)), *targets[1:]]


def _target(keyring: Keyring | None, table: FittedTable, columns: Mapping[str, Column]) -> Target:
    ciphers: Ciphers = {name: keyring.field(table.spec.name, name) if keyring else None for name in columns}
    narrow = {
        name: column
        for name, column in columns.items()
        if column.limit is not None and column.limit < _LONGEST
    }
    kind = f"character varying({_LONGEST})"
    texts = [f"t.{column.quoted}::text" for column in columns.values()]
    return Target(
        table=table,
        shape=shape_of(table, columns, dict.fromkeys(narrow, kind)),
        # Whether a sealed number needs the migration shows when it is opened.
        pending=" OR ".join(
            f"({text} <> '' AND {text} !~ {_E164} AND NOT starts_with({text}, 'encrypted:'))"
            for text in texts
        ),
        inspect=" OR ".join(f"{text} <> ''" for text in texts),
        transform=partial(_normalise, ciphers),
        selective=True,
        reveal=partial(_reveal, ciphers),
        sensitive=not columns.keys().isdisjoint(table.sensitive),
        ddl=widening(table, narrow, kind),
        warnings=()
        if keyring
        else (f"{table.relation.label}: no encryption key is configured, sealed numbers are left",),
    )


def _normalise(ciphers: Ciphers, row: Row) -> Outcome:
    changes, kinds = Changes(), []
    left: dict[str, list[str]] = {}
    for name, cipher in ciphers.items():
        stored: str | None = row[name]
        text, sealed, trouble = _opened(cipher, stored, row.key)
        if trouble:
            left.setdefault("does-not-open", []).append(f"{name} {trouble}")
        if not text:
            continue
        found = phone.classify(text)
        if found.kind == "invalid":
            left.setdefault("invalid-phone", []).append(f"{name}: {found.reason}")
        elif found.kind == "national":
            left.setdefault("national-only", []).append(f"{name} cannot be dialled from abroad")
        elif (value := rewritten(found, text)) is not None:
            changes[name] = cipher.seal(value, row.key) if cipher and sealed else value
            kinds.append(f"{name} {found.kind}")
    leave = _leave(left)
    if changes:
        return changes.because(", ".join(kinds)).leaving(leave)
    return leave or Skip()


def _leave(left: Mapping[str, Sequence[str]]) -> Leave | None:
    codes = [code for code in _CODES if code in left]
    return Leave(codes[0], "; ".join(reason for code in codes for reason in left[code])) if codes else None


def _opened(
    cipher: FieldCipher | None, stored: str | None, key: tuple[str, ...]
) -> tuple[str | None, bool, str]:
    """A stored value's plaintext, whether it is sealed, and what stands in the way of opening it."""
    if cipher is None:
        sealed = (stored or "").startswith("encrypted:")
        return (None, True, "is sealed, and no key is configured") if sealed else (stored, False, "")
    found = cipher.classify(stored, key)
    if found.kind in {"plaintext", "token", "legacy"}:
        return found.plaintext, found.kind != "plaintext", ""
    return None, False, "" if found.kind == "empty" else "begins like a sealed value and does not open"


def _reveal(ciphers: Ciphers, key: tuple[str, ...], column: str, text: str | None) -> object:
    plain, _, trouble = _opened(ciphers[column], text, key)
    return text if trouble else plain

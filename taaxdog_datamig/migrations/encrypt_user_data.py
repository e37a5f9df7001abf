"""encrypt-user-data: seal every sensitive column of the profile.

Values are told apart by opening them, never by their look: plaintext is sealed, a value the application
encrypted itself is opened and sealed anew, a token that opens is left alone, and one that does not is put
in quarantine. NULL and the empty string stay what they are.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from taaxdog_datamig.errors import KeyMissing, PreflightFailed
from taaxdog_datamig.migration import (
    Changes,
    DeclaredMigration,
    NotApplicable,
    Outcome,
    Reject,
    Row,
    Skip,
    Target,
    shape_of,
    widening,
)
from taaxdog_datamig.pg.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.crypto import FieldCipher, Keyring
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedProfile, FittedTable

#: Types whose values are strings that a token can replace.
_STRINGS = {"text", "varchar", "bpchar", "citext"}
#: Longest plaintext that a limited column is assumed to hold, characters.
_PLAINTEXT = 256

#: Why a value that looks sealed is refused, by what it turned out to be.
REJECTED = {
    "malformed": "begins like a sealed value, but is neither a field token nor sealed by the application",
    "foreign_key_id": "was sealed under a key that is not configured",
    "does_not_open": "was sealed for another row or column, or is damaged",
}

Ciphers = dict[str, "FieldCipher"]


class EncryptUserData(DeclaredMigration):
    """Seals TFNs, mobile numbers, bank details and two-factor secrets."""

    name: ClassVar[str] = "encrypt-user-data"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = (
        "Encrypt sensitive user data: TFNs, mobile numbers, bank details, 2FA secrets"
    )
    category: ClassVar[str] = "core"
    after: ClassVar[tuple[str, ...]] = ("normalize-phones", "merge-duplicates")

    async def targets(self) -> Sequence[Target]:
        """One target for each table that has sensitive columns."""
        keyring = self.context.keyring
        if keyring is None:
            raise KeyMissing(
                "no encryption key is configured",
                "Make one with `datamig keys generate` and set FIELD_ENCRYPTION_KEY (or _FILE)",
            )
        profile = self.context.profile
        tables = [table for table in profile.tables.values() if table.spec.sensitive]
        if not any(table.sensitive for table in tables):
            raise NotApplicable("none of the profile's sensitive columns is in this database")
        warnings = _absent(profile)
        return [
            # What is absent has no table of its own to be said with.
            _target(keyring, table, () if number else warnings)
            for number, table in enumerate(table for table in tables if table.sensitive)
        ]


def _absent(profile: FittedProfile) -> tuple[str, ...]:
    sensitive = {
        name
        for table in profile.profile.tables.values()
        for column in table.sensitive
        for name in (table.name, f"{table.name}.{column.name}")
    }
    return tuple(
        f"{name} is not in this database: nothing to seal there"
        for name in profile.missing
        if name in sensitive
    )


def _target(keyring: Keyring, table: FittedTable, warnings: tuple[str, ...]) -> Target:
    columns = table.sensitive
    for column in columns.values():
        if column.base not in _STRINGS:
            raise PreflightFailed(
                f"column {column.name} of {table.relation.label} is {column.type}; a token needs text",
                f"ALTER TABLE {table.relation.quoted} ALTER COLUMN {column.quoted} TYPE text, and the "
                "application with it; then run this again",
            )
        if column.generated:
            raise PreflightFailed(
                f"column {column.name} of {table.relation.label} is a generated column",
                "Seal its source instead",
            )
    ciphers = {name: keyring.field(table.spec.name, name) for name in columns}
    narrow = {name: column for name, column in columns.items() if too_narrow(keyring, column)}
    return Target(
        table=table,
        shape=shape_of(table, columns, dict.fromkeys(narrow, "text")),
        pending=" OR ".join(_pending(keyring, column) for column in columns.values()),
        inspect=" OR ".join(f"{column.quoted}::text LIKE 'encrypted:v1:%'" for column in columns.values()),
        settled=True,
        transform=partial(_seal, ciphers),
        reveal=partial(reveal, ciphers),
        sensitive=True,
        ddl=widening(table, narrow, "text"),
        breaks_unique=True,
        warnings=warnings,
    )


def too_narrow(keyring: Keyring, column: Column) -> bool:
    """Whether a token of the primary key has no room in a column."""
    if column.base == "bpchar":
        return True  # a blank-padded token is no token
    if column.limit is None:
        return False
    sealed = 12 + min(column.limit, _PLAINTEXT) + 16
    return len(f"encrypted:v1:{keyring.primary.kid}:") + -(-sealed * 4 // 3) > column.limit


def _pending(keyring: Keyring, column: Column) -> str:
    """True unless the value begins as a token of a known key does. Whether it opens is for the inspection.

    A pattern for the whole token takes 6 to 10 microseconds a value, more than reading the row.
    """
    text = f"{column.quoted}::text"
    sealed = " OR ".join(f"starts_with({text}, {literal(f'encrypted:v1:{kid}:')})" for kid in keyring.kids)
    return f"({text} <> '' AND NOT ({sealed}))"


def _seal(ciphers: Ciphers, row: Row) -> Outcome:
    changes = Changes()
    for name, cipher in ciphers.items():
        found = cipher.classify(row[name], row.key)
        if found.kind in {"plaintext", "legacy"}:
            changes[name] = cipher.seal(found.plaintext or "", row.key)
        elif found.kind in REJECTED:
            return Reject(found.kind.replace("_", "-"), f"{name} {REJECTED[found.kind]}")
    return changes or Skip()


def reveal(ciphers: Ciphers, key: tuple[str, ...], column: str, text: str | None) -> object:
    """What a stored value means: its plaintext, where it opens."""
    found = ciphers[column].classify(text, key)
    # What does not open is compared as it stands.
    return found.plaintext if found.kind in {"plaintext", "legacy", "token"} else text

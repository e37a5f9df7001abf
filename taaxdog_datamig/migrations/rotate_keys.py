"""rotate-keys: seal every token anew under the primary key. `keys rotate` runs it; it is in no list.

Strict on purpose: whatever begins as a token and is not of the primary key is pending. So success means that
no token in any sensitive column needs another key.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from taaxdog_datamig.errors import KeyMissing
from taaxdog_datamig.migration import (
    Changes,
    DeclaredMigration,
    NotApplicable,
    Outcome,
    Reject,
    Row,
    Target,
    shape_of,
    widening,
)
from taaxdog_datamig.migrations.encrypt_user_data import REJECTED, Ciphers, reveal, too_narrow
from taaxdog_datamig.pg.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable


class RotateKeys(DeclaredMigration):
    """Opens each token and seals it under the primary key."""

    name: ClassVar[str] = "rotate-keys"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Seal every token anew under the primary key"
    category: ClassVar[str] = "keys"
    listed: ClassVar[bool] = False

    async def targets(self) -> Sequence[Target]:
        """One target for each table that has sensitive columns."""
        keyring = self.context.keyring
        if keyring is None:
            raise KeyMissing(
                "no encryption key is configured",
                "Set FIELD_ENCRYPTION_KEYS to `new:key,old:key`: the first one seals, all of them open",
            )
        tables = [table for table in self.context.profile.tables.values() if table.sensitive]
        if not tables:
            raise NotApplicable("none of the profile's sensitive columns is in this database")
        return [_target(keyring, table) for table in tables]


def _target(keyring: Keyring, table: FittedTable) -> Target:
    columns = table.sensitive
    ciphers = {name: keyring.field(table.spec.name, name) for name in columns}
    # Where no value is sealed yet, the column is as narrow as it was: it has no token to be made longer.
    narrow = {name: c for name, c in columns.items() if c.base != "bpchar" and too_narrow(keyring, c)}
    return Target(
        table=table,
        shape=shape_of(table, columns, dict.fromkeys(narrow, "text")),
        pending=" OR ".join(_pending(keyring, column) for column in columns.values()),
        transform=partial(_rotate, ciphers, f"encrypted:v1:{keyring.primary.kid}:"),
        reveal=partial(reveal, ciphers),
        sensitive=True,
        ddl=widening(table, narrow, "text"),
    )


def _pending(keyring: Keyring, column: Column) -> str:
    text = f"{column.quoted}::text"
    primary = literal(f"encrypted:v1:{keyring.primary.kid}:")
    return f"(starts_with({text}, 'encrypted:v1:') AND NOT starts_with({text}, {primary}))"


def _rotate(ciphers: Ciphers, primary: str, row: Row) -> Outcome:
    changes = Changes()
    for name, cipher in ciphers.items():
        text = row[name]
        if not text or not text.startswith("encrypted:v1:") or text.startswith(primary):
            continue
        found = cipher.classify(text, row.key)
        if found.kind != "token":
            return Reject(found.kind.replace("_", "-"), f"{name} {REJECTED.get(found.kind, 'is no token')}")
        changes[name] = cipher.seal(found.plaintext or "", row.key)
    return changes

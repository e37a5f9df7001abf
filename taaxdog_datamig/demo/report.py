"""What a load tells its caller."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.demo.sizes import rows_by_table
from taaxdog_datamig.demo.slots import CASES, FAULTS, LEGACY, LEGACY_PREFIXED, MISSING, NOT_VALID

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class SensitiveCounts:
    """What one sensitive column holds, in values. The four add up to the table's rows."""

    null: int
    empty: int
    #: Not encrypted at all.
    plaintext: int
    #: As the application itself encrypted it, with or without the prefix `encrypted:`.
    legacy: int
    #: Those of `legacy` with the prefix.
    legacy_prefixed: int


@attrs.frozen(kw_only=True)
class SampleReport:
    """What was loaded. All counts are exact; they follow from the size alone."""

    users: int
    seed: int
    #: Rows by table, all 34.
    rows: Mapping[str, int]
    #: Rows with each fault, by the keys of `slots.FAULTS` (`users.password_md5`), and
    #: `foreign_keys.not_valid` and `foreign_keys.missing`. All zero without faults.
    faults: Mapping[str, int]
    #: What each sensitive column holds, by `table.column`.
    sensitive: Mapping[str, SensitiveCounts]
    seconds: float
    #: Seconds by phase: tables, rows, primary keys, indexes, foreign keys, vacuum.
    phases: Mapping[str, float]


def fault_counts(users: int, *, faults: bool) -> Mapping[str, int]:
    """How many rows carry each fault in a sample of so many users."""
    rows = rows_by_table(users)
    counts = {slot.key: slot.count(rows[slot.table]) if faults else 0 for slot in FAULTS}
    counts["foreign_keys.not_valid"] = len(NOT_VALID) if faults else 0
    counts["foreign_keys.missing"] = len(MISSING) if faults else 0
    return MappingProxyType(counts)


def sensitive_counts(users: int, *, legacy: bool) -> Mapping[str, SensitiveCounts]:
    """What the sensitive columns hold; `legacy` says whether a legacy key was given."""
    rows = rows_by_table(users)
    case = {slot.key: slot.count(rows[slot.table]) for slot in CASES}
    plain = {slot.key: slot.count(users) if legacy else 0 for slot in LEGACY}
    prefixed = {slot.key: slot.count(users) if legacy else 0 for slot in LEGACY_PREFIXED}

    def column(
        name: str, *, total: int, null: int | None = None, given: int | None = None
    ) -> SensitiveCounts:
        empty = case[f"{name}_empty"]
        nulls = null if null is not None else total - empty - (given or 0)
        sealed = plain.get(name, 0) + prefixed.get(name, 0)
        return SensitiveCounts(
            null=nulls,
            empty=empty,
            plaintext=total - nulls - empty - sealed,
            legacy=sealed,
            legacy_prefixed=prefixed.get(name, 0),
        )

    mostly_given = ("users.tfn", "basiq_users.mobile", "bank_accounts.account_number", "bank_accounts.bsb")
    mostly_null = ("users.taxFileNumber", "users.twoFactorSecret")
    counts = {
        name: column(name, total=rows[name.split(".")[0]], null=case[f"{name}_null"]) for name in mostly_given
    }
    counts |= {name: column(name, total=users, given=case[f"{name}_given"]) for name in mostly_null}
    return MappingProxyType(counts)

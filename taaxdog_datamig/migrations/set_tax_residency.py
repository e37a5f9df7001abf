"""set-tax-residency: a tax residency where there is none.

What somebody has declared is never changed. The value is the argument `default`; what supports it, an
Australian state or postcode, is counted in the audit trail and kept with the row's before-image. An address
elsewhere supports nothing: such a row is left and listed, unless `foreign` says what it gets. Where state and
postcode contradict each other, it is always left.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from taaxdog_datamig.identifiers import postcode
from taaxdog_datamig.migration import (
    Argument,
    Changes,
    DeclaredMigration,
    Leave,
    NotApplicable,
    Outcome,
    Row,
    Target,
    shape_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RESIDENCIES = ("RESIDENT", "NON_RESIDENT", "TEMPORARY_RESIDENT")
#: Spelled out, as people write them.
_STATES = {
    "NEW SOUTH WALES": "NSW",
    "VICTORIA": "VIC",
    "QUEENSLAND": "QLD",
    "SOUTH AUSTRALIA": "SA",
    "WESTERN AUSTRALIA": "WA",
    "TASMANIA": "TAS",
    "NORTHERN TERRITORY": "NT",
    "AUSTRALIAN CAPITAL TERRITORY": "ACT",
}
_EVIDENCE = ("state", "postcode")

Evidence: TypeAlias = Literal["australian", "elsewhere", "none"]


class SetTaxResidency(DeclaredMigration):
    """Fills users.taxResidency where it is NULL."""

    name: ClassVar[str] = "set-tax-residency"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Set the tax residency of users who have none, with the evidence recorded"
    category: ClassVar[str] = "user-data"
    arguments: ClassVar[Mapping[str, Argument]] = {
        "default": Argument(
            help="The residency of users who have declared none.", default="RESIDENT", choices=_RESIDENCIES
        ),
        "foreign": Argument(
            help="What becomes of users whose address is not Australian: left and listed, or a residency.",
            default="leave",
            choices=("leave", *_RESIDENCIES),
        ),
    }

    async def targets(self) -> Sequence[Target]:
        """The users table, when its tax residency can be NULL."""
        async with self.context.db.acquire() as connection:
            table = await self.context.profile.table(connection, "users")
        if table is None:
            raise NotApplicable("there is no table users")
        residency = table.column("taxResidency")
        if residency is None:
            raise NotApplicable("users has no column taxResidency")
        if residency.not_null:
            raise NotApplicable(f"every user has a tax residency: {residency.name} is NOT NULL")
        found = {name: table.column(name) for name in _EVIDENCE}
        evidence = {name: column for name, column in found.items() if column is not None}
        missing = sorted(found.keys() - evidence.keys())
        return [
            Target(
                table=table,
                # The evidence among the columns: a before-image holds it with what was decided from it.
                shape=shape_of(table, {"taxResidency": residency, **evidence}),
                pending=f"t.{residency.quoted} IS NULL",
                transform=partial(_decide, self.context.arguments, tuple(evidence)),
                selective=True,
                sensitive=not {column.name for column in table.sensitive.values()}.isdisjoint(
                    column.name for column in (residency, *evidence.values())
                ),
                warnings=tuple(
                    f"{table.relation.label} has no column {name}: no evidence from there" for name in missing
                ),
            )
        ]


def _decide(arguments: Mapping[str, str], evidence: Sequence[str], row: Row) -> Outcome:
    found = {name: _judged(name, row[name]) for name in evidence}
    australian = " and ".join(name for name, what in found.items() if what == "australian")
    elsewhere = " and ".join(name for name, what in found.items() if what == "elsewhere")
    if elsewhere and australian:
        return Leave("unclear-address", f"{australian} is Australian, {elsewhere} is not")
    if elsewhere and arguments["foreign"] == "leave":
        return Leave("foreign-address", f"{elsewhere}: not Australian")
    if elsewhere:
        return Changes(taxResidency=arguments["foreign"]).because(f"{elsewhere} elsewhere")
    return Changes(taxResidency=arguments["default"]).because(australian or "no evidence")


def _judged(name: str, value: object) -> Evidence:
    # In a column of numbers Darwin's 0800 is 800.
    text = f"{value:04}" if isinstance(value, int) else str(value or "").strip()
    if not text or text.startswith("encrypted:"):
        return "none"
    if name == "postcode":
        return "australian" if postcode.is_valid(text) else "elsewhere"
    letters = " ".join(re.sub(r"[^A-Z\s]", "", text.upper()).split())
    return "australian" if _STATES.get(letters, letters) in postcode.RANGES else "elsewhere"

"""How long records are kept, and which are on hold: what a cleanup may take away, and what it never does.

Sources: the privacy rule for tax file numbers has them destroyed when no longer needed; tax records are
kept for five years from lodgment (Income Tax Assessment Act 1936, s 262A); customer and transaction records
for seven (AML/CTF Act 2006, part 10). Ninety days, six months and thirty days are the application's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import attrs

from taaxdog_datamig.errors import SettingsError

_PERIOD = re.compile(r"[1-9]\d{0,4} (day|week|month|year)s?")

#: What `[retention]` of datamig.toml can set: how old a record is when its cleanup takes it.
RETENTION: Mapping[str, str] = MappingProxyType(
    {"audit_logs": "90 days", "payments": "6 months", "soft_deleted": "30 days"}
)


@attrs.frozen
class Hold:
    """Rows of a table that no cleanup deletes, nor what they refer to."""

    #: Logical name of the table.
    table: str
    #: Rows are on hold for `period` from the moment in this column; always where both are None.
    column: str | None = None
    period: str | None = None


#: What is on hold unless `[holds]` of datamig.toml says otherwise.
HOLDS: Mapping[str, Any] = MappingProxyType(
    {
        "aml_transaction_monitoring": True,
        "financial_audit_logs": True,
        "data_access_requests": True,
        "tax_returns": {"column": "submittedAt", "period": "5 years"},
    }
)


def period(text: object, of: str) -> str:
    """A period such as `90 days`, ready for an SQL interval.

    Raises:
        SettingsError: it is none.
    """
    if not isinstance(text, str) or not _PERIOD.fullmatch(text):
        raise SettingsError(f"{of} is not a period", 'Write it as "90 days", "6 months" or "5 years"')
    return text


def retention(given: Mapping[str, Any]) -> Mapping[str, str]:
    """The periods, with those of `[retention]` over the defaults.

    Raises:
        SettingsError: an unknown name, or something that is no period.
    """
    if unknown := sorted(given.keys() - RETENTION.keys()):
        raise SettingsError(f"retention: unknown key {unknown[0]!r}", f"Known are: {', '.join(RETENTION)}")
    return {name: period(given.get(name, value), f"retention.{name}") for name, value in RETENTION.items()}


def intervals(given: Mapping[str, Any]) -> Mapping[str, str]:
    """The same periods as SQL.

    Raises:
        SettingsError: see `retention`.
    """
    return {name: f"interval '{period}'" for name, period in retention(given).items()}


def holds(given: Mapping[str, Any]) -> tuple[Hold, ...]:
    """What is on hold, with the tables of `[holds]` over the defaults; `false` lifts a hold.

    Raises:
        SettingsError: a value is neither true, false nor a column with a period.
    """
    found = []
    for table, value in (dict(HOLDS) | dict(given)).items():
        if value is True:
            found.append(Hold(table))
        elif isinstance(value, Mapping) and value.keys() == {"column", "period"}:
            column = value["column"]
            if not isinstance(column, str) or not column:
                raise SettingsError(f"holds.{table}.column is not a name")
            found.append(Hold(table, column, period(value["period"], f"holds.{table}.period")))
        elif value is not False:
            raise SettingsError(
                f"holds.{table} says neither true nor false nor for how long",
                'Write true, false or { column = "submittedAt", period = "5 years" }',
            )
    return tuple(found)

"""How many rows each table of the sample gets.

The tables that grow with use have a fixed share of the users; the generator's SQL relies on these shares
(row `i` of a table with a quarter as many rows as users belongs to user `4 * i`).
"""

from __future__ import annotations

from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_USERS = 1
MAX_USERS = 50_000_000

#: Rows for one user, by table.
_SHARES: Mapping[str, Fraction] = {
    "users": Fraction(1),
    "accounts": Fraction(1, 4),
    "sessions": Fraction(1, 2),
    "verification_tokens": Fraction(1, 20),
    "password_reset_tokens": Fraction(1, 20),
    "audit_logs": Fraction(1, 2),
    "basiq_users": Fraction(1),
    "bank_connections": Fraction(1),
    "bank_accounts": Fraction(1),
    "bank_transactions": Fraction(10),
    "basiq_api_logs": Fraction(1, 10),
    "basiq_webhooks": Fraction(1, 20),
    "goals": Fraction(1, 2),
    "budgets": Fraction(1, 10),
    "receipts": Fraction(1, 3),
    "subscriptions": Fraction(1, 4),
    "payments": Fraction(1, 2),
    "invoices": Fraction(1, 10),
    "gst_transaction_details": Fraction(1, 2),
    "tax_returns": Fraction(1, 5),
    "financial_insights": Fraction(1, 20),
    "privacy_consents": Fraction(1, 2),
    "data_access_requests": Fraction(1, 50),
    "financial_audit_logs": Fraction(1, 5),
    "aml_transaction_monitoring": Fraction(1, 20),
    "ai_cache": Fraction(1, 50),
    "ai_conversations": Fraction(1, 50),
    "ai_insights": Fraction(1, 20),
    "ai_usage_tracking": Fraction(1, 10),
}
#: Rows for one row of another table.
_DETAILS: Mapping[str, tuple[str, int]] = {
    "budget_tracking": ("budgets", 3),
    "invoice_line_items": ("invoices", 2),
}
#: Tables whose size has nothing to do with the users.
_FIXED: Mapping[str, int] = {
    "apra_incident_reports": 12,
    "compliance_configuration": 5,
    "ai_provider_health": 4,
}


def rows_by_table(users: int) -> Mapping[str, int]:
    """Rows of each of the 34 tables for so many users, largest table first."""
    rows = {table: int(users * share) for table, share in _SHARES.items()}
    rows |= {table: rows[of] * times for table, (of, times) in _DETAILS.items()}
    rows |= _FIXED
    return MappingProxyType(dict(sorted(rows.items(), key=lambda item: -item[1])))

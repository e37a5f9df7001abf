"""merge-duplicates: one account for each e-mail address, whatever its case.

The primary is the verified account, else the one used last, else the oldest. Everything that refers to a
duplicate refers to the primary afterwards. What cannot be there twice, such as a subscription, is decided by
the rules below; what has to give way is archived. A rollback separates the accounts again.

An address that differs in case only need not be the same person's before it is verified. So nothing that
lets people in passes from a duplicate to its primary: no password, no second factor, no token and no role;
and from an unverified duplicate no session and no sign-in provider either.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from taaxdog_datamig.migration import MergeMigration
from taaxdog_datamig.migration.pending import SAME_EMAIL


class MergeDuplicates(MergeMigration):
    """Merges users with the same address."""

    name: ClassVar[str] = "merge-duplicates"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Merge duplicate user accounts (same e-mail address, ignoring case)"
    category: ClassVar[str] = "user-data"
    after: ClassVar[tuple[str, ...]] = ("normalize-phones", "populate-metadata")

    table = "users"
    same = SAME_EMAIL
    preference = (
        "({emailVerified} IS NULL)",
        "{lastLoginAt} DESC NULLS LAST",
        "{createdAt} NULLS LAST",
    )
    rules: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "subscriptions": ("({status} = 'active') IS NOT TRUE", "{currentPeriodEnd} DESC NULLS LAST"),
        "basiq_users": ("({connection_status} = 'active') IS NOT TRUE", "{updated_at} DESC NULLS LAST"),
        "tax_returns": (
            "array_position('{COMPLETED,PROCESSING,SUBMITTED,DRAFT}'::text[], {status}::text)",
            "{updatedAt} DESC NULLS LAST",
        ),
        # A withdrawal that came later than the consent is what holds.
        "privacy_consents": ("greatest({consentDate}, {withdrawnAt}, {createdAt}) DESC NULLS LAST",),
    }
    never = (
        *("email", "emailVerified", "role", "createdAt", "updatedAt", "lastLoginAt", "lastLoginIp"),
        *("password", "passwordChangedAt", "failedLoginAttempts", "lockedUntil"),
        *("twoFactorEnabled", "twoFactorSecret"),
        *("emailVerificationToken", "emailVerificationExpires"),
        *("passwordResetToken", "passwordResetExpires"),
    )
    # Half of one address and half of another is nobody's.
    together = (("address", "city", "state", "postcode"),)
    trusted = "{emailVerified} IS NOT NULL"
    dropped: ClassVar[Mapping[str, str]] = {
        "sessions": "{emailVerified} IS NULL",
        "oauth_accounts": "{emailVerified} IS NULL",
    }

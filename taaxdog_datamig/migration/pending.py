"""SQL that migrations share with the checks that name them: what a cleanup takes, and who is there twice.

It is written as a `Purge.where` is. A check that finds exactly what its migration mends finds nothing once
that has run.
"""

from __future__ import annotations

from typing import Final

#: Of audit_logs; cleanup-audit-logs takes them, and cleanup-orphaned, as the guide has it.
OLD_AUDIT_LOGS: Final = "{createdAt} < {now} - {audit_logs}"
#: Of payments.
OLD_FAILED_PAYMENTS: Final = "{status}::text = 'failed' AND {createdAt} < {now} - {payments}"
#: The column by which a table marks rows as deleted, and those that are due to go for good.
DELETED: Final = "deletedAt"
LONG_DELETED: Final = "{deletedAt} < {now} - {soft_deleted}"
#: Of users: rows for which it is equal are one person's; NULL and '' never are.
SAME_EMAIL: Final = "lower({email})"

"""cleanup-orphaned: what the guide calls orphaned in the core tables, archived and deleted.

Transactions without their account, goals without their user, and audit logs past their retention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from taaxdog_datamig.migration import DeclaredMigration, NotApplicable, Purge, purge_where
from taaxdog_datamig.migration.orphans import orphan_targets
from taaxdog_datamig.migration.pending import OLD_AUDIT_LOGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.migration import Target

#: Child and parent of the core relationships, by logical names.
CORE = (("bank_transactions", "bank_accounts"), ("goals", "users"))


class CleanupOrphaned(DeclaredMigration):
    """Takes orphans of the core tables and old audit logs."""

    name: ClassVar[str] = "cleanup-orphaned"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = (
        "Archive and remove orphaned transactions and goals, and audit logs over 90 days"
    )
    category: ClassVar[str] = "core"
    after: ClassVar[tuple[str, ...]] = ("merge-duplicates",)

    async def targets(self) -> Sequence[Target]:
        """One target for each core relationship and one for the logs."""
        tables = self.context.profile.tables
        targets: list[Target] = []
        async with self.context.db.acquire() as connection:
            for child, parent in CORE:
                if child in tables and parent in tables:
                    oids = {tables[parent].relation.oid}
                    targets += await orphan_targets(connection, self.context, [tables[child]], oids)
            logs = Purge("audit_logs", OLD_AUDIT_LOGS)
            targets += await purge_where(connection, self.context, [logs])
        if not targets:
            raise NotApplicable("there are no transactions with accounts, goals with users or audit logs")
        return targets

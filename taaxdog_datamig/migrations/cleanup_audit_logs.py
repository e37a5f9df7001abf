"""cleanup-audit-logs: archive and delete sign-in logs that are older than ninety days.

Financial audit logs and AML records are other tables, on hold, and never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from taaxdog_datamig.migration import Purge, PurgeMigration
from taaxdog_datamig.migration.pending import OLD_AUDIT_LOGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy


class CleanupAuditLogs(PurgeMigration):
    """Takes old audit logs."""

    name: ClassVar[str] = "cleanup-audit-logs"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Archive and remove old audit logs (over 90 days)"
    category: ClassVar[str] = "cleanup"

    async def purges(self, _: PoolConnectionProxy[Any]) -> Sequence[Purge]:
        """Audit logs past their retention."""
        return [Purge("audit_logs", OLD_AUDIT_LOGS)]

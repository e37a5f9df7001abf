"""cleanup-payments: archive and delete failed payments that are older than six months."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from taaxdog_datamig.migration import Purge, PurgeMigration
from taaxdog_datamig.migration.pending import OLD_FAILED_PAYMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy


class CleanupPayments(PurgeMigration):
    """Takes old failed payments."""

    name: ClassVar[str] = "cleanup-payments"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Archive old failed payment records (over 6 months)"
    category: ClassVar[str] = "cleanup"

    async def purges(self, _: PoolConnectionProxy[Any]) -> Sequence[Purge]:
        """Payments that failed, past their retention."""
        return [Purge("payments", OLD_FAILED_PAYMENTS)]

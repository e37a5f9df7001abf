"""cleanup-soft-deleted: delete for good what was marked as deleted over thirty days ago.

Every table with a `deletedAt` is looked at, children first. With a user go the rows that refer to it: those
with a cascading or restricting reference are archived and deleted, those with a nulling one lose it. A user
whom records on hold refer to (AML monitoring, financial audit, data-access requests, tax returns within
five years of lodgment) stays, and is listed with the table that holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from taaxdog_datamig.migration import Purge, PurgeMigration
from taaxdog_datamig.migration.orphans import child_first
from taaxdog_datamig.migration.pending import DELETED, LONG_DELETED
from taaxdog_datamig.profile import column_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy


class CleanupSoftDeleted(PurgeMigration):
    """Takes soft-deleted rows."""

    name: ClassVar[str] = "cleanup-soft-deleted"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Permanently remove soft-deleted records (over 30 days), archived first"
    category: ClassVar[str] = "cleanup"
    after: ClassVar[tuple[str, ...]] = ("merge-duplicates", "cleanup-orphaned")

    async def purges(self, connection: PoolConnectionProxy[Any]) -> Sequence[Purge]:
        """Every table that marks its rows."""
        marked = [
            table
            for table in self.context.profile.tables.values()
            if table.relation.kind in {"r", "p"} and column_of(table, DELETED) is not None
        ]
        return [
            Purge(table.spec.name, LONG_DELETED)
            for table in await child_first(connection, self.context, marked)
        ]

    nothing: ClassVar[str] = "no table has a column deletedAt"

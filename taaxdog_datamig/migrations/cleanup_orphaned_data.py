"""cleanup-orphaned-data: every broken relationship of the catalog and the profile, child first.

A row whose reference is ON DELETE CASCADE or RESTRICT (`on_delete` in the profile, where the database lacks
the foreign key) is archived and deleted with what refers to it; one whose reference is SET NULL loses the
reference. References that the profile says to `keep`, and records on hold, are left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from taaxdog_datamig.migration import DeclaredMigration, NotApplicable
from taaxdog_datamig.migration.orphans import orphan_targets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.migration import Target


class CleanupOrphanedData(DeclaredMigration):
    """Mends every broken relationship."""

    name: ClassVar[str] = "cleanup-orphaned-data"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Remove records with broken relationships, archived first"
    category: ClassVar[str] = "cleanup"
    after: ClassVar[tuple[str, ...]] = ("merge-duplicates", "cleanup-orphaned", "cleanup-soft-deleted")

    async def targets(self) -> Sequence[Target]:
        """Up to a target and one for each reference that becomes NULL, for each table."""
        tables = [
            table
            for table in self.context.profile.tables.values()
            if table.relation.kind in {"r", "p"} and table.relation.key
        ]
        async with self.context.db.acquire() as connection:
            targets = await orphan_targets(connection, self.context, tables)
        if not targets:
            raise NotApplicable("no table here refers to another")
        return targets

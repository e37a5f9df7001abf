"""The imperative migration: code of its own in `up`, and the way back in `down`."""

from __future__ import annotations

import abc

from taaxdog_datamig.migration.base import BaseMigration


class Migration(BaseMigration):
    """Changes what it likes, in batches that each commit once.

    class CustomMigration(Migration):
        name = "custom-migration"
        description = "What it does."
        version = "1.0.0"

        async def validate(self) -> bool: ...
        async def estimate_affected_records(self) -> int: ...
        async def up(self) -> None: ...
        async def down(self) -> None: ...
    """

    async def validate(self) -> bool:
        """Whether the migration should run here."""
        return True

    async def estimate_affected_records(self) -> int:
        """How many records `up` will change."""
        return 0

    @abc.abstractmethod
    async def up(self) -> None:
        """Migrate. `self.context.dry_run` says whether everything is rolled back in the end."""

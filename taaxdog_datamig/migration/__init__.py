"""What a migration is: a declaration of which rows to change and how. The engine does the rest.

    class UppercaseState(ColumnMigration):
        name = "uppercase-state"
        version = "1.0.0"
        description = "Spell states in capitals."
        table = "users"
        columns = ("state",)
        pending = "state <> upper(state)"

        def transform(self, row: Row) -> Outcome:
            return Changes(state=row["state"].upper())

Put the class in a module that `migrations = [...]` in datamig.toml names, or behind an entry point.
"""

from __future__ import annotations

from taaxdog_datamig.migration.base import (
    Argument,
    BaseMigration,
    DeclaredMigration,
    MigrationContext,
    NotApplicable,
    arguments_of,
)
from taaxdog_datamig.migration.column import ColumnMigration
from taaxdog_datamig.migration.imperative import Connection, Migration, Record, Workspace
from taaxdog_datamig.migration.maintenance import MaintenanceMigration, MaintenanceTask
from taaxdog_datamig.migration.outcomes import Changes, Leave, Outcome, Reject, Row, Skip
from taaxdog_datamig.migration.purge import Purge, PurgeMigration, condition, purge_target, purge_where
from taaxdog_datamig.migration.registry import Registry
from taaxdog_datamig.migration.target import Ddl, Target, existing, shape_of, widening

__all__ = [
    "Argument",
    "BaseMigration",
    "Changes",
    "ColumnMigration",
    "Connection",
    "Ddl",
    "DeclaredMigration",
    "Leave",
    "MaintenanceMigration",
    "MaintenanceTask",
    "Migration",
    "MigrationContext",
    "NotApplicable",
    "Outcome",
    "Purge",
    "PurgeMigration",
    "Record",
    "Registry",
    "Reject",
    "Row",
    "Skip",
    "Target",
    "Workspace",
    "arguments_of",
    "condition",
    "existing",
    "purge_target",
    "purge_where",
    "shape_of",
    "widening",
]

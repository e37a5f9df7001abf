"""The built-in migrations, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.migrations.cleanup_audit_logs import CleanupAuditLogs
from taaxdog_datamig.migrations.cleanup_orphaned import CleanupOrphaned
from taaxdog_datamig.migrations.cleanup_orphaned_data import CleanupOrphanedData
from taaxdog_datamig.migrations.cleanup_payments import CleanupPayments
from taaxdog_datamig.migrations.cleanup_sessions import CleanupSessions
from taaxdog_datamig.migrations.cleanup_soft_deleted import CleanupSoftDeleted
from taaxdog_datamig.migrations.encrypt_user_data import EncryptUserData
from taaxdog_datamig.migrations.merge_duplicates import MergeDuplicates
from taaxdog_datamig.migrations.migrate_passwords import MigratePasswords
from taaxdog_datamig.migrations.normalize_phones import NormalizePhones
from taaxdog_datamig.migrations.optimize_database import OptimizeDatabase
from taaxdog_datamig.migrations.populate_metadata import PopulateMetadata
from taaxdog_datamig.migrations.rotate_keys import RotateKeys
from taaxdog_datamig.migrations.set_tax_residency import SetTaxResidency

if TYPE_CHECKING:
    from taaxdog_datamig.migration import BaseMigration

#: In the guide's order: core, user data, cleanup.
BUILTIN: tuple[type[BaseMigration], ...] = (
    EncryptUserData,
    CleanupOrphaned,
    NormalizePhones,
    MigratePasswords,
    PopulateMetadata,
    MergeDuplicates,
    SetTaxResidency,
    CleanupAuditLogs,
    CleanupOrphanedData,
    CleanupSessions,
    CleanupPayments,
    CleanupSoftDeleted,
    OptimizeDatabase,
)

#: Run by commands of their own.
UNLISTED: tuple[type[BaseMigration], ...] = (RotateKeys,)

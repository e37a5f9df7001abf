"""The built-in migrations, one file each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.migrations.cleanup_audit_logs import CleanupAuditLogs
from taaxdog_datamig.migrations.encrypt_user_data import EncryptUserData
from taaxdog_datamig.migrations.normalize_phones import NormalizePhones
from taaxdog_datamig.migrations.set_tax_residency import SetTaxResidency

if TYPE_CHECKING:
    from taaxdog_datamig.migration import BaseMigration

BUILTIN: tuple[type[BaseMigration], ...] = (
    EncryptUserData,
    NormalizePhones,
    SetTaxResidency,
    CleanupAuditLogs,
)

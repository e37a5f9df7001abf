"""Change live production data in PostgreSQL safely and fast.

async with Database.connect(dsn) as db:
    runner = Runner(db)
    plan = await runner.plan("encrypt-user-data")
    report = await runner.run("encrypt-user-data", RunOptions(dry_run=True))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taaxdog_datamig import passwords
    from taaxdog_datamig.backup import BackupDetails, BackupManager, BackupRecord
    from taaxdog_datamig.checksum.reports import (
        ChecksumReport,
        DiffReport,
        RowDifference,
        TableChecksum,
        TableDiff,
    )
    from taaxdog_datamig.checksum.sums import Checksums
    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.engine.archive_reports import ArchiveDetails, ArchiveRecord, ArchiveRestore
    from taaxdog_datamig.engine.reports import (
        MigrationState,
        Plan,
        QuarantineRecord,
        RollbackReport,
        RunOptions,
        RunRecord,
        RunReport,
        TablePlan,
        TableReport,
    )
    from taaxdog_datamig.engine.retry_reports import RetriedRow, RetryReport
    from taaxdog_datamig.engine.runner import Runner
    from taaxdog_datamig.engine.unarchive import ArchiveManager
    from taaxdog_datamig.errors import DatamigError
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.migration import (
        Changes,
        ColumnMigration,
        Connection,
        DeclaredMigration,
        Leave,
        MaintenanceMigration,
        MaintenanceTask,
        MergeMigration,
        Migration,
        Purge,
        PurgeMigration,
        Record,
        Registry,
        Reject,
        Row,
        Skip,
        Target,
    )
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.settings import Settings
    from taaxdog_datamig.validation import (
        Check,
        CheckResult,
        Findings,
        FunctionCheck,
        RowCheck,
        Rule,
        UniqueCheck,
        ValidationReport,
        Validator,
    )

#: Where each name lives; a name that is its own home is a package. Imported when first used: `import
#: taaxdog_datamig` must cost next to nothing in a deploy script that only wants one of them.
_HOMES = {
    "ArchiveDetails": "engine.archive_reports",
    "ArchiveManager": "engine.unarchive",
    "ArchiveRecord": "engine.archive_reports",
    "ArchiveRestore": "engine.archive_reports",
    "BackupDetails": "backup",
    "BackupManager": "backup",
    "BackupRecord": "backup",
    "Changes": "migration",
    "Check": "validation",
    "CheckResult": "validation",
    "ChecksumReport": "checksum.reports",
    "Checksums": "checksum.sums",
    "ColumnMigration": "migration",
    "Connection": "migration",
    "Database": "pg.database",
    "DatamigError": "errors",
    "DeclaredMigration": "migration",
    "DiffReport": "checksum.reports",
    "EventBus": "events",
    "Findings": "validation",
    "FunctionCheck": "validation",
    "Keyring": "crypto",
    "Leave": "migration",
    "MaintenanceMigration": "migration",
    "MaintenanceTask": "migration",
    "MergeMigration": "migration",
    "Migration": "migration",
    "MigrationState": "engine.reports",
    "Plan": "engine.reports",
    "Purge": "migration",
    "PurgeMigration": "migration",
    "QuarantineRecord": "engine.reports",
    "Record": "migration",
    "Registry": "migration",
    "Reject": "migration",
    "RetriedRow": "engine.retry_reports",
    "RetryReport": "engine.retry_reports",
    "RollbackReport": "engine.reports",
    "Row": "migration",
    "RowCheck": "validation",
    "Rule": "validation",
    "RowDifference": "checksum.reports",
    "RunOptions": "engine.reports",
    "RunRecord": "engine.reports",
    "RunReport": "engine.reports",
    "Runner": "engine.runner",
    "Settings": "settings",
    "Skip": "migration",
    "TableChecksum": "checksum.reports",
    "TableDiff": "checksum.reports",
    "TablePlan": "engine.reports",
    "TableReport": "engine.reports",
    "Target": "migration",
    "UniqueCheck": "validation",
    "ValidationReport": "validation",
    "Validator": "validation",
    "passwords": "passwords",
}

__all__ = [
    "ArchiveDetails",
    "ArchiveManager",
    "ArchiveRecord",
    "ArchiveRestore",
    "BackupDetails",
    "BackupManager",
    "BackupRecord",
    "Changes",
    "Check",
    "CheckResult",
    "ChecksumReport",
    "Checksums",
    "ColumnMigration",
    "Connection",
    "Database",
    "DatamigError",
    "DeclaredMigration",
    "DiffReport",
    "EventBus",
    "Findings",
    "FunctionCheck",
    "Keyring",
    "Leave",
    "MaintenanceMigration",
    "MaintenanceTask",
    "MergeMigration",
    "Migration",
    "MigrationState",
    "Plan",
    "Purge",
    "PurgeMigration",
    "QuarantineRecord",
    "Record",
    "Registry",
    "Reject",
    "RetriedRow",
    "RetryReport",
    "RollbackReport",
    "Row",
    "RowCheck",
    "RowDifference",
    "Rule",
    "RunOptions",
    "RunRecord",
    "RunReport",
    "Runner",
    "Settings",
    "Skip",
    "TableChecksum",
    "TableDiff",
    "TablePlan",
    "TableReport",
    "Target",
    "UniqueCheck",
    "ValidationReport",
    "Validator",
    "passwords",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    value = home if _HOMES[name] == name else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

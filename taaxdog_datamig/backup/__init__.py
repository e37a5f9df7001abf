"""Backups: consistent, compressed, sealed, and proven to restore."""

from taaxdog_datamig.backup.certificate import Certificate
from taaxdog_datamig.backup.cleaning import Policy, Verdict, age
from taaxdog_datamig.backup.manager import BackupManager
from taaxdog_datamig.backup.manifest import BackedUpTable, Manifest
from taaxdog_datamig.backup.records import BackupDetails, BackupRecord, TableInBackup
from taaxdog_datamig.backup.reports import RestoredTable, RestoreReport
from taaxdog_datamig.backup.stores import DirectoryStore, Store, store_of

__all__ = [
    "BackedUpTable",
    "BackupDetails",
    "BackupManager",
    "BackupRecord",
    "Certificate",
    "DirectoryStore",
    "Manifest",
    "Policy",
    "RestoreReport",
    "RestoredTable",
    "Store",
    "TableInBackup",
    "Verdict",
    "age",
    "store_of",
]

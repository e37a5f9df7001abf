"""Backups: consistent, compressed, sealed, and proven to restore."""

from taaxdog_datamig.backup.create import Wishes
from taaxdog_datamig.backup.manager import BackupManager
from taaxdog_datamig.backup.manifest import BackedUpTable, Manifest
from taaxdog_datamig.backup.stores import DirectoryStore, Store

__all__ = ["BackedUpTable", "BackupManager", "DirectoryStore", "Manifest", "Store", "Wishes"]

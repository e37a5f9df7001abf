"""Archives: files with the rows that a run deleted, written and read back before they are gone."""

from taaxdog_datamig.archive.forms import check_format
from taaxdog_datamig.archive.manifest import ArchivedTable, Manifest
from taaxdog_datamig.archive.reader import Archive, Found, find, list_archives
from taaxdog_datamig.archive.writer import ArchiveWriter

__all__ = [
    "Archive",
    "ArchiveWriter",
    "ArchivedTable",
    "Found",
    "Manifest",
    "check_format",
    "find",
    "list_archives",
]

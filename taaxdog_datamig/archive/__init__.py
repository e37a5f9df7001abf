"""Archives: files with the rows that a run deleted, written and read back before they are gone."""

from taaxdog_datamig.archive.writer import ArchiveWriter

__all__ = ["ArchiveWriter"]

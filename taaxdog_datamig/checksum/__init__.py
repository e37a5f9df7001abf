"""Checksums of tables' contents, equal on any server for equal contents, and which rows differ.

`definition` says what is summed, `pinning` settles how values are spelled, `sums` adds up, and `diff`
compares two databases. docs/reference/checksum.md defines the number so that it can be computed by hand.
"""

from taaxdog_datamig.checksum.definition import Content, Sums, content_of
from taaxdog_datamig.checksum.pinning import pinned
from taaxdog_datamig.checksum.reports import (
    ChecksumReport,
    DiffReport,
    RowDifference,
    TableChecksum,
    TableDiff,
)
from taaxdog_datamig.checksum.sums import Checksums, checksum
from taaxdog_datamig.checksum.tables import named_tables

__all__ = [
    "ChecksumReport",
    "Checksums",
    "Content",
    "DiffReport",
    "RowDifference",
    "Sums",
    "TableChecksum",
    "TableDiff",
    "checksum",
    "content_of",
    "named_tables",
    "pinned",
]

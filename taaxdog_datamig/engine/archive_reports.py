"""What is told of archives. Rows are named by primary key, never by value."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import attrs

from taaxdog_datamig.pg.drift import Drift


@attrs.frozen(kw_only=True)
class ArchiveRecord:
    """An archive in a list."""

    id: str
    #: "complete", "incomplete" (no manifest: its run has not ended, or not with success) or "damaged".
    state: Literal["complete", "incomplete", "damaged"]
    path: str
    #: The rest is None where the manifest cannot be read.
    migration: str | None = None
    version: str | None = None
    database: str | None = None
    created_at: datetime | None = None
    rows: int | None = None
    #: Of its parts.
    bytes: int | None = None
    #: "jsonl" or "parquet".
    format: str | None = None
    #: Id of the key it is sealed under; None where it is only compressed.
    kid: str | None = None
    #: What is wrong with it.
    problem: str = ""


@attrs.frozen(kw_only=True)
class TableInArchive:
    """A table as it was when its rows were archived."""

    table: str
    relation: str
    rows: int
    key: tuple[str, ...]
    #: Column to SQL type.
    columns: dict[str, str]


@attrs.frozen(kw_only=True)
class ArchiveDetails(ArchiveRecord):
    """An archive, looked at closely."""

    tables: tuple[TableInArchive, ...] = ()
    parts: int = 0
    #: What was verified just now: "rows" (every part was opened and its rows counted), "checksums" (the key
    #: that sealed it is not here) or "nothing" (there is nothing whole to look at).
    verified: Literal["rows", "checksums", "nothing"] = "nothing"
    #: Whether the manifest is signed under a master key, and the signature holds.
    signed: bool = False


@attrs.frozen(kw_only=True)
class RestoredTable:
    """What a restore did to one table."""

    table: str
    relation: str
    archived_rows: int
    inserted_rows: int = 0
    #: A row with that key is there already, and was left as it is.
    present_rows: int = 0
    #: The server takes them no more.
    refused_rows: int = 0


@attrs.frozen(kw_only=True)
class RefusedRow:
    """A row that could not be put back."""

    table: str
    key: tuple[str, ...]
    code: str
    #: Names the constraint, never the value.
    reason: str


@attrs.frozen(kw_only=True)
class ArchiveRestore:
    """What a restore did, or in a dry run would do."""

    archive_id: str
    migration: str
    dry_run: bool
    inserted_rows: int
    present_rows: int
    refused_rows: int
    tables: tuple[RestoredTable, ...]
    #: The first 10,000 of them.
    refused: tuple[RefusedRow, ...]
    drift: tuple[Drift, ...]
    chunks: int
    seconds: float
    warnings: tuple[str, ...] = ()

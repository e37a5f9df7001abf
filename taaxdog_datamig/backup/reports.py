"""What is told of a restore. Rows are counted, or named by primary key, never by value."""

from __future__ import annotations

from typing import Literal

import attrs

from taaxdog_datamig.pg.drift import Drift


@attrs.frozen(kw_only=True)
class RestoredTable:
    """What a restore did to one table, in rows."""

    #: `schema.name`; of a partitioned table that has its rows, not of its partitions, when converging.
    table: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    #: Not in the backup, and left: newer than it, or in it under another key.
    kept: int = 0


@attrs.frozen(kw_only=True)
class RestoreReport:
    """A restore."""

    backup_id: str
    #: "empty": the schema was made first. "converge": rows of existing tables were brought back.
    mode: Literal["empty", "converge"]
    dry_run: bool
    exact: bool
    tables: tuple[RestoredTable, ...]
    #: Rows of tables outside the restore that went, or lost a reference, with deleted ones (`cascade`).
    cascaded: dict[str, int] = attrs.field(factory=dict)
    drift: tuple[Drift, ...] = ()
    #: Transactions that changed rows; 1 unless there was too much for one.
    chunks: int = 1
    #: Parts that an earlier restore, which was interrupted, had loaded.
    resumed_parts: int = 0
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

"""What a checksum or a comparison found. No value of a row is in it but its key, and no sensitive key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

#: "only here" and "only there": the whole table.
TableStatus: TypeAlias = Literal["same", "different", "only here", "only there"]
RowStatus: TypeAlias = Literal["only here", "only there", "differs"]


@attrs.frozen(kw_only=True)
class TableChecksum:
    """A table's content as a number."""

    #: Exact.
    rows: int
    #: 32 hex digits.
    checksum: str


@attrs.frozen(kw_only=True)
class ChecksumReport:
    """Tables' contents, all as of one moment."""

    #: By name; qualified where the search path does not lead there.
    tables: Mapping[str, TableChecksum]
    seconds: float


@attrs.frozen(kw_only=True)
class RowDifference:
    """A row that is not the same on both sides, by its primary key."""

    status: RowStatus
    #: As text; a sensitive column's value is `[sensitive]`.
    key: tuple[str, ...]


@attrs.frozen(kw_only=True)
class TableDiff:
    """A table of two databases."""

    status: TableStatus
    rows_here: int | None = None
    rows_there: int | None = None
    #: Rows by primary key, exact; None where rows could not be compared one by one: see `note`.
    only_here: int | None = None
    only_there: int | None = None
    differing: int | None = None
    #: The columns that name a row.
    key: tuple[str, ...] = ()
    #: The first rows found of each kind, up to a limit; the counts above are of all.
    rows: tuple[RowDifference, ...] = ()
    #: Columns that the other side does not have. They are left out of the comparison of rows.
    columns_only_here: tuple[str, ...] = ()
    columns_only_there: tuple[str, ...] = ()
    #: Why rows were not compared one by one.
    note: str = ""


@attrs.frozen(kw_only=True)
class DiffReport:
    """Two databases, each as of one moment of its own."""

    equal: bool
    tables: Mapping[str, TableDiff]
    seconds: float

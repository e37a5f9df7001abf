"""What a table's checksum is, as SQL: docs/reference/checksum.md says the same for people.

A row is hashed as a record of its columns in the order of their names, twice, under two seeds; each hash is
hashed again and the results are added up. Adding makes the order of rows irrelevant, and unlike XOR does not
let pairs cancel. Hashing again matters: the server's hash of a record is linear in the hashes of its columns,
so that of a plain sum two rows could swap values unnoticed.

A column enters the record as something whose hash tells apart whatever its text tells apart, on every
server alike. The server's own hash functions do not always: that of bigint and timestamps folds to 32 bits,
those of numeric and float take 1.0 for 1.00 and -0 for 0, that of an enum is made of its OID. A record keeps
NULL apart from every value, and one column's value from the next's, without separators.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taaxdog_datamig.pg.catalog import Column, Relation

#: Types that the server hashes whole: 32 bits at most, or all bytes.
_AS_IT_IS = {"bool", "date", "uuid", "bytea"}
#: Strings, hashed by their bytes.
_STRINGS = {"text", "varchar"}
#: Types whose binary form is hashed; an integer's is the same whatever its width.
_SENT = {
    "int2": "int8send",
    "int4": "int8send",
    "int8": "int8send",
    "time": "time_send",
    "timestamp": "timestamp_send",
    "timestamptz": "timestamptz_send",
}


def _form(column: Column) -> str:
    if column.base in _AS_IT_IS:
        return column.base
    return _SENT.get(column.base, "text")


def alike(here: Column, there: Column) -> bool:
    """Whether both columns enter a record in the same form, so that equal values have equal hashes."""
    return _form(here) == _form(there)


def hashed(column: Column, *, as_text: bool = False) -> str:
    """SQL: what is hashed of a column of the row `t`; its text where nothing else will do, or if asked."""
    name, form = f"t.{column.quoted}", "text" if as_text else _form(column)
    if form == "text":
        # In C, since a case-insensitive collation hashes 'A' as 'a'.
        return f'{name}{"" if column.base in _STRINGS else "::text"} COLLATE "C"'
    return name if form == column.base else f"{form}({name})"


def again(record_hash: str, seed: int) -> str:
    """SQL: the hash of a record's hash, all 64 bits of it (hashint8extended would fold them to 32)."""
    return f'hashtextextended(({record_hash})::text COLLATE "C", {seed})'


@attrs.frozen
class Sums:
    """The count of rows and the two sums; those of a table's parts add up to the table's."""

    rows: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.rows + other.rows, self.first + other.first, self.second + other.second)


@attrs.frozen(kw_only=True)
class Content:
    """The part of a table that is summed."""

    #: SQL after FROM: the table without those that inherit from it, or one partition.
    source: str
    #: In the order of their names, by bytes.
    columns: tuple[Column, ...]

    @property
    def record(self) -> str:
        """SQL: the row `t` as it is hashed."""
        return f"ROW({', '.join(map(hashed, self.columns))})"

    def sums_sql(self, where: str = "true") -> str:
        """SQL: rows, first and second sum (as text, any size) of the rows `t` that `where` is true for."""
        first, second = (again(f"hash_record_extended(r, {seed})", seed) for seed in (0, 1))
        # OFFSET 0 keeps the planner from making the record twice.
        return (
            f"SELECT count(*) AS rows, coalesce(sum({first}), 0)::text AS first,"
            f" coalesce(sum({second}), 0)::text AS second"
            f" FROM (SELECT {self.record} AS r FROM {self.source} AS t WHERE {where} OFFSET 0) AS s"
        )

    def digest(self, sums: Sums) -> str:
        """The checksum, 32 hex digits: the columns' names take part, so that a renamed column changes it."""
        names = ",".join(column.quoted for column in self.columns)
        text = f"{names}\n{sums.rows}\n{sums.first}\n{sums.second}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def content_of(relation: Relation, columns: Iterable[str] | None = None) -> Content:
    """What is summed of a relation.

    Args:
        relation: a table, partitioned table or materialized view.
        columns: names; by default all but generated ones, which follow from the others.

    Raises:
        KeyError: there is no such column.
    """
    names = [column.name for column in relation.stored] if columns is None else set(columns)
    return Content(
        source=relation.quoted if relation.kind == "p" else f"ONLY {relation.quoted}",
        columns=tuple(relation.columns[name] for name in sorted(names, key=str.encode)),
    )

"""What a check looks at, and how far a validation goes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from taaxdog_datamig.profile import FittedTable

#: A column whose value opens something, so that a key made of it names no row.
_SECRET_NAME = re.compile(r"token|secret|password|hash", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Bounds:
    """How far a validation goes."""

    #: Keys of offending rows that are fetched for one check.
    samples: int
    #: Suspects examined at the most by a check that may take a sample.
    examined: int
    #: Seconds for one statement; None: as the server has it.
    timeout: float | None


@attrs.frozen(kw_only=True)
class Subject:
    """A table, or the part of it that is asked about, as FROM and WHERE take it."""

    table: FittedTable
    #: SQL over the row `t`.
    scope: str = "true"
    arguments: tuple[Any, ...] = ()

    @property
    def source(self) -> str:
        """SQL: the table as `t`, without tables that inherit from it."""
        relation = self.table.relation
        return f"{'' if relation.kind == 'p' else 'ONLY '}{relation.quoted} AS t"

    @property
    def shows_key(self) -> bool:
        """Whether rows can be named: the table has a key, and the key opens nothing."""
        columns = self.table.relation.key_columns
        sensitive = {column.name for column in self.table.sensitive.values()}
        secret = any(column.name in sensitive or _SECRET_NAME.search(column.name) for column in columns)
        return bool(columns) and not secret

    @property
    def key(self) -> str:
        """SQL: the row's key as text[]; empty where the row cannot be named."""
        columns = self.table.relation.key_columns if self.shows_key else ()
        return f"ARRAY[{', '.join(f't.{column.quoted}::text' for column in columns)}]::text[]"

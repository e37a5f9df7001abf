"""What a backup holds, as the catalog has it, and the pieces in which it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.pg.quoting import ident, qualified
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from asyncpg.pool import PoolConnectionProxy

_SQL = queries(__package__, "contents.sql")

#: Bytes of a heap from which it is read in pieces, each about so large.
PIECE = 256 << 20


@attrs.frozen(kw_only=True)
class Source:
    """A heap whose rows are backed up."""

    oid: int
    schema: str
    name: str
    bytes: int
    pages: int
    may_select: bool
    #: The partitioned table at the top, if it is a partition.
    root: str | None
    #: SQL that the rows of an extension's configuration table satisfy, when they are the user's; maybe empty.
    condition: str | None
    columns: Mapping[str, str]
    #: Whether COPY's binary form means the same in another database.
    binary: bool

    @property
    def label(self) -> str:
        """The qualified name for people."""
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """The qualified name, ready for SQL."""
        return qualified(self.schema, self.name)

    def queries(self) -> Iterator[str]:
        """SELECTs that together give each row once: of the whole heap, or of ranges of its pages."""
        columns = ", ".join(ident(column) for column in self.columns)
        select = f"SELECT {columns} FROM ONLY {self.quoted}"
        condition = (self.condition or "").strip()
        if self.bytes <= PIECE or not columns:
            yield f"{select} {condition}"
            return
        pieces = -(-self.bytes // PIECE)
        edges = [self.pages * number // pieces for number in range(pieces)]
        where = f"{condition} AND" if condition else "WHERE"
        for number, edge in enumerate(edges):
            # The heap may have grown since: the last piece has no end.
            end = f" AND ctid < '({edges[number + 1]},0)'" if number + 1 < len(edges) else ""
            yield f"{select} {where} ctid >= '({edge},0)'{end}"


async def sources(connection: PoolConnectionProxy[Any]) -> list[Source]:
    """Every heap of the database with rows of the user's, the largest first."""
    found = []
    for row in await connection.fetch(_SQL["tables"]):
        values = dict(row)
        if values.pop("of_extension") and values["condition"] is None:
            continue
        types = values.pop("types") or ()
        values["columns"] = dict(zip(values["columns"] or (), types, strict=True))
        found.append(Source(**values))
    return found


async def sequences(connection: PoolConnectionProxy[Any]) -> list[dict[str, Any]]:
    """Every sequence and its state: `schema`, `name`, `last_value`, `is_called`."""
    found = []
    for row in await connection.fetch(_SQL["sequences"]):
        state = await connection.fetchrow(
            f"SELECT last_value, is_called FROM {qualified(row['schema'], row['name'])}"
        )
        assert state is not None
        found.append({**row, **state})
    return found


async def moment(connection: PoolConnectionProxy[Any]) -> dict[str, Any]:
    """`server_version` and `lsn`."""
    row = await connection.fetchrow(_SQL["moment"])
    assert row is not None
    return dict(row)


async def filled_views(connection: PoolConnectionProxy[Any]) -> list[str]:
    """The materialized views that hold rows, as `schema.name`."""
    return [row["label"] for row in await connection.fetch(_SQL["filled_views"])]

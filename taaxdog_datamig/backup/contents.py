"""What a backup holds, as the catalog has it, and the pieces in which it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.errors import BackupError
from taaxdog_datamig.pg.quoting import ident, qualified
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

_SQL = queries(__package__, "contents.sql")

#: Bytes of a heap from which it is read in pieces, each about so large.
PIECE = 64 << 20
#: Tables that one statement locks.
_AT_ONCE = 200


@attrs.frozen(kw_only=True)
class Source:
    """A heap whose rows are backed up."""

    oid: int
    schema: str
    name: str
    bytes: int
    pages: int
    may_select: bool
    #: Whether row-level security would hide rows from the role.
    policed: bool = False
    unlogged: bool = False
    #: Number of its file, which a truncation or a rewrite changes.
    file: int | None = None
    #: The partitioned table at the top, if it is a partition.
    root: str | None = None
    #: SQL that the rows of an extension's configuration table satisfy, when they are the user's; maybe empty.
    condition: str | None = None
    columns: Mapping[str, str]
    #: Whether COPY's binary form means the same in another database.
    binary: bool
    #: What is read, where that is not simply its rows.
    statement: str | None = None

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
        if self.statement or self.condition or self.bytes <= PIECE:
            yield self.statement or f"{select} {self.condition or ''}".strip()
            return
        pieces = -(-self.bytes // PIECE)
        edges = [self.pages * number // pieces for number in range(pieces)]
        for number, edge in enumerate(edges):
            # The heap may have grown since: the last piece has no end.
            end = f" AND ctid < '({edges[number + 1]},0)'" if number + 1 < len(edges) else ""
            yield f"{select} WHERE ctid >= '({edge},0)'{end}"


@attrs.frozen(kw_only=True)
class SequenceName:
    """A sequence that is backed up."""

    schema: str
    name: str
    may_select: bool
    #: Tables that own it, or take values of it by default, as `schema.name`.
    users: Sequence[str]

    @property
    def label(self) -> str:
        """The qualified name for people."""
        return f"{self.schema}.{self.name}"


@attrs.frozen(kw_only=True)
class LargeObjects:
    """All large objects of the database."""

    objects: int
    #: Bytes of a page, of which `pages` has those that are not holes.
    page_size: int
    may_select: bool
    #: `oid`, `owner`, `acl`, `comment` of each.
    list: Source
    #: `loid`, `pageno`, `data`.
    pages: Source


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


async def hold(connection: PoolConnectionProxy[Any], wanted: Sequence[Source]) -> None:
    """Keep the tables from being dropped, altered or truncated until the transaction ends.

    A truncation does not spare the rows that an older snapshot sees; so nor may one have come between.

    Raises:
        BackupError: one has been.
    """
    for start in range(0, len(wanted), _AT_ONCE):
        names = ", ".join(f"ONLY {source.quoted}" for source in wanted[start : start + _AT_ONCE])
        await connection.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    files = [source.oid for source in wanted], [source.file for source in wanted]
    for row in await connection.fetch(_SQL["changed"], *files):
        raise BackupError(
            f"{row['label']} was truncated or rewritten just when the backup began", "Start it again"
        )


async def sequences(connection: PoolConnectionProxy[Any]) -> list[SequenceName]:
    """Every sequence."""
    return [SequenceName(**row) for row in await connection.fetch(_SQL["sequences"])]


async def state(connection: PoolConnectionProxy[Any], sequence: SequenceName) -> dict[str, Any]:
    """A sequence's state: `schema`, `name`, `last_value`, `is_called`."""
    row = await connection.fetchrow(
        f"SELECT last_value, is_called FROM {qualified(sequence.schema, sequence.name)}"
    )
    assert row is not None
    return {"schema": sequence.schema, "name": sequence.name, **row}


async def filled_views(connection: PoolConnectionProxy[Any]) -> list[str]:
    """Labels of the materialized views that hold rows."""
    return [row["label"] for row in await connection.fetch(_SQL["filled_views"])]


async def large_objects(connection: PoolConnectionProxy[Any]) -> LargeObjects | None:
    """The large objects; None where there are none."""
    row = await connection.fetchrow(_SQL["large_objects"])
    assert row is not None
    if not row["objects"]:
        return None
    columns = {"oid": "oid", "owner": "name", "acl": "aclitem[]", "comment": "text"}
    shared = {"schema": "pg_catalog", "may_select": row["may_select"]}
    return LargeObjects(
        objects=row["objects"],
        page_size=row["page_size"],
        may_select=row["may_select"],
        list=Source(
            oid=row["list_oid"],
            name="pg_largeobject_metadata",
            bytes=0,
            pages=0,
            columns=columns,
            binary=False,
            statement=_SQL["large_object_list"],
            **shared,
        ),
        pages=Source(
            oid=row["pages_oid"],
            name="pg_largeobject",
            bytes=row["bytes"],
            pages=row["pages"],
            columns={"loid": "oid", "pageno": "integer", "data": "bytea"},
            binary=True,
            **shared,
        ),
    )


async def moment(connection: PoolConnectionProxy[Any]) -> dict[str, Any]:
    """`server_version`, `encoding` and `lsn`."""
    row = await connection.fetchrow(_SQL["moment"])
    assert row is not None
    return dict(row)

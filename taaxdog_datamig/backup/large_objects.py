"""Large objects out of a backup: as they were, with their numbers, owners, privileges and comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig.backup.loading import copy_part
from taaxdog_datamig.backup.manifest import BackedUpTable
from taaxdog_datamig.backup.reports import RestoredTable
from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.pg.quoting import ident, literal
from taaxdog_datamig.pg.sql import queries
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.loading import OpenBackup

_SQL = queries(__package__, "large_objects.sql")
#: What their parts hold, as tables.
_LIST, _PAGES = (
    BackedUpTable(schema="pg_temp", name=name, columns={}, format=form, root=None, parts=(), rows=0, size=0)
    for name, form in (("datamig_large_objects", "text"), ("datamig_pages", "binary"))
)
#: What reports call them: the table that has a row for each.
LABEL = "pg_catalog.pg_largeobject_metadata"


async def restore_large_objects(
    connection: PoolConnectionProxy[Any], backup: OpenBackup, *, bare: bool = False
) -> int:
    """Make the large objects that are not there; returns how many. In a transaction of the caller's.

    Args:
        connection: of the database.
        backup: where they are, if it has any.
        bare: without owners and privileges.

    Raises:
        BackupError: a part is missing or damaged.
    """
    backed_up = backup.manifest.large_objects
    if backed_up is None:
        return 0
    await _stage_list(connection, backup)
    made = await connection.fetch(_SQL["create"])
    for part in backed_up.page_parts:
        await copy_part(connection, backup, _PAGES, part, ("pg_temp", _PAGES.name))
        await connection.execute(_SQL["write"], backed_up.page_size, [row["oid"] for row in made])
        await connection.execute("TRUNCATE pg_temp.datamig_pages")
    await _describe(connection, made, bare=bare)
    await connection.execute("DROP TABLE pg_temp.datamig_large_objects, pg_temp.datamig_pages")
    return len(made)


@attrs.frozen
class StagedObjects:
    """The large objects of a backup beside those of the database, which they are to converge with."""

    #: Bytes from one page number to the next.
    page_size: int

    @classmethod
    async def stage(cls, connection: PoolConnectionProxy[Any], backup: OpenBackup) -> StagedObjects | None:
        """Load them into temporary tables; None where the backup has none.

        Raises:
            RefusedError: the role may not read those of the database.
            BackupError: a part is missing or damaged.
        """
        backed_up = backup.manifest.large_objects
        if backed_up is None:
            return None
        if not await connection.fetchval(_SQL["may_compare"]):
            raise RefusedError(
                "the role may not read the large objects, which are to be compared with the backup's",
                "GRANT pg_read_all_data TO it, connect as a superuser, or name --tables: they are then left",
            )
        async with transaction(connection):
            await _stage_list(connection, backup)
            for part in backed_up.page_parts:
                await copy_part(connection, backup, _PAGES, part, ("pg_temp", _PAGES.name))
        return cls(backed_up.page_size)

    async def converge(self, connection: PoolConnectionProxy[Any]) -> tuple[RestoredTable, list[str]]:
        """Make those that are gone, and give those that changed their bytes back; tells what to warn of, too.

        In a transaction of the caller's. Owners, privileges and comments of those that are there stay, as
        tables' do. Newer ones stay, too: what refers to them may be in any column of numbers.
        """
        found = await connection.fetch(_SQL["differences"])
        missing = [row for row in found if row["missing"]]
        changed = [row["oid"] for row in found if not row["missing"]]
        await connection.execute(_SQL["create"])
        await connection.execute(_SQL["empty"], changed)
        await connection.execute(_SQL["write"], self.page_size, [row["oid"] for row in found])
        warnings = []
        try:
            async with transaction(connection):
                await _describe(connection, missing, bare=False)
        except asyncpg.UndefinedObjectError:
            await _describe(connection, missing, bare=True)
            warnings.append("large objects came back without owners and privileges: a role is not here")
        newer = await connection.fetchval(_SQL["newer"])
        done = RestoredTable(table=LABEL, inserted=len(missing), updated=len(changed), kept=newer)
        return done, warnings


async def _stage_list(connection: PoolConnectionProxy[Any], backup: OpenBackup) -> None:
    assert backup.manifest.large_objects is not None
    await connection.execute(_SQL["staging"])
    for part in backup.manifest.large_objects.list_parts:
        await copy_part(connection, backup, _LIST, part, ("pg_temp", _LIST.name))


async def _describe(
    connection: PoolConnectionProxy[Any], made: Sequence[asyncpg.Record], *, bare: bool
) -> None:
    """Give new objects what they had beside their bytes."""
    for row in made:
        if row["comment"] is not None:
            await connection.execute(f"COMMENT ON LARGE OBJECT {row['oid']} IS {literal(row['comment'])}")
        if not bare:
            await connection.execute(f"ALTER LARGE OBJECT {row['oid']} OWNER TO {ident(row['owner'])}")
    if not bare:
        for grant in await connection.fetch(_SQL["grants"], [row["oid"] for row in made]):
            await connection.execute(grant["sql"])

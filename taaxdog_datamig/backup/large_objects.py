"""Large objects out of a backup: as they were, with their numbers, owners, privileges and comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taaxdog_datamig.backup.loading import copy_part
from taaxdog_datamig.backup.manifest import BackedUpTable
from taaxdog_datamig.pg.quoting import ident, literal
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.loading import OpenBackup

_SQL = queries(__package__, "large_objects.sql")
#: What their parts hold, as tables.
_LIST, _PAGES = (
    BackedUpTable(schema="pg_temp", name=name, columns={}, format=form, root=None, parts=(), rows=0, size=0)
    for name, form in (("datamig_large_objects", "text"), ("datamig_pages", "binary"))
)


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
    await connection.execute(_SQL["staging"])
    for part in backed_up.list_parts:
        await copy_part(connection, backup, _LIST, part, ("pg_temp", _LIST.name))
    made = await connection.fetch(_SQL["create"])
    for part in backed_up.page_parts:
        await copy_part(connection, backup, _PAGES, part, ("pg_temp", _PAGES.name))
        await connection.execute(_SQL["write"], backed_up.page_size, [row["oid"] for row in made])
        await connection.execute("TRUNCATE pg_temp.datamig_pages")
    for row in made:
        if row["comment"] is not None:
            await connection.execute(f"COMMENT ON LARGE OBJECT {row['oid']} IS {literal(row['comment'])}")
        if not bare:
            await connection.execute(f"ALTER LARGE OBJECT {row['oid']} OWNER TO {ident(row['owner'])}")
    if not bare:
        for grant in await connection.fetch(_SQL["grants"], [row["oid"] for row in made]):
            await connection.execute(grant["sql"])
    await connection.execute("DROP TABLE pg_temp.datamig_large_objects, pg_temp.datamig_pages")
    return len(made)

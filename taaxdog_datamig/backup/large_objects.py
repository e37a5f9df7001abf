"""Large objects out of a backup: as they were, with their numbers, owners, privileges and comments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taaxdog_datamig.pg.quoting import ident, literal
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.manifest import BackedUpLargeObjects

    #: Given a part's name, a table's and COPY's format: copies the part's rows into the table.
    Load = Callable[[str, str, str], Awaitable[object]]

_SQL = queries(__package__, "large_objects.sql")


async def restore_large_objects(
    connection: PoolConnectionProxy[Any], backed_up: BackedUpLargeObjects, load: Load, *, bare: bool = False
) -> int:
    """Make the large objects that are not there; returns how many. In a transaction of the caller's.

    Args:
        connection: of the database.
        backed_up: as the manifest has them.
        load: copies a part into a temporary table.
        bare: without owners and privileges.
    """
    await connection.execute(_SQL["staging"])
    for part in backed_up.list_parts:
        await load(part, "datamig_large_objects", "text")
    made = await connection.fetch(_SQL["create"])
    for part in backed_up.page_parts:
        await load(part, "datamig_pages", "binary")
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

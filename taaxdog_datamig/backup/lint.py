"""What people should know of a backup before they rely on it: what it lacks, what a restore will need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taaxdog_datamig.errors import BackupError
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.contents import LargeObjects, SequenceName, Source

_SQL = queries(__package__, "lint.sql")
#: Names that a warning gives; the others are counted.
_NAMED = 12

#: Query to warning: of any backup ...
_ROWS = {
    "restoring": "a restore of this database is not done: rows, indexes or constraints are missing. Go on"
    " with it, then make another backup",
    "foreign_tables": "the rows of foreign tables are on other servers, and not in it: {}",
    "bytes": "the database's encoding is {}: it says nothing of its bytes, and only a database of the same"
    " encoding takes them all",
    "temporary": "{} temporary tables of open sessions are not in it",
    "extension_rows": "the rows of these tables are left to their extension: {}",
}
#: ... of one that holds the schema, too ...
_SCHEMA = {
    "extensions": "the target's server needs these extensions: {}",
    "roles": "these roles must exist on the target, or owners and privileges are left out: {}",
    "tablespaces": "these tablespaces must exist on the target: {}",
    "superuser": "only a superuser can restore these: {}",
    "not_valid": "these constraints were never validated; rows that break them come back as they are: {}",
    "keys_off": "the triggers of these foreign keys are switched off: one that rows break cannot be restored,"
    " the others come back switched on: {}",
    "invalid_indexes": "invalid indexes are not in it; REINDEX makes them valid: {}",
    "functions": "constraints, indexes or generated columns call these functions, which must name schemas"
    " or SET search_path, since it is empty in a restore: {}",
    "settings": "settings of the database itself (ALTER DATABASE ... SET) are not restored: {}",
}
#: ... and of one whose parts are not sealed.
_UNSEALED = {"passwords": "the schema is not sealed, and may hold the passwords of: {}"}


def refuse(
    wanted: Sequence[Source], states: Sequence[SequenceName], large_objects: LargeObjects | None
) -> None:
    """Make sure that all of it can be read whole.

    Raises:
        BackupError: it cannot; what is in the way is named.
    """
    leave_out = "or leave the table out with --exclude"
    for source in wanted:
        if not source.may_select:
            raise BackupError(
                f"the role may not read {source.label}", f"GRANT SELECT ON {source.quoted} to it, {leave_out}"
            )
        if source.policed:
            raise BackupError(
                f"row-level security would hide rows of {source.label} from the role",
                f"Connect as a role with BYPASSRLS, or as the owner of a table without FORCE, {leave_out}",
            )
    for sequence in states:
        if not sequence.may_select:
            raise BackupError(
                f"the role may not read sequence {sequence.label}", "GRANT SELECT ON it to the role"
            )
    if large_objects is not None and not large_objects.may_select:
        raise BackupError(
            f"the role may not read the {large_objects.objects} large objects",
            "GRANT pg_read_all_data TO it, connect as a superuser, or name --tables: they are then left out",
        )


async def warnings(
    connection: PoolConnectionProxy[Any],
    wanted: Sequence[Source],
    *,
    complete: bool,
    with_schema: bool,
    sealed: bool,
    large_objects: int,
) -> list[str]:
    """What to tell people.

    Args:
        connection: of the snapshot, with an empty search path.
        wanted: what is backed up.
        complete: whether that is all tables.
        with_schema: whether the schema is, too.
        sealed: whether the parts are sealed.
        large_objects: how many are left out.
    """
    found = []
    if not with_schema:
        found.append(
            "it holds rows only, since there is no pg_dump of the server's version or later here, or a pooler"
            " is between: it can be restored into tables that exist. Install PostgreSQL's client programs, or"
            " connect directly, for the schema, too"
        )
    unlogged = [source.label for source in wanted if source.unlogged]
    if unlogged:
        found.append(
            f"unlogged tables are in it; a crash of the server would have emptied them: {_some(unlogged)}"
        )
    if large_objects:
        found.append(f"{large_objects} large objects are not in it: only a backup of all tables has them")
    asked = _ROWS | (_SCHEMA if with_schema else {}) | (_UNSEALED if with_schema and not sealed else {})
    for name, message in asked.items():
        if names := [row[0] for row in await connection.fetch(_SQL[name])]:
            found.append(message.format(_some(names)))
    if not complete:
        outward = await connection.fetch(_SQL["keys_outward"], [source.oid for source in wanted])
        if outward:
            found.append(
                f"foreign keys refer to tables that are not in it: {_some([key[0] for key in outward])}"
            )
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")

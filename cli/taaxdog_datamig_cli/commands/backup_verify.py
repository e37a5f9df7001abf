"""`backup verify`: is a backup whole, and does it restore?"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.backup import BackupDetails
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import EMBEDDED, Session


async def verify(
    backup: str,
    /,
    *,
    restore: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> BackupDetails:
    """Read every part of a backup, open it, and compare it with the manifest. Needs no database.

    Args:
        backup: A backup's id, the beginning of it, its name, or `latest`.
        restore: Restore it, too, into a database of its own, compare, and drop that. On the server that
            --database names; without, on an embedded one.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager

    settings = session.settings()
    manager = BackupManager(None, settings)
    if not restore:
        return await manager.verify(backup)
    session.if_interrupted = ("interrupted; the database that it was restored into is gone", "")
    # Not where DATABASE_URL leads: that is where the backup comes from, and has other work.
    async with session.other_database(session.common.database or EMBEDDED, settings) as server:
        return await manager.verify(backup, on=server)

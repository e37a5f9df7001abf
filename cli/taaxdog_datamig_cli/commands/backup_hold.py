"""`backup hold`: keep a backup."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Backups
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import Session


async def hold(
    backup: str,
    /,
    *,
    reason: str = "",
    release: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> Backups:
    """Keep a backup, whatever `backup clean` is told.

    Args:
        backup: A backup's id, the beginning of it, its name, or `latest`.
        reason: Why, for people.
        release: Keep it no longer.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager

    manager = BackupManager(None, session.settings())
    return Backups(manager.store.address, [await manager.hold(backup, None if release else reason)])

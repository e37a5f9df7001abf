"""`backup show`: what a backup holds."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.backup import BackupDetails
from taaxdog_datamig_cli.session import Session


async def show(backup: str, /, *, session: Annotated[Session, Parameter(parse=False)]) -> BackupDetails:
    """What a backup holds: tables, rows and checksums, never a value. Needs no database.

    Args:
        backup: A backup's id, the beginning of it, its name, or `latest`.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager

    return await BackupManager(None, session.settings()).show(backup)

"""`backup verify`: is a backup whole?"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.backup import BackupDetails
from taaxdog_datamig_cli.session import Session


async def verify(backup: str, /, *, session: Annotated[Session, Parameter(parse=False)]) -> BackupDetails:
    """Read every part of a backup, open it, and compare it with the manifest. Needs no database.

    Args:
        backup: A backup's id, the beginning of it, its name, or `latest`.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager

    return await BackupManager(None, session.settings()).verify(backup)

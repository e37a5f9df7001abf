"""`backup list`: the backups."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Backups
from taaxdog_datamig_cli.session import Session


async def list(*, session: Annotated[Session, Parameter(parse=False)]) -> Backups:  # noqa: A001
    """The backups, the latest first; incomplete and damaged ones, too. Needs no database.

    Args:
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager

    manager = BackupManager(None, session.settings())
    return Backups(manager.store.address, await manager.list())

"""`archive list`: the archives there are."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Archives
from taaxdog_datamig_cli.session import Session


async def list(*, session: Annotated[Session, Parameter(parse=False)]) -> Archives:  # noqa: A001
    """The archives in `archive_dir`, the latest first. Needs no database and no key.

    Args:
        session: Given by the command line.
    """
    from taaxdog_datamig import ArchiveManager

    settings = session.settings()
    manager = ArchiveManager(settings=settings)
    return Archives(str(settings.archive_dir), await manager.list())

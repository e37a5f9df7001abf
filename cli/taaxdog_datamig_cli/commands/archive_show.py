"""`archive show`: what an archive holds."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.archive_reports import ArchiveDetails
from taaxdog_datamig_cli.session import Session


async def show(archive: str, /, *, session: Annotated[Session, Parameter(parse=False)]) -> ArchiveDetails:
    """What an archive holds: tables, columns and counts, never a row. Every part is verified.

    Needs no database. Without the key that sealed it, checksums alone are compared.

    Args:
        archive: An archive's id, or the beginning of it.
        session: Given by the command line.
    """
    from taaxdog_datamig import ArchiveManager

    return await ArchiveManager(settings=session.settings()).show(archive)

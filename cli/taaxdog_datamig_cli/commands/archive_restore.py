"""`archive restore`: put rows back."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.archive_reports import ArchiveRestore
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.arguments import names
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import Session


async def restore(
    archive: str,
    /,
    *,
    tables: str | None = None,
    dry_run: Annotated[bool, SWITCH] = False,
    yes: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> ArchiveRestore:
    """Put an archive's rows back where their key is absent.

    A row that is there already is left as it is; one that the server refuses is listed by key. The archive
    is verified first, and kept.

    Args:
        archive: An archive's id, or the beginning of it.
        tables: These alone, by their names in the archive, separated by commas.
        dry_run: Show what would be put back; holds its locks until it has counted everything.
        yes: Do not ask before changing rows.
        session: Given by the command line.
    """
    from taaxdog_datamig import ArchiveManager

    wanted = None if tables is None else names(tables)
    if wanted is not None and not wanted:
        raise UsageError("--tables names no table", "`datamig archive show` lists them")
    reporter = session.reporter()
    async with session.runner(reporter) as runner:
        manager = ArchiveManager(runner.db, events=runner.events)
        if session.asks and not (yes or dry_run):
            session.show(await manager.restore(archive, wanted, dry_run=True))
            session.confirm("Put these rows back?")
        if not dry_run:
            session.if_interrupted = (
                f"interrupted; the restore of {archive} stopped between two chunks",
                f"Go on with: datamig archive restore {archive}",
            )
        with session.working_on(f"archive {archive}", reporter):
            return await manager.restore(archive, wanted, dry_run=dry_run)

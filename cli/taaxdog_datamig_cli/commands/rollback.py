"""`rollback`: undo a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import RollbackReport
from taaxdog_datamig_cli.monitors import Work
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import Session


async def rollback(
    run: str,
    /,
    *,
    dry_run: Annotated[bool, SWITCH] = False,
    yes: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> RollbackReport:
    """Give rows back their values from before a run.

    A row that was changed after the run is left alone and listed.

    Args:
        run: A run's id, or a migration's name for its latest run.
        dry_run: Show what would be restored and what is in the way.
        yes: Do not ask before changing rows.
        session: Given by the command line.
    """
    reporter = session.reporter()
    async with session.runner(reporter, Work()) as runner:
        if session.asks and not (yes or dry_run):
            session.show(await runner.rollback(run, dry_run=True))
            session.confirm("Roll it back?")
        if not dry_run:
            session.if_interrupted = (
                f"interrupted; the rollback of {run} stopped between two chunks",
                f"Go on with: datamig rollback {run}",
            )
        with session.working_on(f"rollback {run}", reporter):
            return await runner.rollback(run, dry_run=dry_run)

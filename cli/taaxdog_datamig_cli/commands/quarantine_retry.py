"""`quarantine retry`: refused rows once more."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.retry_reports import RetryReport
from taaxdog_datamig_cli.answers import Quarantine
from taaxdog_datamig_cli.monitors import Work
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import Session


async def retry(
    run: str,
    /,
    *,
    yes: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> RetryReport:
    """Do the rows again that a run refused, and no other, on the same record.

    Args:
        run: A run's id, or a migration's name for its latest run.
        yes: Do not ask before changing rows.
        session: Given by the command line.
    """
    reporter = session.reporter()
    async with session.runner(reporter, Work()) as runner:
        if session.asks and not yes:
            refused = [row for row in await runner.quarantine(run) if not row.left]
            session.show(Quarantine(run, refused))
            if refused:
                session.confirm("Do these rows again?")
        session.if_interrupted = (
            f"interrupted; the retry of {run} stopped between two chunks",
            f"Go on with: datamig quarantine retry {run}",
        )
        with session.working_on(f"retry {run}", reporter):
            return await runner.retry_quarantined(run)

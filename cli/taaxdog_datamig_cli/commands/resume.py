"""`resume`: go on with a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import RunReport
from taaxdog_datamig_cli.monitors import Work
from taaxdog_datamig_cli.session import Session


async def resume(run: str, /, *, session: Annotated[Session, Parameter(parse=False)]) -> RunReport:
    """Go on with a paused or abandoned run, in this process.

    Args:
        run: A run's id, or a migration's name for its latest run.
        session: Given by the command line.
    """
    reporter = session.reporter()
    async with session.runner(reporter, Work()) as runner:
        session.if_interrupted = (f"interrupted; run {run} is paused", f"Go on with: datamig resume {run}")
        with session.working_on(f"resume {run}", reporter):
            return await runner.resume(run)

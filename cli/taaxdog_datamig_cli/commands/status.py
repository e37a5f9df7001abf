"""`status`: how runs stand."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.answers import Status
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import Session


async def status(
    run: str | None = None,
    /,
    *,
    watch: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> Status:
    """How a run stands: rows, who holds it, what it waits for.

    Args:
        run: A run's id or a migration's name; without it, the unfinished runs and the latest one.
        watch: Show what the run does until nobody works on it any more, wherever it runs.
        session: Given by the command line.
    """
    if not watch:
        async with session.runner() as runner:
            return Status(await runner.status(run))
    if run is None:
        raise UsageError("--watch follows one run, and none is named", "`datamig status` shows the runs")
    session.if_interrupted = ("no longer watching; the run goes on where it runs", "")
    reporter = session.reporter()
    async with session.runner(reporter) as runner:
        with session.working_on(run, reporter):
            return Status([await runner.follow(run)])

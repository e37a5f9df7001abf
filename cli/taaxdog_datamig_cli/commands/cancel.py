"""`cancel`: ask a run to stop and undo."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import RunRecord
from taaxdog_datamig_cli.monitors import Work
from taaxdog_datamig_cli.session import Session


async def cancel(run: str, /, *, session: Annotated[Session, Parameter(parse=False)]) -> RunRecord:
    """Stop a run between two chunks and roll back what it did.

    Args:
        run: A run's id, or a migration's name for its latest run.
        session: Given by the command line.
    """
    async with session.runner(work=Work()) as runner:
        return await runner.cancel(run)

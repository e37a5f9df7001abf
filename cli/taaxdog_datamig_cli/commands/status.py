"""`status`: how runs stand."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Status
from taaxdog_datamig_cli.session import Session


async def status(run: str | None = None, /, *, session: Annotated[Session, Parameter(parse=False)]) -> Status:
    """How a run stands: rows, who holds it, what it waits for.

    Args:
        run: A run's id or a migration's name; without it, the unfinished runs and the latest one.
        session: Given by the command line.
    """
    async with session.runner() as runner:
        return Status(await runner.status(run))

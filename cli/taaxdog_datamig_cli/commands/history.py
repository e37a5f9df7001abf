"""`history`: runs of the past."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import History
from taaxdog_datamig_cli.options import AT_LEAST_ONE, SWITCH
from taaxdog_datamig_cli.session import Session


async def history(
    *,
    limit: Annotated[int, AT_LEAST_ONE] = 20,
    failed: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> History:
    """Runs of the past, the latest first.

    Args:
        limit: How many.
        failed: Those that failed alone.
        session: Given by the command line.
    """
    async with session.runner() as runner:
        return History(await runner.history(limit=limit, failed=failed))

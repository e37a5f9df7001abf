"""`quarantine list`: refused rows."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Quarantine
from taaxdog_datamig_cli.session import Session


async def list(run: str, /, *, session: Annotated[Session, Parameter(parse=False)]) -> Quarantine:  # noqa: A001
    """Rows that a run refused: table, key and reason, never the value.

    Args:
        run: A run's id, or a migration's name for its latest run.
        session: Given by the command line.
    """
    async with session.runner() as runner:
        return Quarantine(run, await runner.quarantine(run))

"""`plan`: what would happen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import Plan
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli import planfile
from taaxdog_datamig_cli.answers import Plans
from taaxdog_datamig_cli.session import Session


async def plan(
    *names: str,
    out: Path | None = None,
    session: Annotated[Session, Parameter(parse=False)],
) -> Plan | Plans:
    """What migrations would do: rows, statements, size, time. Changes nothing.

    Args:
        names: The migrations.
        out: Write the plan to this file, for `run --plan`.
        session: Given by the command line.
    """
    if not names:
        raise UsageError("no migration is named", "`datamig list` shows them")
    reporter = session.reporter()
    async with session.runner(reporter) as runner:
        plans = []
        for name in runner.order(list(names)):
            with session.working_on(f"plan {name}", reporter):
                plans.append(await runner.plan(name))
    answer = plans[0] if len(plans) == 1 else Plans(plans)
    if out is not None:
        planfile.write(out, answer)
    return answer

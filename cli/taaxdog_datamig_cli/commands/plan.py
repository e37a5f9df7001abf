"""`plan`: what would happen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import Plan
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli import planfile
from taaxdog_datamig_cli.answers import Plans
from taaxdog_datamig_cli.arguments import Given, by_migration
from taaxdog_datamig_cli.session import Session


async def plan(
    *names: str,
    set_: Given = (),
    out: Path | None = None,
    session: Annotated[Session, Parameter(parse=False)],
) -> Plan | Plans:
    """What migrations would do: rows, statements, size, time. Changes nothing.

    Args:
        names: The migrations.
        set_: An argument of the migrations, NAME=VALUE; may be repeated.
        out: Write the plan to this file, for `run --plan`.
        session: Given by the command line.
    """
    if not names:
        raise UsageError("no migration is named", "`datamig list` shows them")
    reporter = session.reporter()
    async with session.runner(reporter) as runner:
        plans = []
        ordered = runner.order(list(names))
        arguments = by_migration(runner.registry, ordered, set_)
        for name in ordered:
            with session.working_on(f"plan {name}", reporter):
                plans.append(await runner.plan(name, arguments[name]))
    answer = plans[0] if len(plans) == 1 else Plans(plans)
    if out is not None:
        planfile.write(out, answer)
    return answer

"""`plan`: what would happen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import Plan
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli import passwords, planfile
from taaxdog_datamig_cli.answers import Plans
from taaxdog_datamig_cli.arguments import Given, by_migration
from taaxdog_datamig_cli.files import refuse_unwritable
from taaxdog_datamig_cli.session import Session


async def plan(
    *names: str,
    set_: Given = (),
    out: Path | None = None,
    to: passwords.To = None,
    reset: passwords.Reset = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> Plan | Plans:
    """What migrations would do: rows, statements, size, time. Changes nothing.

    Args:
        names: The migrations.
        set_: An argument of the migrations, NAME=VALUE; may be repeated.
        out: Write the plan to this file, for `run --plan`.
        to: What migrate-passwords wraps legacy digests in.
        reset: migrate-passwords makes them void instead, with a reset link in their place.
        session: Given by the command line.
    """
    if not names:
        raise UsageError("no migration is named", "`datamig list` shows them")
    if out is not None:
        refuse_unwritable(out)
    reporter = session.reporter()
    async with session.runner(reporter) as runner:
        plans = []
        ordered = runner.order(list(names))
        words = passwords.words(ordered, to, reset=reset)
        arguments = by_migration(runner.registry, ordered, (*set_, *words))
        for name in ordered:
            with session.working_on(f"plan {name}", reporter):
                plans.append(await runner.plan(name, arguments[name]))
    answer = plans[0] if len(plans) == 1 else Plans(plans)
    if out is not None:
        planfile.write(out, answer)
    return answer

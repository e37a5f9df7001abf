"""`run`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
from cyclopts import Parameter

from taaxdog_datamig.engine.reports import RunOptions, RunReport
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli import passwords
from taaxdog_datamig_cli.answers import Plans, RunReports
from taaxdog_datamig_cli.arguments import Given, Limits, by_migration, parsed
from taaxdog_datamig_cli.monitors import Work
from taaxdog_datamig_cli.options import (
    AT_LEAST_ONE,
    AT_LEAST_ONE_OR_AUTO,
    NOT_NEGATIVE,
    NOT_NEGATIVE_NUMBER,
    SWITCH,
)
from taaxdog_datamig_cli.planfile import pinned
from taaxdog_datamig_cli.session import Session


async def run(
    *names: str,
    types: Annotated[tuple[str, ...], Parameter(name="--type", negative="", show_default=False)] = (),
    set_: Given = (),
    dry_run: Annotated[bool, SWITCH] = False,
    skip_backup: Annotated[bool, SWITCH] = False,
    skip_validation: Annotated[bool, SWITCH] = False,
    force: Annotated[bool, SWITCH] = False,
    batch_size: Annotated[int | None, AT_LEAST_ONE] = None,
    workers: Annotated[int | Literal["auto"] | None, AT_LEAST_ONE_OR_AUTO] = None,
    nice: Annotated[float | None, NOT_NEGATIVE_NUMBER] = None,
    limits: Limits = (),
    executor: str = "local",
    on_failure: Literal["rollback", "pause"] = "rollback",
    max_quarantine: Annotated[int, NOT_NEGATIVE] = 0,
    plan: Path | None = None,
    to: passwords.To = None,
    reset: passwords.Reset = False,
    yes: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> RunReport | RunReports:
    """Run migrations, in dependency order, each on its own record.

    A run left by a killed process is resumed. A migration that already ran is left alone.

    Args:
        names: The migrations.
        types: Another spelling for a migration's name; may be repeated.
        set_: An argument of the migrations, NAME=VALUE; may be repeated.
        dry_run: Run the real code and leave nothing behind.
        skip_backup: Make no backup of the tables before.
        skip_validation: Do not validate before and after.
        force: Run although it ran before.
        batch_size: Rows a transaction; by default chosen to keep each short.
        workers: Workers that change rows at once, or auto for as many as the server bears (default: 1).
        nice: Rest so many times as long as each chunk took (default: 0).
        limits: What to wait for, NAME=VALUE, as under [pressure] in datamig.toml; may be repeated.
        executor: Where chunks are worked on: this version has local.
        on_failure: What to do when the run fails.
        max_quarantine: Rows that may be refused before the run fails.
        plan: Refuse to run unless this plan, from `plan --out`, still holds.
        to: What migrate-passwords wraps legacy digests in.
        reset: migrate-passwords makes them void instead, with a reset link in their place.
        yes: Do not ask before changing rows.
        session: Given by the command line.
    """
    wanted = [*names, *types]
    if not wanted:
        raise UsageError("no migration is named", "`datamig list` shows them")
    options = RunOptions(
        dry_run=dry_run,
        skip_backup=skip_backup,
        skip_validation=skip_validation,
        force=force,
        batch_size=batch_size,
        workers=workers,
        nice=nice,
        executor=executor,
        on_failure=on_failure,
        max_quarantine=max_quarantine,
    )
    pins: dict[str, dict[str, Any]] = {} if plan is None else pinned(plan, wanted)
    if limits:
        session.fixed["pressure"] = parsed(limits, "--limit")
    reporter = session.reporter()
    async with session.runner(reporter, Work(tuple(wanted), dry_run)) as runner:
        ordered = runner.order(wanted)
        words = passwords.words(ordered, to, reset=reset)
        arguments = by_migration(runner.registry, ordered, (*set_, *words))
        if session.asks and not (yes or dry_run):
            plans = [await runner.plan(name, arguments[name]) for name in ordered]
            session.show(Plans(plans))
            if any(each.pending_rows or each.tasks for each in plans):
                session.confirm("Run it?")
        for name in ordered:
            if not dry_run:
                session.if_interrupted = (
                    f"interrupted; the run of {name} is paused if it had begun",
                    f"Go on with: datamig resume {name}",
                )
            with session.working_on(name, reporter):
                own = attrs.evolve(options, pinned_plan=pins.get(name), arguments=arguments[name])
                report = await runner.run(name, own)
            session.finished.append(report)
    reports: list[RunReport] = session.finished
    return reports[0] if len(reports) == 1 else RunReports(reports)

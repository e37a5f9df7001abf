"""`keys rotate`: from one key to another, online."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import KeyRotation, RunOptions
from taaxdog_datamig_cli.monitors import Work
from taaxdog_datamig_cli.options import AT_LEAST_ONE, NOT_NEGATIVE, SWITCH
from taaxdog_datamig_cli.session import Session


async def rotate(
    *,
    dry_run: Annotated[bool, SWITCH] = False,
    skip_backup: Annotated[bool, SWITCH] = False,
    batch_size: Annotated[int | None, AT_LEAST_ONE] = None,
    workers: Annotated[int, AT_LEAST_ONE] = 1,
    max_quarantine: Annotated[int, NOT_NEGATIVE] = 0,
    yes: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> KeyRotation:
    """Seal every token anew under the first of FIELD_ENCRYPTION_KEYS; the others must be there to open them.

    A run like any other: online, resumable, proven (no token of another key is left), to be rolled back.

    Args:
        dry_run: Run the real code and leave nothing behind.
        skip_backup: Make no backup of the tables before.
        batch_size: Rows a transaction; by default chosen to keep each short.
        workers: Workers that change rows at once.
        max_quarantine: Rows that may be refused before the run fails.
        yes: Do not ask before changing rows.
        session: Given by the command line.
    """
    from taaxdog_datamig.engine.keyring_use import rotate as change
    from taaxdog_datamig.migrations.rotate_keys import RotateKeys

    options = RunOptions(
        dry_run=dry_run,
        skip_backup=skip_backup,
        batch_size=batch_size,
        workers=workers,
        max_quarantine=max_quarantine,
    )
    reporter = session.reporter()
    async with session.runner(reporter, Work()) as runner:
        if session.asks and not (yes or dry_run):
            session.show(await runner.plan(RotateKeys.name))
            session.confirm("Seal them anew?")
        if not dry_run:
            session.if_interrupted = (
                "interrupted; the change of keys is paused if it had begun",
                "Go on with: datamig keys rotate",
            )
        with session.working_on("keys rotate", reporter):
            return await change(runner, options)

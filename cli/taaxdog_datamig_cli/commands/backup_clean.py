"""`backup clean`: let old backups go."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Cleaning
from taaxdog_datamig_cli.options import NOT_NEGATIVE, SWITCH
from taaxdog_datamig_cli.session import Session


async def clean(
    *,
    older_than: str | None = None,
    keep: Annotated[int, NOT_NEGATIVE] = 0,
    daily: Annotated[int, NOT_NEGATIVE] = 0,
    weekly: Annotated[int, NOT_NEGATIVE] = 0,
    monthly: Annotated[int, NOT_NEGATIVE] = 0,
    apply: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> Cleaning:
    """Say which backups may go; with --apply, let them go. A backup stays if any of the rules wants it.

    The last good one, those on hold, and those of runs that can still be undone stay in any case.

    Args:
        older_than: Keep those younger than this: 30d, 12h, 4w.
        keep: Keep the latest so many.
        daily: Keep the latest of each of so many days.
        weekly: Keep the latest of each of so many weeks.
        monthly: Keep the latest of each of so many months.
        apply: Do it; without, nothing is taken away.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager, Policy, age

    policy = Policy(
        older_than=None if older_than is None else age(older_than),
        keep=keep,
        daily=daily,
        weekly=weekly,
        monthly=monthly,
    )
    if session.settings().database_url is None:
        verdicts = await BackupManager(None, session.settings()).clean(policy, apply=apply)
    else:
        async with session.database() as (database, settings):
            verdicts = await BackupManager(database, settings).clean(policy, apply=apply)
    return Cleaning(apply, verdicts)

"""`restore`: bring a backup's rows back."""

from __future__ import annotations

import functools
from typing import Annotated, Literal

from cyclopts import Parameter

from taaxdog_datamig.backup import RestoreReport
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.arguments import names
from taaxdog_datamig_cli.options import AT_LEAST_ONE, SWITCH
from taaxdog_datamig_cli.session import Session


async def restore(
    backup: str,
    /,
    *,
    tables: str | None = None,
    dry_run: Annotated[bool, SWITCH] = False,
    exact: Annotated[bool, SWITCH] = False,
    cascade: Annotated[bool, SWITCH] = False,
    orphans: Literal["refuse", "keep"] = "refuse",
    jobs: Annotated[int, AT_LEAST_ONE] = 2,
    yes: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> RestoreReport:
    """Bring a backup's rows back: missing ones are inserted, changed ones updated, newer ones kept.

    Into a database that has none of its tables, the schema is restored, too.

    Args:
        backup: A backup's id, the beginning of it, its name, or `latest`.
        tables: These tables only, joined by commas.
        dry_run: Show what would be inserted, updated and deleted, in exact numbers.
        exact: Delete the rows that are not in the backup.
        cascade: With --exact, also what refers to them in tables that are not restored.
        orphans: What to do with rows that refer to nothing, where no valid foreign key forbids them.
        jobs: Parts loaded, or compared with tables that are there, at the same time.
        yes: Do not ask before changing rows.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager

    wanted = None if tables is None else names(tables)
    if wanted is not None and not wanted:
        raise UsageError("--tables names no table", "`datamig backup show` lists them")
    if cascade and not exact:
        raise UsageError("--cascade is about rows that --exact deletes", "Add --exact, or leave it out")
    async with session.database() as (database, settings):
        bring_back = functools.partial(
            BackupManager(database, settings).restore,
            backup,
            wanted,
            exact=exact,
            cascade=cascade,
            orphans=orphans,
            jobs=jobs,
        )
        if session.asks and not (yes or dry_run):
            session.show(await bring_back(dry_run=True))
            session.confirm("Restore it?")
        if not dry_run:
            session.if_interrupted = (
                "interrupted; tables that were there are as they were, an empty database is half restored",
                f"Go on with: datamig restore {backup}",
            )
        return await bring_back(dry_run=dry_run)

"""`runs purge`: let go of before-images."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Purged
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import Session


async def purge(
    *,
    older_than: str,
    shred: Annotated[bool, SWITCH] = False,
    apply: Annotated[bool, SWITCH] = False,
    session: Annotated[Session, Parameter(parse=False)],
) -> Purged:
    """Say whose before-images would go; with --apply, delete them. Records, audit and archives stay.

    Such a run cannot be rolled back any more. Runs that are not over keep everything.

    Args:
        older_than: Runs that ended longer ago than this: 90d, 12h, 4w.
        shred: Forget their data keys, too, so that no copy of the images can be opened anywhere.
        apply: Do it; without, nothing is deleted.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import age
    from taaxdog_datamig.engine.letting_go import purge_runs

    longer = age(older_than)
    async with session.database() as (database, _):
        return Purged(apply, shred, await purge_runs(database, longer, shred=shred, dry_run=not apply))

"""`backup create`: make a backup."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from taaxdog_datamig.backup import BackupDetails
from taaxdog_datamig_cli.arguments import names
from taaxdog_datamig_cli.options import AT_LEAST_ONE, SWITCH
from taaxdog_datamig_cli.session import Session


async def create(
    *,
    tables: str | None = None,
    exclude: str | None = None,
    name: str = "",
    no_encrypt: Annotated[bool, SWITCH] = False,
    level: Annotated[int, Parameter(validator=Number(gte=1, lte=19))] = 1,
    jobs: Annotated[int, AT_LEAST_ONE] = 2,
    session: Annotated[Session, Parameter(parse=False)],
) -> BackupDetails:
    """Make a backup of the database: consistent, compressed, and sealed where a key is configured.

    Args:
        tables: These tables only, joined by commas.
        exclude: All tables but these, joined by commas.
        name: A name for people.
        no_encrypt: Do not seal it, although a key is configured.
        level: Of the compression, 1 to 19.
        jobs: Tables read at the same time.
        session: Given by the command line.
    """
    from taaxdog_datamig.backup import BackupManager

    async with session.database() as (database, settings):
        return await BackupManager(database, settings).create(
            tables=None if tables is None else names(tables),
            exclude=names(exclude or ""),
            name=name,
            encrypt=not no_encrypt,
            level=level,
            jobs=jobs,
        )

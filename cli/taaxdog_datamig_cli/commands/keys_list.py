"""`keys list`: which keys there are, and what needs them."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Keys
from taaxdog_datamig_cli.session import Session


async def list(*, session: Annotated[Session, Parameter(parse=False)]) -> Keys:  # noqa: A001
    """The keys by id, and how many tokens and runs need each. Reads every sensitive column once.

    Args:
        session: Given by the command line.
    """
    from taaxdog_datamig.engine.keyring_use import key_uses

    async with session.database() as (database, _):
        return Keys(await key_uses(database))

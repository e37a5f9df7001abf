"""`list`: the migrations."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Migrations
from taaxdog_datamig_cli.session import Session


async def list(*, session: Annotated[Session, Parameter(parse=False)]) -> Migrations:  # noqa: A001  its name
    """The migrations: category, version, what each does, and the rows that wait for it here."""
    async with session.runner() as runner:
        return Migrations(await runner.states())

"""`audit verify`: whether the trail is whole."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import AuditVerdict
from taaxdog_datamig_cli.session import Session


async def verify(*, session: Annotated[Session, Parameter(parse=False)]) -> AuditVerdict:
    """Walk the chain of entries: each carries the hash of the one before.

    Args:
        session: Given by the command line.
    """
    async with session.runner() as runner:
        return AuditVerdict(*await runner.verify_audit())

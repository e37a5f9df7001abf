"""`doctor`: is everything as it should be?"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import Diagnosis
from taaxdog_datamig_cli.session import Session


async def doctor(*, session: Annotated[Session, Parameter(parse=False)]) -> Diagnosis:
    """Examine environment, server, privileges, keys and schema, and say what to do about each problem."""
    from taaxdog_datamig.engine.doctor import examine

    async with session.served() as settings:
        findings = await examine(settings)
    return Diagnosis(findings, healthy=all(finding.status != "problem" for finding in findings))

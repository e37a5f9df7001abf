"""`keys verify`: whether every token opens."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.errors import KeyMissing
from taaxdog_datamig.validation import ValidationReport
from taaxdog_datamig_cli.options import AT_LEAST_ONE
from taaxdog_datamig_cli.session import Session


async def verify(
    *,
    jobs: Annotated[int, AT_LEAST_ONE] = 2,
    session: Annotated[Session, Parameter(parse=False)],
) -> ValidationReport:
    """Open every token, without exception; name the rows whose token does not open. Changes nothing.

    Args:
        jobs: Tables read at the same time.
        session: Given by the command line.
    """
    from taaxdog_datamig import Keyring, Validator
    from taaxdog_datamig.validation.checks.security import TOKEN_RULES

    reporter = session.reporter()
    async with session.database() as (database, settings):
        if Keyring.from_settings(settings) is None:
            raise KeyMissing(
                "no key is configured: no token can be opened",
                "Set FIELD_ENCRYPTION_KEY (or _FILE); `datamig keys list` says which keys the tokens need",
            )
        with session.watched(settings, reporter) as events:
            validator = Validator(database, settings, jobs=jobs, examined=sys.maxsize, events=events)
        with session.working_on("keys verify", reporter):
            return await validator.validate(checks=[rule.id for rule in TOKEN_RULES])

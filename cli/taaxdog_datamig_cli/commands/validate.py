"""`validate`: what is wrong in the database."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from taaxdog_datamig.validation import Category, Severity, ValidationReport
from taaxdog_datamig_cli.options import AT_LEAST_ONE
from taaxdog_datamig_cli.session import Session


async def validate(
    *,
    user_id: str | None = None,
    check: Annotated[tuple[str, ...], Parameter(negative="", show_default=False)] = (),
    category: Annotated[tuple[Category, ...], Parameter(negative="", show_default=False)] = (),
    fail_on: Severity = "low",
    statement_timeout: Annotated[float | None, Parameter(name="--timeout", validator=Number(gt=0))] = None,
    jobs: Annotated[int, AT_LEAST_ONE] = 2,
    session: Annotated[Session, Parameter(parse=False)],
) -> ValidationReport:
    """Check the whole database: what is wrong, where, how bad it is, and which migration mends it.

    Changes nothing; a standby will do.

    Args:
        user_id: Look at the rows of this user only.
        check: A check, or a rule with all its checks; may be repeated.
        category: A category of checks; may be repeated.
        fail_on: End with code 3 when something as severe as this, or worse, was found.
        statement_timeout: Seconds for one statement; a check that takes longer is reported as not made.
        jobs: Tables read at the same time.
        session: Given by the command line.
    """
    from taaxdog_datamig import Validator

    async with session.database() as (database, settings):
        return await Validator(database, settings, jobs=jobs, timeout=statement_timeout).validate(
            user_id=user_id, checks=check, categories=category, fail_on=fail_on
        )

"""`sample load`: the sample TAAXDOG database."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig_cli.answers import Sample
from taaxdog_datamig_cli.options import AT_LEAST_ONE
from taaxdog_datamig_cli.session import Session

DEFAULT_SEED = 1


async def load(
    *,
    users: Annotated[int, AT_LEAST_ONE] = 10_000,
    faults: bool = True,
    seed: int = DEFAULT_SEED,
    session: Annotated[Session, Parameter(parse=False)],
) -> Sample:
    """Load sample tables and rows into an empty database.

    Args:
        users: How many users; each has a bank account and 10 transactions.
        faults: With the known faults that migrations and the validator look for.
        seed: The same seed gives the same rows.
        session: Given by the command line.
    """
    from taaxdog_datamig.demo import load_sample

    reporter = session.reporter()
    async with session.served() as settings:
        if settings.database_url is None:
            raise SettingsError("no database is given", "Set DATABASE_URL or pass --database URL")
        with session.working_on("sample", reporter):
            report = await load_sample(
                settings.database_url,
                users=users,
                faults=faults,
                seed=seed,
                legacy_key=settings.field_encryption_legacy_key,
                progress=None,
            )
    return Sample(users, seed, faults, report)

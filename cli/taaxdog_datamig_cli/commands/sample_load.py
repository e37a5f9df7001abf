"""`sample load`: the sample TAAXDOG database."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.settings import Settings
from taaxdog_datamig_cli.answers import Sample
from taaxdog_datamig_cli.options import AT_LEAST_ONE
from taaxdog_datamig_cli.session import Session, required

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
    async with session.served() as settings:
        return await session.load_sample(
            required(settings), users=users, faults=faults, seed=seed, legacy_key=_legacy_key(settings)
        )


def _legacy_key(settings: Settings) -> bytes | None:
    """The application's own key, so that some values are sealed as it would seal them."""
    from taaxdog_datamig.crypto.keytext import parse_legacy_key

    text = settings.field_encryption_legacy_key
    return None if text is None else parse_legacy_key(text, "FIELD_ENCRYPTION_LEGACY_KEY")

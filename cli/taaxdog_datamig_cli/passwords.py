"""`--to` and `--reset`: short words for the arguments of `migrate-passwords`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal, TypeAlias

from cyclopts import Parameter

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.options import SWITCH

NAME = "migrate-passwords"

To: TypeAlias = Annotated[Literal["bcrypt", "argon2id"] | None, Parameter(show_default=False)]
Reset: TypeAlias = Annotated[bool, SWITCH]


def words(names: Collection[str], to: str | None, *, reset: bool) -> tuple[str, ...]:
    """The same as words of `--set`.

    Raises:
        UsageError: they are given, and `migrate-passwords` is not among the names.
    """
    given = (f"to={to}",) * (to is not None) + ("mode=reset",) * reset
    if given and NAME not in names:
        raise UsageError(f"{'--to' if to else '--reset'} is for {NAME}, which is not named")
    return given

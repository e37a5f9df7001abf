"""Options that every command takes, before or after the command's name, and rules that options share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Group, Parameter
from cyclopts.validators import Number

#: Last on every help page.
COMMON = Group("Common options", sort_key=100)

AT_LEAST_ONE = Parameter(validator=Number(gte=1))
NOT_NEGATIVE = Parameter(validator=Number(gte=0))


def at_least_one_or_word(_: object, value: object) -> None:
    """Refuse numbers below one."""
    if isinstance(value, int) and value < 1:
        raise ValueError("Must be >= 1.")


#: A switch without its `--no-` twin.
SWITCH = Parameter(negative="", show_default=False)


@Parameter(name="*", group=COMMON)
@attrs.frozen(kw_only=True)
class Common:
    """Options that every command takes."""

    database: Annotated[
        str | None,
        Parameter(
            help="postgresql:// URL (default: DATABASE_URL). `embedded` starts a throw-away server, "
            "`embedded:PATH` one that keeps its data in PATH."
        ),
    ] = None
    config: Annotated[Path | None, Parameter(help="Settings file (default: datamig.toml here).")] = None
    json: Annotated[
        bool, Parameter(help="One JSON document on stdout; logs on stderr.", negative="", show_default=False)
    ] = False
    quiet: Annotated[
        bool, Parameter(name=("--quiet", "-q"), help="No progress.", negative="", show_default=False)
    ] = False
    verbose: Annotated[
        bool,
        Parameter(
            name=("--verbose", "-v"),
            help="Debug logs; tracebacks of errors.",
            negative="",
            show_default=False,
        ),
    ] = False
    log_format: Annotated[Literal["text", "json"], Parameter(help="How log lines look.")] = "text"

"""Options that every command takes, before or after the command's name, and rules that options share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import attrs
from cyclopts import Group, Parameter, Token
from cyclopts.validators import Number

#: Last on every help page.
COMMON = Group("Common options", sort_key=100)

#: More than any of them needs, and less than a server's integer holds.
_MOST = 1_000_000_000


def _whole(least: int, *words: str) -> Parameter:
    """A whole number of at least that, or one of `words`. 1.5 is none: cyclopts would round it."""

    def read(_: object, tokens: Sequence[Token]) -> int | str:
        text = tokens[0].value
        if text in words:
            return text
        if not re.fullmatch(r"[+-]?[0-9]+", text):
            raise ValueError(f'"{text}" is {" and not ".join(["no whole number", *words])}.')
        if int(text) > _MOST:
            raise ValueError(f"It is more than {_MOST:,}.")
        return int(text)

    def look(_: object, value: object) -> None:
        if isinstance(value, int) and value < least:
            raise ValueError(f"Must be >= {least}.")

    return Parameter(converter=read, validator=look)


AT_LEAST_ONE = _whole(1)
AT_LEAST_ONE_OR_AUTO = _whole(1, "auto")
NOT_NEGATIVE = _whole(0)
NOT_NEGATIVE_NUMBER = Parameter(validator=Number(gte=0))


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

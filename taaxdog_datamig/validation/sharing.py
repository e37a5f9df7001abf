"""SQL that several checks of a table have in common: a scan works it out once a row.

The server evaluates each aggregate's condition by itself, however much of it stands in others, too. What is
marked with `shared` is lifted into a subquery below the aggregates. It is evaluated for every row then, so it
must be true, false or NULL for any: no casts that a guard beside it makes safe.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

# Control characters: no check's own SQL has them, and none is ever sent.
_BEGIN: Final = "\x02"
_END: Final = "\x03"
_MARKED: Final = re.compile(f"{_BEGIN}([^{_BEGIN}{_END}]*){_END}")


def shared(sql: str) -> str:
    """Mark a condition that several checks of a table are made with."""
    return f"{_BEGIN}({sql}){_END}"


def unmarked(sql: str) -> str:
    """The SQL as the server takes it."""
    return sql.replace(_BEGIN, "").replace(_END, "")


def lifted(conditions: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What conditions share, each with its name, and the conditions by these names, over the row `t`."""
    names: dict[str, str] = {}

    def name(marked: re.Match[str]) -> str:
        return f't."{names.setdefault(marked[1], f"shared {len(names)}")}"'

    return names, [_MARKED.sub(name, condition) for condition in conditions]

"""The SQL of the sample, read from the `.sql` files beside this module.

Two kinds of file: a list of statements (`ddl/`), and queries under a line `-- name: <table>` (`rows/`).
A statement ends with a semicolon at the end of a line.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROW_FILES = ("people", "banking", "money", "compliance", "ai")


@cache
def read(name: str) -> str:
    """The text of one file, named without `.sql`."""
    return files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


@cache
def statements(name: str) -> tuple[str, ...]:
    """The statements of a file under `ddl/`, in their order, without comments."""
    text = re.sub(r"^--.*\n", "", read(f"ddl/{name}"), flags=re.MULTILINE)
    return tuple(
        statement.strip() for statement in re.split(r";$", text, flags=re.MULTILINE) if statement.strip()
    )


@cache
def row_queries() -> Mapping[str, str]:
    """The query that makes rows `$1` to `$2` of a table, by table."""
    queries: dict[str, str] = {}
    for name in _ROW_FILES:
        _, *parts = _NAME.split(read(f"rows/{name}"))
        queries |= dict(zip(parts[::2], parts[1::2], strict=True))
    return queries

"""Named SQL: a `.sql` file holds statements under `-- name:` lines and is read once."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)


@cache
def queries(package: str, file: str = "queries.sql") -> Mapping[str, str]:
    """The statements of `file` in `package`, by name."""
    parts = _NAME.split((resources.files(package) / file).read_text("utf-8"))
    return MappingProxyType(
        {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)},
    )

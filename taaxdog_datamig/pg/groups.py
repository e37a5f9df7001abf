"""Task groups raise groups of exceptions; callers want the one error that counts."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from taaxdog_datamig.errors import DatamigError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def only_error() -> Iterator[None]:
    """Raise the first of our own errors in a group, else the first of any kind."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors = list(_flat(group))
        chosen = next((error for error in errors if isinstance(error, DatamigError)), errors[0])
        raise chosen from chosen.__cause__


def _flat(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flat(error)
        else:
            yield error

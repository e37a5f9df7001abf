"""What a signal is, and what reading one gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

SQL: Final = queries("taaxdog_datamig.pressure")
#: Longest time one signal may take to be read. Seconds.
PATIENCE: Final = 2.0


class Unreadable(Exception):
    """A signal cannot be read: why, without a value, and what to do."""

    def __init__(self, why: str, todo: str = "") -> None:
        super().__init__(why)
        self.why, self.todo = why, todo


@attrs.frozen
class Reading:
    """One look at a signal."""

    #: How near the limit: 1 and above is over it.
    level: float = 0.0
    #: Why one would wait, for a person.
    reason: str = ""
    #: What a person should know although nothing waits for it.
    warning: str = ""


class Signal(Protocol):
    """Something that a run waits for."""

    @property
    def name(self) -> str:
        """Its key in `[pressure]`."""

    async def read(self, connection: PoolConnectionProxy[Any]) -> Reading:
        """Look at it once.

        Raises:
            Unreadable: it cannot be told.
            What the driver raises: the server refuses, or is gone.
        """


def monitor_needed(what: str) -> Unreadable:
    """The server hides others' sessions from this role."""
    return Unreadable(f"the role may not see {what}", "GRANT pg_monitor TO it")


def sized(size: float) -> str:
    """Bytes, for a person."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1024:  # noqa: PLR2004
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TB"

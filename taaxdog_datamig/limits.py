"""What a run lets the server come to before it waits: `[pressure]` of datamig.toml, one limit a signal.

A limit is a number in the signal's unit, or a text with one (`"10 s"`, `"1 GB"`); `false` switches the signal
off. On by default is what harms nobody to wait for, and needs no privilege but on a server with standbys.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from taaxdog_datamig.errors import SettingsError

#: Environment variables: DATAMIG_PRESSURE_REPLICATION_LAG="5 s".
PREFIX: Final = "DATAMIG_PRESSURE_"

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
_BYTES: Final = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_MEASURE: Final = re.compile(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)")
_OFF: Final = (False, "false", "off")


def _measure(units: Mapping[str, float], example: str) -> Callable[[object, str], float | None]:
    """A parser of numbers, bare or with one of the units."""

    def parse(given: object, of: str) -> float | None:
        if given is None or given in _OFF:
            return None
        amount = math.nan
        if isinstance(given, int | float) and not isinstance(given, bool):
            amount = float(given)
        elif isinstance(given, str) and (found := _MEASURE.fullmatch(given.strip())):
            number, unit = found.groups()
            amount = float(number) * (units.get(unit, math.nan) if unit else 1)
        if not 0 < amount < math.inf:
            raise SettingsError(f"{of} is no limit", f'Write it as "{example}", or false for none')
        return amount

    return parse


_seconds = _measure(_SECONDS, "10 s")
_bytes = _measure(_BYTES, "1 GB")
_count = _measure({}, "50")


def _switch(given: object, of: str) -> bool:
    if given in _OFF or given is None:
        return False
    if given is True or given in {"true", "on"}:
        return True
    raise SettingsError(f"{of} is neither true nor false")


def _text(given: object, of: str) -> str | None:
    if given is False or given is None:
        return None
    if not isinstance(given, str) or not given.strip():
        raise SettingsError(f"{of} is not a text", "Leave it out, or write false, for none")
    return given


def _names(given: object, of: str) -> tuple[str, ...]:
    if isinstance(given, str):
        return tuple(name.strip() for name in given.split(",") if name.strip())
    if not isinstance(given, list | tuple) or not all(isinstance(name, str) and name for name in given):
        raise SettingsError(f"{of} is not a list of names", 'Write it as ["standby1"]')
    return tuple(given)


def _function(given: object, of: str) -> str | Callable[[], Any] | None:
    if given is None or given is False:
        return None
    if isinstance(given, str) and re.fullmatch(r"[\w.]+:\w+", given):
        return given
    if inspect.iscoroutinefunction(given):
        return given
    raise SettingsError(f"{of} names no async function", 'Write it as "myapp.operations:is_busy"')


@attrs.frozen(kw_only=True)
class Limits:
    """The limits of `[pressure]`; None: the signal is off. Seconds, and bytes."""

    #: How far the replay of a standby may be behind.
    replication_lag: float | None = 10.0
    #: Standbys, by application_name, that are behind on purpose or of no concern.
    ignored_standbys: tuple[str, ...] = ()
    #: WAL that a replication slot may make the server keep.
    slot_wal: float | None = None
    #: WAL that the whole server may write a second.
    wal_rate: float | None = None
    #: WAL that may wait to be archived.
    archive_backlog: float | None = float(1 << 30)
    #: How long a small commit may take, the wait for disk and synchronous standbys included.
    commit_latency: float | None = 1.0
    #: How long another session may wait for a lock of ours.
    lock_wait: float | None = 0.5
    #: Whether to wait while the table is vacuumed, analysed, or gets an index.
    vacuum: bool = False
    #: How many other sessions may be at work.
    active_sessions: float | None = None
    #: How old a transaction may be that keeps dead rows from being removed.
    xmin_age: float | None = None
    #: A query of the user's own: true, or a number above zero, is pressure.
    sql: str | None = attrs.field(default=None, repr=False)
    #: The same as an async function: itself, or "module:name".
    function: str | Callable[[], Any] | None = None
    #: A file that stops everything as long as it is there.
    flag_file: str | None = None
    #: How long a signal may be unreadable before the run is paused.
    patience: float = 60.0
    #: How long a run waits for one spell of pressure before it is paused; None: as long as it lasts.
    longest_wait: float | None = None


_PARSERS: Final[Mapping[str, Callable[[object, str], Any]]] = {
    "replication_lag": _seconds,
    "ignored_standbys": _names,
    "slot_wal": _bytes,
    "wal_rate": _bytes,
    "archive_backlog": _bytes,
    "commit_latency": _seconds,
    "lock_wait": _seconds,
    "vacuum": _switch,
    "active_sessions": _count,
    "xmin_age": _seconds,
    "sql": _text,
    "function": _function,
    "flag_file": _text,
    "patience": _seconds,
    "longest_wait": _seconds,
}


def limits(given: Mapping[str, Any]) -> Limits:
    """The limits, with those of `[pressure]` over the defaults.

    Raises:
        SettingsError: an unknown name, or a value that is no limit.
    """
    if unknown := sorted(given.keys() - _PARSERS.keys()):
        raise SettingsError(f"pressure: unknown key {unknown[0]!r}", f"Known are: {', '.join(_PARSERS)}")
    found = {name: _PARSERS[name](value, f"pressure.{name}") for name, value in given.items()}
    if "patience" in found and found["patience"] is None:
        raise SettingsError("pressure.patience is no time", 'Write it as "60 s"')
    return Limits(**found)


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What the environment says of `[pressure]`, by name. An empty variable says nothing."""
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value
    }

"""Numbers, sizes and times as people read them."""

from __future__ import annotations

from datetime import datetime


def count(number: int) -> str:
    """`number` with thousands separators."""
    return f"{number:,}"


def some(number: int, noun: str) -> str:
    """So many of them: `1 row`, `1,200 rows`."""
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"


def size(number: int) -> str:
    """Bytes in the unit that leaves one to four digits."""
    value, units = float(number), ["bytes", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:  # noqa: PLR2004  a kilobyte has 1000 bytes
        value, units = value / 1000, units[1:]
    return f"{value:,.0f} {units[0]}" if value >= 10 or units[0] == "bytes" else f"{value:.1f} {units[0]}"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 10:  # noqa: PLR2004  below, tenths tell something
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def moment(when: datetime | None) -> str:
    """A time of day, in this machine's zone, to the second."""
    return "" if when is None else f"{when.astimezone():%Y-%m-%d %H:%M:%S}"

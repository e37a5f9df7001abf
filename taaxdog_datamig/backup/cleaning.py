"""Which backups may go. Pure: it is told what there is, and says what becomes of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    from taaxdog_datamig.backup.records import BackupRecord

_AGE = re.compile(r"(\d{1,5})([hdw])")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
#: An incomplete backup younger than this may be one that is being made.
IN_WORK = timedelta(days=1)


@attrs.frozen(kw_only=True)
class Policy:
    """What `clean` is told. A backup stays if any of the rules wants it."""

    older_than: timedelta | None = None
    #: The latest so many.
    keep: int = 0
    #: The latest of each of so many days, weeks and months.
    daily: int = 0
    weekly: int = 0
    monthly: int = 0


@attrs.frozen(kw_only=True)
class Verdict:
    """What becomes of a backup."""

    id: str
    size: int
    goes: bool
    reason: str


def age(text: str) -> timedelta:
    """An age such as 30d, 12h or 4w.

    Raises:
        UsageError: it is none.
    """
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no age", "Write 30d, 12h or 4w")
    return int(match[1]) * _UNITS[match[2]]


def judge(
    records: Sequence[BackupRecord], policy: Policy, now: datetime, needed: Collection[str] = ()
) -> list[Verdict]:
    """What becomes of each backup.

    Args:
        records: all there are.
        policy: what is wanted.
        now: the moment.
        needed: ids of backups that runs refer to which can still be rolled back or gone on with.
    """
    whole = sorted(
        (record for record in records if record.state == "complete" and record.created_at is not None),
        key=lambda record: record.created_at or now,
        reverse=True,
    )
    reasons = _kept(whole, policy, now)
    verdicts = []
    for record in records:
        if record.hold:
            kept = f"on hold: {record.hold}"
        elif record.id in needed:
            kept = "a run that can still be undone refers to it"
        elif record.state == "incomplete":
            kept = "it may be in work" if _young(record.id, now) else ""
        elif record.state == "damaged":
            kept = "it is damaged: look at it before it goes"
        else:
            kept = reasons.get(record.id, "")
        gone = "it was never finished" if record.state == "incomplete" else "no rule keeps it"
        verdicts.append(Verdict(id=record.id, size=record.size, goes=not kept, reason=kept or gone))
    return verdicts


def _kept(whole: Sequence[BackupRecord], policy: Policy, now: datetime) -> dict[str, str]:
    """Why each of the complete backups stays, the latest first."""
    reasons: dict[str, str] = {}
    if whole:
        reasons[whole[0].id] = "the last good backup"
    for record in whole[: policy.keep]:
        reasons.setdefault(record.id, f"one of the last {policy.keep}")
    rules: list[tuple[int, str, Callable[[datetime], object]]] = [
        (policy.daily, "day", lambda at: at.date()),
        (policy.weekly, "week", lambda at: at.isocalendar()[:2]),
        (policy.monthly, "month", lambda at: (at.year, at.month)),
    ]
    for number, period, of in rules:
        seen: set[object] = set()
        for record in whole:
            at = record.created_at
            assert at is not None
            if len(seen) < number and of(at) not in seen:
                seen.add(of(at))
                reasons.setdefault(record.id, f"the last of its {period}")
    if policy.older_than is not None:
        for record in whole:
            if record.created_at is not None and now - record.created_at <= policy.older_than:
                reasons.setdefault(record.id, "not old enough")
    return reasons


def _young(backup: str, now: datetime) -> bool:
    try:
        began = datetime.strptime(backup[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=now.tzinfo)
    except ValueError:
        return True
    return now - began < IN_WORK

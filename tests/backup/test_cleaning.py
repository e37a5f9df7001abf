"""Which backups may go: a rule keeps one, or nothing does; the last good one stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.backup import BackupRecord, Policy, age
from taaxdog_datamig.backup.cleaning import judge
from taaxdog_datamig.errors import UsageError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def made(hours, state="complete", hold=""):
    """A backup of so many hours ago."""
    at = NOW - timedelta(hours=hours)
    return BackupRecord(
        id=f"{at:%Y%m%dT%H%M%SZ}-{hours:08x}",
        state=state,
        path="",
        size=1,
        hold=hold,
        created_at=at if state == "complete" else None,
    )


def staying(records, policy, needed=()):
    verdicts = judge(records, policy, NOW, needed)
    return [record for record, verdict in zip(records, verdicts, strict=True) if not verdict.goes]


DAYS = [made(24 * day + 1) for day in range(40)]


def test_older_ones_go_and_the_latest_so_many_stay():
    assert staying(DAYS, Policy(older_than=timedelta(days=30))) == DAYS[:30]
    assert staying(DAYS, Policy(keep=7)) == DAYS[:7]
    assert staying(DAYS, Policy(older_than=timedelta(days=3), keep=7)) == DAYS[:7]


def test_one_a_day_a_week_and_a_month_stays():
    hourly = [made(hour) for hour in range(24 * 70)]
    kept = staying(hourly, Policy(daily=3, weekly=2, monthly=3))
    days = {record.created_at.date() for record in kept}
    assert len(kept) == len(days)
    assert {NOW.date() - timedelta(days=day) for day in range(3)} <= days
    assert {(record.created_at.year, record.created_at.month) for record in kept} == {
        (2026, 3),
        (2026, 2),
        (2026, 1),
    }


@given(st.lists(st.integers(0, 5_000), min_size=1, max_size=20, unique=True), st.integers(0, 3))
def test_the_last_good_one_always_stays(hours, keep):
    records = [made(hour) for hour in sorted(hours)]
    kept = staying(records, Policy(older_than=timedelta(0), keep=keep))
    assert kept[0] == records[0]
    assert len(kept) == max(1, min(keep, len(records)), sum(record.created_at == NOW for record in records))


def test_what_is_held_needed_damaged_or_perhaps_in_work_stays():
    new, old, held = made(1), made(2_000), made(2_001, hold="audit")
    young, dead = made(3, "incomplete"), made(50, "incomplete")
    damaged = made(2_002, "damaged")
    records = [new, old, held, young, dead, damaged]
    assert staying(records, Policy(keep=1)) == [new, held, young, damaged]
    assert staying(records, Policy(keep=1), needed=[old.id]) == [new, old, held, young, damaged]


@pytest.mark.parametrize(("text", "hours"), [("30d", 720), ("12h", 12), ("4w", 672)])
def test_an_age_is_a_number_and_a_unit(text, hours):
    assert age(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "1m"])
def test_anything_else_is_no_age(text):
    with pytest.raises(UsageError, match="is no age"):
        age(text)

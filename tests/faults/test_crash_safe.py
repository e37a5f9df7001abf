"""`assert_crash_safe`: migrations that may be killed anywhere, and proof that the harness can tell."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import pytest
from campaign import KEY
from shouting import Shout, Sign, Tally

from taaxdog_datamig import failpoints
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.testing import assert_crash_safe

Template = Callable[[str, Callable[[str], Awaitable[None]]], str]


async def _few_users(dsn: str) -> None:
    await load_sample(dsn, users=60)


async def test_the_main_job_may_be_killed_at_every_point(template_database: Template, database_from):
    sample = database_from(template_database("few_users", _few_users))
    report = await assert_crash_safe(
        "encrypt-user-data",
        sample,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=20,
        random_kills=2,
    )
    assert report.changed_rows > 100
    assert report.killed_at == failpoints.NAMES
    assert report.random_kills == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_the_main_job_may_be_killed_anywhere(database: str):
    await load_sample(database, users=2_000)
    report = await assert_crash_safe(
        "encrypt-user-data", database, environ={"FIELD_ENCRYPTION_KEY": KEY}, random_kills=25
    )
    assert report.killed_at == failpoints.NAMES
    assert report.random_kills == 25


async def test_a_migration_of_ones_own_may_be_killed_at_every_point(words: str):
    """A bigint key, a column that is widened, rows refused, no encryption key."""
    report = await assert_crash_safe(Shout, words, random_kills=1, batch_size=10, max_quarantine=100)
    assert report.killed_at == failpoints.NAMES
    assert report.not_reached == ()


@pytest.mark.parametrize(
    ("faults", "said"), [(["flood"], "no fault 'flood'"), (["restart"], "needs the server")]
)
async def test_a_fault_that_cannot_be_tried_is_told(faults: list[str], said: str):
    with pytest.raises(UsageError, match=said):
        await assert_crash_safe(Shout, faults=faults)


@pytest.mark.parametrize("unsafe", [Sign, Tally], ids=["depends-on-the-process", "writes-outside-the-chunk"])
async def test_the_harness_finds_a_migration_that_is_not_safe(words: str, unsafe: type[Shout]):
    """It names table and key of rows that differ, and no value."""
    with pytest.raises(AssertionError) as caught:
        await assert_crash_safe(
            unsafe, words, points=["after-commit"], random_kills=0, batch_size=10, max_quarantine=100
        )
    message = str(caught.value)
    assert re.search(r"words (row )?\d+ (differs|does not read back)", message)
    assert "word0" not in message
    assert "WORD0" not in message

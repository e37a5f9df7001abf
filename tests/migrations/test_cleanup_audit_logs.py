"""cleanup-audit-logs: what is older than ninety days goes into an archive, what is on hold stays."""

from __future__ import annotations

from application import run_beside
from cycle import cycle

from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, rows, script, state

NAME = "cleanup-audit-logs"
OLD = "\"createdAt\" < now() - interval '90 days'"


async def old_logs(dsn):
    return (await rows(dsn, f"SELECT count(*) FROM audit_logs WHERE {OLD}"))[0][0]


async def test_there_and_back(sample):
    before = await state(sample)

    async def after(dsn):
        assert await old_logs(dsn) == 0
        now = await state(dsn)
        assert now["audit_logs"][0] == 250
        assert {name for name in before if before[name] != now[name]} == {"audit_logs"}

    report = await cycle(sample, NAME, rows=250, after=after)
    assert report.deleted_rows == {"audit_logs": 250}
    assert report.archive_id == report.run_id


async def test_the_retention_is_a_setting(sample):
    async def after(dsn):
        assert await old_logs(dsn) == 250

    await cycle(sample, NAME, rows=0, after=after, retention={"audit_logs": "50 years"})


async def test_a_log_of_exactly_ninety_days_stays(database, keyed):
    await script(
        database,
        'CREATE TABLE audit_logs (id int PRIMARY KEY, "createdAt" timestamptz);'
        "INSERT INTO audit_logs VALUES (1, now() - interval '90 days' + interval '1 minute'),"
        " (2, now() - interval '90 days' - interval '1 second'), (3, NULL), (4, 'infinity'),"
        " (5, '-infinity')",
    )

    async def after(dsn):
        assert [row[0] for row in await rows(dsn, "SELECT id FROM audit_logs ORDER BY 1")] == [1, 3, 4]

    await cycle(database, NAME, rows=2, after=after)


async def test_beside_an_application_that_writes(sample):
    report, _ = await run_beside(sample, NAME, {"audit_logs": ("id", '"userAgent"')}, deletes=True)
    assert report.changed_rows == 250


async def test_it_may_be_killed_anywhere(few, points):
    report = await assert_crash_safe(
        NAME,
        few,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=10,
        random_kills=1,
    )
    assert report.changed_rows == 15

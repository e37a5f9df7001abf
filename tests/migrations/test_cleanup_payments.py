"""cleanup-payments: payments that failed over six months ago go into an archive."""

from __future__ import annotations

from application import run_beside
from cycle import cycle

from taaxdog_datamig.testing import assert_crash_safe
from tests.sample import KEY, rows, script, state

NAME = "cleanup-payments"
FAILED = "status = 'failed' AND \"createdAt\" < now() - interval '6 months'"


async def test_there_and_back(sample):
    before = await state(sample)

    async def after(dsn):
        assert (await rows(dsn, f"SELECT count(*) FROM payments WHERE {FAILED}"))[0][0] == 0
        now = await state(dsn)
        assert before["payments"][0] - now["payments"][0] == 25
        assert {name for name in before if before[name] != now[name]} == {"payments"}

    report = await cycle(sample, NAME, rows=25, after=after)
    assert report.deleted_rows == {"payments": 25}


async def test_paid_recent_and_undated_ones_stay(database, keyed):
    await script(
        database,
        "CREATE TYPE \"PaymentStatus\" AS ENUM ('failed', 'succeeded');"
        'CREATE TABLE payments (id int PRIMARY KEY, status "PaymentStatus", created_at timestamp(3));'
        "INSERT INTO payments VALUES (1, 'failed', now() - interval '6 months' + interval '1 hour'),"
        " (2, 'failed', now() - interval '6 months 1 second'), (3, 'succeeded', '2020-02-29'),"
        " (4, 'failed', NULL), (5, NULL, '2020-02-29')",
    )

    async def after(dsn):
        assert [row[0] for row in await rows(dsn, "SELECT id FROM payments ORDER BY 1")] == [1, 3, 4, 5]

    await cycle(database, NAME, rows=1, after=after)


async def test_beside_an_application_that_writes(sample):
    report, _ = await run_beside(sample, NAME, {"payments": ("id", "description")}, deletes=True)
    assert report.changed_rows == 25


async def test_it_may_be_killed_anywhere(few, points):
    await script(few, "UPDATE payments SET status = 'failed', \"createdAt\" = '2020-01-01'")
    report = await assert_crash_safe(
        NAME,
        few,
        points=points,
        environ={"FIELD_ENCRYPTION_KEY": KEY},
        batch_size=10,
        random_kills=1,
    )
    assert report.changed_rows == 30

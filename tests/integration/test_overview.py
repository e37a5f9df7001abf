"""A database at a glance: tables and rows as the catalog knows them, and how its runs stand."""

from __future__ import annotations

import asyncpg
import attrs

from taaxdog_datamig.engine.overview import overview
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.settings import Settings
from taaxdog_datamig_cli.overviewpages import overview_page
from taaxdog_datamig_cli.page import Facts
from tests.unit.test_cli_answers import RECORD


async def test_tables_are_counted_without_waiting_for_their_locks(database):
    owner = await asyncpg.connect(database)
    await owner.execute("""
        CREATE TABLE parted (id int) PARTITION BY RANGE (id);
        CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (100);
        CREATE TABLE high PARTITION OF parted FOR VALUES FROM (100) TO (200);
        INSERT INTO parted SELECT generate_series(50, 149);
        CREATE SCHEMA other; CREATE TABLE other.fresh AS SELECT generate_series(1, 7) AS id;
        CREATE SCHEMA datamig; CREATE TABLE datamig.own AS SELECT 1 AS id;
        CREATE TEMPORARY TABLE passing (id int);
        ANALYZE parted""")
    # What has not been analysed is known by the statistics, which a session hands over at its end.
    await owner.close()
    locker = await asyncpg.connect(database)
    try:
        async with locker.transaction(), Database.connect(database, settings=Settings()) as db:
            await locker.execute("LOCK TABLE parted, other.fresh")
            found = await overview(db)
    finally:
        await locker.close()
    assert found.rows == {"parted": 100, "other.fresh": 7}
    assert found.bytes > 0
    assert found.recent == found.failed == []


async def test_the_head_has_recent_runs_and_failures_before_them_on_80_columns(db):
    error = "the server said no, at length. " * 9
    runs = [
        attrs.evolve(RECORD, run_id=str(place), status=status, error=error if status == "failed" else None)
        for place, status in enumerate(("paused", "failed", "succeeded", "failed", "rolled_back"))
    ]
    found = attrs.evolve(await overview(db), recent=runs[:3], failed=[runs[1], *runs[3:]])
    _, facts = overview_page(db, found)
    assert isinstance(facts, Facts)
    shown = [(name, line.partition(": ")[2][:11]) for name, line in facts.pairs[2:]]
    assert shown == [
        ("latest runs", "paused, 5 r"),
        ("", "failed, 5 r"),
        ("", "done, 5 row"),
        ("failed", "failed, 5 r"),
        ("", "rolled back"),
    ]
    assert all(len(line) <= 80 - len("  latest runs  ") for _, line in facts.pairs[2:])

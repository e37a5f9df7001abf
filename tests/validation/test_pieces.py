"""A table is read in pieces by several workers: what is found does not depend on how it was cut."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from planting import validated

from taaxdog_datamig import Database, Settings
from taaxdog_datamig.pg.snapshot import Snapshot
from taaxdog_datamig.validation import ExaminedCheck, RowCheck, scan
from taaxdog_datamig.validation.checks import builtin_checks
from taaxdog_datamig.validation.scene import Scene
from taaxdog_datamig.validation.subject import Bounds, Subject
from tests.sample import KEY, LEGACY_KEY, script

KEYS = {"field_encryption_key": KEY, "field_encryption_legacy_key": LEGACY_KEY.hex()}


def told(report):
    """What was found, but for which of many rows are named."""
    return {
        each.id: (each.violations, sorted(each.sample_keys), each.note, each.error, each.skipped)
        for each in report.checks
    }, {table.name: table.rows for table in report.tables}


@pytest.mark.parametrize(("piece", "few"), [(1, 2_000), (3, 1)])
async def test_many_pieces_find_what_one_finds(pristine, monkeypatch, piece, few):
    whole = await validated(pristine, settings=KEYS)
    monkeypatch.setattr(scan, "PIECE", piece)
    monkeypatch.setattr(scan, "_FEW", few)
    cut = await validated(pristine, settings=KEYS)
    assert told(attrs.evolve(cut, moment=whole.moment)) == told(whole)
    assert any(each.violations > 10 for each in whole.checks)


async def test_a_worker_that_comes_late_counts_nothing_again(pristine):
    """Another table kept it, and by now this one is through."""
    resolved = Settings(database_url=pristine, **KEYS)
    async with Database.connect(settings=resolved) as db, Snapshot.take(db) as snapshot:
        scene = await Scene.load(snapshot.connection, resolved, datetime.now(UTC))
        table = scene.table("users")
        reading = scan.TableScan(
            scene=scene,
            bounds=Bounds(samples=1_000, examined=100_000, timeout=None),
            subject=Subject(table=table),
            checks=[
                check
                for check in builtin_checks(scene)
                if check.table == "users" and isinstance(check, RowCheck | ExaminedCheck)
            ],
        )
        async with snapshot.share() as one, snapshot.share() as other:
            first, late = await reading.run(one), await reading.run(other)
    assert first is not None
    assert late is None
    assert first["phone-invalid:users.phone"].violations == 150


async def test_a_partitioned_table_is_read_partition_by_partition(database, monkeypatch):
    monkeypatch.setattr(scan, "PIECE", 1)
    await script(
        database,
        """CREATE TABLE goals (id int, status text, current_amount int, target_amount int, PRIMARY KEY (id))
           PARTITION BY RANGE (id);
           CREATE TABLE goals_1 PARTITION OF goals FOR VALUES FROM (0) TO (1000);
           CREATE TABLE goals_2 PARTITION OF goals FOR VALUES FROM (1000) TO (9000);
           INSERT INTO goals
           SELECT i, 'ACTIVE', 1 + (i % 500 = 7)::int, 1 FROM generate_series(0, 2999) AS i""",
    )
    report = await validated(database, checks=["goal-over-target"])
    (check,) = [each for each in report.checks if not each.skipped]
    assert check.violations == 6
    assert check.sample_keys == ("1007", "1507", "2007", "2507", "507", "7")
    assert sum(table.rows for table in report.tables) == 3_000

"""How many rows of a slow transform are read at once."""

from __future__ import annotations

import pytest

from taaxdog_datamig.engine import reader


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(reader, "cores", lambda: 2)


@pytest.mark.parametrize("row_seconds", [0.0003, 0.011, 0.125, 1.0])
def test_reads_come_to_the_time_that_a_kill_may_lose(row_seconds):
    rows = reader.SLOW_ROWS * 2
    for _ in range(10):
        rows = reader._soon(rows, rows, rows * row_seconds)
    assert rows * row_seconds == pytest.approx(reader.SLOW_SECONDS, abs=row_seconds)


def test_a_read_has_a_row_for_each_core_however_long_that_takes():
    assert reader._soon(64, 64, 64 * 600.0) == 2


def test_a_read_does_not_grow_by_more_than_its_measure_is_good_for():
    assert reader._soon(64, 1, 0.0) == 256

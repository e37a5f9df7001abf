"""The collector's thresholds are raised while rows are at work, and are afterwards what they were."""

from __future__ import annotations

import gc

import pytest

from taaxdog_datamig.engine.collecting import rare_collections


@pytest.fixture(autouse=True)
def _as_before():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_blocks_that_overlap_give_back_what_was_set_before_the_first():
    gc.set_threshold(701, 11, 12)
    one, other = rare_collections(), rare_collections()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert gc.get_threshold()[0] > 10_000
    other.__exit__(None, None, None)
    assert gc.get_threshold() == (701, 11, 12)


def test_a_collector_that_is_switched_off_stays_off():
    gc.set_threshold(0, 11, 12)
    with rare_collections():
        assert gc.get_threshold()[0] == 0

"""The number of workers, on a clock of the test's own: it rises slowly, and falls at trouble."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.throttle import SETTLING, WorkerCount

LEVEL = st.floats(0, 3)
STEP = st.floats(0.01, 60)


def test_it_starts_with_one_and_each_move_waits_for_what_the_last_one_did():
    count, seen = WorkerCount(most=4, fixed=False), []
    for second in range(80):
        count.learn(float(second), 0.1)
        seen.append(count.now)
    assert [seen.index(n) for n in (1, 2, 3, 4)] == [0, 15, 30, 45]
    count.learn(80.0, 0.7)
    assert count.now == 4, "neither low nor high: it stays"
    count.learn(81.0, 0.85)
    assert count.now == 3
    count.learn(82.0, 0.85)
    assert count.now == 3, "what the last move did must show first"
    count.learn(97.0, 1.2)
    assert count.now == 1, "half of three"


@given(st.lists(st.tuples(STEP, LEVEL), max_size=60), st.integers(1, 10))
def test_it_keeps_its_bounds_and_its_distance(told, most):
    count, clock, moves = WorkerCount(most=most, fixed=False), 0.0, []
    for step, level in told:
        clock += step
        moves = moves or [clock]
        before = count.now
        count.learn(clock, level)
        assert 1 <= count.now <= most
        assert count.now - before <= 1
        if count.now != before:
            assert (count.now > before) == (level < 0.5)
            moves.append(clock)
    assert all(later - earlier >= SETTLING for earlier, later in itertools.pairwise(moves))


@given(st.lists(LEVEL, max_size=20), st.integers(1, 10))
def test_a_number_set_by_hand_stays(levels, most):
    count = WorkerCount(most=most)
    for second, level in enumerate(levels):
        count.learn(20.0 * second, level)
        assert count.now == most

"""The chunk-size controller on a simulated server, whose cost model is injected. No clock, no sleep."""

from __future__ import annotations

import random

import attrs
from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.throttle import CHUNK_BYTES, ChunkSize

TARGET = 0.5


@attrs.define
class Server:
    """A transaction costs `fixed` seconds and `row` seconds for each row, times some noise."""

    row: float
    fixed: float = 0.01
    noise: float = 0.0
    dice: random.Random = attrs.field(factory=lambda: random.Random(7))

    def seconds(self, rows: int) -> float:
        return (self.fixed + rows * self.row) * self.dice.lognormvariate(0, self.noise)

    def work(self, size: ChunkSize, chunks: int) -> list[tuple[int, float]]:
        done = []
        for _ in range(chunks):
            rows, seconds = size.rows, self.seconds(size.rows)
            size.learn(rows, seconds)
            done.append((rows, seconds))
        return done


ROW = st.floats(TARGET / 15_000, TARGET / 50)


@given(row=ROW, fixed=st.floats(0, TARGET / 3))
def test_it_comes_to_the_target_and_stays(row, fixed):
    server, size = Server(row, fixed), ChunkSize(TARGET)
    server.work(size, 120)
    for rows, seconds in server.work(size, 40):
        assert 0.8 * TARGET <= seconds <= 1.05 * TARGET or rows in {size.least, size.most}


@given(row=ROW, seed=st.integers(0, 1000))
def test_noise_neither_makes_it_swing_nor_fall(row, seed):
    server, size = Server(row, noise=0.25, dice=random.Random(seed)), ChunkSize(TARGET)
    server.work(size, 120)
    done = server.work(size, 200)
    sizes = [rows for rows, _ in done]
    assert max(sizes) <= 4 * min(sizes)
    assert 0.4 * TARGET < sum(seconds for _, seconds in done) / len(done) < 1.1 * TARGET


@given(row=ROW)
def test_a_server_twenty_times_slower_gets_small_chunks_at_once_and_large_ones_again_later(row):
    server, size = Server(row), ChunkSize(TARGET)
    server.work(size, 120)
    before = size.rows
    server.row, server.fixed = row * 20, server.fixed * 20
    server.work(size, 1)
    assert size.rows <= max(before // 10, size.least)
    server.work(size, 80)
    assert all(s <= 1.2 * TARGET or rows == size.least for rows, s in server.work(size, 20))
    server.row, server.fixed = row, server.fixed / 20
    server.work(size, 120)
    assert 0.8 * before <= size.rows <= 1.25 * before


def test_several_chunks_in_one_stall_cut_down_once():
    size = ChunkSize(TARGET)
    for _ in range(8):
        size.learn(1000, 6.0)
    assert size.rows == 100


@given(st.lists(st.tuples(st.integers(0, 30_000), st.floats(0, 1e4), st.integers(0, 1 << 34)), max_size=80))
def test_it_never_leaves_its_bounds(told):
    size = ChunkSize(TARGET)
    for rows, seconds, weight in told:
        size.learn(rows, seconds, weight)
        assert size.least <= size.rows <= size.most


@given(row=st.integers(500, 200_000))
def test_wide_rows_keep_a_chunk_within_its_bytes(row):
    size = ChunkSize(TARGET)
    for _ in range(150):
        size.learn(size.rows, size.rows * 1e-6, size.rows * row)
    assert size.rows <= max(size.least, CHUNK_BYTES // row)


@given(st.lists(st.tuples(st.integers(1, 5000), st.floats(0.001, 50)), max_size=20))
def test_a_size_set_by_hand_stays(told):
    size = ChunkSize(TARGET, fixed=123)
    for rows, seconds in told:
        size.learn(rows, seconds)
        assert size.rows == 123

"""Windows, waves and chunks lose nothing and count nothing twice."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from taaxdog_datamig.planning import READ_BYTES, WAVE_ROWS, WINDOW_ROWS, ReadSize, chunks, waves, windows


@given(pages=st.integers(0, 50_000), size=st.integers(1, 9_000))
def test_windows_cover_every_block_exactly_once(pages, size):
    found = list(windows('"public"."users"', pages, size))
    assert all(0 < window.end - window.start <= size for window in found)
    assert all(one.end == next_one.start for one, next_one in pairwise(found))
    assert [found[0].start, found[-1].end] == [0, pages] if pages else found == []


TIDS = st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 291)), unique=True, max_size=900).map(sorted)


@given(tids=TIDS, count=st.integers(1, 30))
def test_waves_hold_every_row_once_in_heap_order(tids, count):
    found = waves(tids, count)
    assert sorted(position for wave in found for position in wave) == list(range(len(tids)))
    assert all(wave == sorted(wave) and wave for wave in found)
    assert len(found) <= max(1, min(count, len(tids) // WAVE_ROWS))


@given(pages=st.integers(100, 300), lines=st.integers(2, 40))
def test_each_wave_takes_only_some_rows_of_a_full_page(pages, lines):
    tids = [(page, line) for page in range(pages) for line in range(1, lines + 1)]
    found = waves(tids)
    for wave in found:
        assert len(wave) <= -(-lines // len(found)) * pages


@given(items=st.lists(st.integers(), max_size=500), size=st.integers(1, 120))
def test_chunks_keep_the_order_differ_by_one_and_never_exceed_the_size(items, size):
    found = [list(chunk) for chunk in chunks(items, size)]
    assert [item for chunk in found for item in chunk] == items
    sizes = [len(chunk) for chunk in found]
    assert max(sizes, default=0) <= size
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(found) == -(-len(items) // size)


@given(st.lists(st.tuples(st.integers(0, WINDOW_ROWS), st.integers(0, 1 << 33)), max_size=60))
def test_a_read_stays_in_bounds_whatever_it_is_told(reads):
    size = ReadSize()
    for rows, read in reads:
        before = size.rows
        size.learn(rows, read)
        assert 1 <= size.rows <= WINDOW_ROWS
        assert size.rows <= before * 8


@given(row=st.integers(1, READ_BYTES))
def test_reads_of_rows_of_one_size_come_to_the_wanted_number_of_bytes(row):
    size = ReadSize()
    for _ in range(8):
        size.learn(size.rows, size.rows * row)
    assert size.rows == min(WINDOW_ROWS, READ_BYTES // row)

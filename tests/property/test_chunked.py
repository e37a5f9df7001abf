"""Sealed streams: what goes in comes out, however it is cut; anything else is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taaxdog_datamig.crypto.chunked import CHUNK, HEADER, ChunkedSealer, opened
from taaxdog_datamig.errors import TokenError

KEY = bytes(range(32))
SALT = bytes(24)
STEP = CHUNK + 16
#: Around every edge of a chunk.
LENGTHS = st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 40_000])


def sealed(message: bytes, *cuts: int, context: str = "here") -> bytes:
    sealer = ChunkedSealer(KEY, context)
    edges = [0, *sorted(cut for cut in cuts if cut < len(message)), len(message)]
    pieces = [sealer.update(message[a:b]) for a, b in pairwise(edges)]
    return b"".join([sealer.header, *pieces, sealer.finish()])


def read(data: bytes, *, piece: int = 1 << 20, key: bytes = KEY, context: str = "here") -> bytes:
    return b"".join(opened((data[at : at + piece] for at in range(0, len(data), piece)), key, context))


@settings(max_examples=40, deadline=None)
@given(LENGTHS, st.lists(st.integers(0, 40_000), max_size=4), st.integers(7, 50_000))
def test_a_message_comes_back_however_it_is_cut(length: int, cuts: list[int], piece: int) -> None:
    message = bytes(at * 31 % 251 for at in range(length))
    assert read(sealed(message, *cuts), piece=piece) == message


@settings(max_examples=40, deadline=None)
@given(LENGTHS, st.data())
def test_a_message_that_is_cut_off_anywhere_is_refused(length: int, data: st.DataObject) -> None:
    whole = sealed(bytes(length))
    chunks = (len(whole) - HEADER) // STEP
    edges = [HEADER + number * STEP for number in range(chunks + 1) if HEADER + number * STEP < len(whole)]
    end = data.draw(st.one_of(st.sampled_from(edges), st.integers(0, len(whole) - 1)))
    with pytest.raises(TokenError):
        read(whole[:end])


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.data())
def test_a_flipped_bit_is_found(length: int, data: st.DataObject) -> None:
    whole = bytearray(sealed(bytes(length)))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(TokenError):
        read(bytes(whole))


def test_chunks_cannot_change_places() -> None:
    whole = sealed(bytes(3 * CHUNK))
    first, second = whole[HEADER : HEADER + STEP], whole[HEADER + STEP : HEADER + 2 * STEP]
    with pytest.raises(TokenError, match="damaged"):
        read(whole[:HEADER] + second + first + whole[HEADER + 2 * STEP :])


@pytest.mark.parametrize("other", [{"key": bytes(32)}, {"context": "there"}])
def test_another_key_or_place_is_refused_before_anything_is_opened(other: dict[str, object]) -> None:
    with pytest.raises(TokenError, match="another key, for another place"):
        read(sealed(b"message"), **other)  # type: ignore[arg-type]


def test_the_same_salt_gives_the_same_message() -> None:
    one, other = (ChunkedSealer(KEY, "here", SALT) for _ in range(2))
    assert one.header == other.header
    assert one.update(bytes(CHUNK)) + one.finish() == other.update(bytes(CHUNK)) + other.finish()
    assert one.header != ChunkedSealer(KEY, "here").header

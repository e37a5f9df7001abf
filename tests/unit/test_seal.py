from __future__ import annotations

import pytest
import zstandard

from taaxdog_datamig.crypto import BlobSealer, digest, new_data_key
from taaxdog_datamig.crypto import seal as module
from taaxdog_datamig.errors import TokenError

TFN = "123456782"
PAYLOAD = f'{{"tfn":"{TFN}"}}'.encode() * 100


@pytest.mark.parametrize("payload", [b"", b"x", PAYLOAD])
@pytest.mark.parametrize("key", [None, b"k" * 32])
def test_a_blob_opens_to_what_was_sealed(key, payload):
    sealer = BlobSealer(key)
    assert sealer.open(sealer.seal(payload, "run 1"), "run 1") == payload


def test_a_sealed_blob_shows_nothing_and_opens_with_its_key_and_context_only():
    sealer = BlobSealer(new_data_key())
    blob = sealer.seal(PAYLOAD, "run 1, chunk 1")
    assert TFN.encode() not in blob
    assert len(blob) < len(PAYLOAD) // 10
    assert blob != sealer.seal(PAYLOAD, "run 1, chunk 1")
    for other, context in ((sealer, "run 1, chunk 2"), (BlobSealer(new_data_key()), "run 1, chunk 1")):
        with pytest.raises(TokenError):
            other.open(blob, context)


@pytest.mark.parametrize("key", [None, b"k" * 32])
def test_damage_anywhere_is_found(key):
    sealer = BlobSealer(key)
    blob = sealer.seal(PAYLOAD, "c")
    for place in range(len(blob)):
        damaged = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
        try:
            opened = sealer.open(damaged, "c")
        except TokenError:
            continue
        assert key is None  # a bit of zstd's header that means nothing
        assert opened == PAYLOAD
    for cut in (b"", blob[:1], blob[:5], blob[:-1], blob + b"x"):
        with pytest.raises(TokenError):
            sealer.open(cut, "c")


def test_a_sealer_does_not_take_the_other_form():
    with pytest.raises(TokenError, match="form"):
        BlobSealer(b"k" * 32).open(BlobSealer(None).seal(b"x", "c"), "c")
    with pytest.raises(TokenError, match="form"):
        BlobSealer(None).open(BlobSealer(b"k" * 32).seal(b"x", "c"), "c")


def test_a_blob_that_claims_too_much_is_refused_before_it_is_unpacked(monkeypatch):
    blob = BlobSealer(None).seal(b"x" * 2000, "c")
    monkeypatch.setattr(module, "MAX_PAYLOAD", 1000)
    with pytest.raises(TokenError, match="1,000"):
        BlobSealer(None).open(blob, "c")
    with pytest.raises(TokenError, match="1,000"):
        BlobSealer(None).seal(b"x" * 1001, "c")
    sizeless = b"\x01" + zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 2000)
    with pytest.raises(TokenError):
        BlobSealer(None).open(sizeless, "c")


def test_repr_shows_no_key():
    assert repr(BlobSealer(b"k" * 32)) == "BlobSealer(sealed)"


def test_a_digest_is_keyed_and_tells_null_from_empty():
    key = b"k" * 32
    values = [None, "", "\x00", "\x01", TFN]
    assert len({digest(value, key) for value in values}) == len(values)
    assert digest(TFN, key) == digest(TFN, b"k" * 32) != digest(TFN, b"l" * 32)
    assert len(digest(TFN, key)) == 16
    with pytest.raises(ValueError, match="needs a key"):
        digest(TFN, b"")

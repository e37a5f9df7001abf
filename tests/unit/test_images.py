from __future__ import annotations

import uuid

import pytest

from taaxdog_datamig.crypto import BlobSealer, new_data_key
from taaxdog_datamig.engine.images import Image, context_of, digests
from taaxdog_datamig.errors import TokenError

RUN = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
KEY = new_data_key()
IMAGE = Image(
    [("1",), ("2", "b")],
    [("123456782", None), ("", 'ö "\\ \n')],
    [digests(("new", None), KEY), digests(("", "x"), KEY)],
)


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "compressed"])
def test_an_image_opens_to_what_was_sealed(key):
    sealer = BlobSealer(key)
    blob = IMAGE.seal(sealer, context_of(RUN, 0))
    assert Image.open(blob, sealer, context_of(RUN, 0)) == IMAGE


def test_an_image_opens_in_its_run_and_target_only():
    sealer = BlobSealer(KEY)
    blob = IMAGE.seal(sealer, context_of(RUN, 0))
    for context in (context_of(RUN, 1), context_of(uuid.uuid4(), 0)):
        with pytest.raises(TokenError):
            Image.open(blob, sealer, context)


def test_an_image_never_holds_or_shows_a_value_in_the_clear():
    blob = IMAGE.seal(BlobSealer(KEY), context_of(RUN, 0))
    assert b"123456782" not in blob
    assert "123456782" not in repr(IMAGE)


def test_digests_tell_null_from_empty_and_one_run_from_another():
    assert len(set(digests((None, "", "None"), KEY))) == 3
    assert digests(("x",), KEY) != digests(("x",), new_data_key())
    assert digests(("x",), KEY) == digests(("x",), KEY)

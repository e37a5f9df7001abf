from __future__ import annotations

import uuid

import pytest

from taaxdog_datamig.crypto import BlobSealer, new_data_key
from taaxdog_datamig.engine.images import Deleted, Updated, context_of, digests, open_image, pack
from taaxdog_datamig.errors import TokenError
from taaxdog_datamig.pg.rows import Field, Shape

RUN = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")
KEY = new_data_key()
ID = Field(name="id", column="id", type="text", textual=True)
TFN = Field(name="tfn", column="tfn", type="text", textual=True)
SHAPE = Shape(table="users", relation='"public"."users"', key=(ID,), columns=(TFN, TFN))
IMAGE = [
    Updated(
        shape=SHAPE,
        keys=[("1",), ("2", "b")],
        old=[("123456782", None), ("", 'ö "\\ \n')],
        new=[digests(("new", None), KEY), digests(("", "x"), KEY)],
    ),
    Deleted(
        shape=SHAPE,
        rows=2,
        lines=b'{"table":"users","row":{"id":"7","tfn":"876543210"}}\n'
        b'{"table":"users","row":{"id":"8","tfn":null}}\n',
    ),
    Updated(shape=SHAPE, keys=[("9",)], old=[("x", "y")], new=[digests(("z", "y"), KEY)]),
]


def sealed(sealer: BlobSealer) -> bytes:
    return sealer.seal(pack(IMAGE), context_of(RUN, 0))


@pytest.mark.parametrize("key", [KEY, None], ids=["sealed", "compressed"])
def test_an_image_opens_to_what_was_sealed(key):
    sealer = BlobSealer(key)
    assert open_image(sealed(sealer), sealer, context_of(RUN, 0)) == IMAGE


def test_deleted_rows_are_named_by_their_keys():
    assert IMAGE[1].named() == [("7",), ("8",)]
    assert IMAGE[1].named([1]) == [("8",)]


def test_an_image_opens_in_its_run_and_target_only():
    sealer = BlobSealer(KEY)
    blob = sealed(sealer)
    for context in (context_of(RUN, 1), context_of(uuid.uuid4(), 0)):
        with pytest.raises(TokenError):
            open_image(blob, sealer, context)


def test_an_image_never_holds_or_shows_a_value_in_the_clear():
    blob = sealed(BlobSealer(KEY))
    for value in ("123456782", "876543210"):
        assert value.encode() not in blob
        assert value not in repr(IMAGE)


def test_digests_tell_null_from_empty_and_one_run_from_another():
    assert len(set(digests((None, "", "None"), KEY))) == 3
    assert digests(("x",), KEY) != digests(("x",), new_data_key())
    assert digests(("x",), KEY) == digests(("x",), KEY)

"""Before-images: the old values of a chunk's rows, and how to recognise what the run wrote.

The image is JSON of lists, one entry a row: `keys`, `old` (the columns' text before) and `new` (a keyed
digest of each column's text after: enough to see whether a row still holds what the run wrote, and no
second copy of it). It is compressed, and sealed under the run's data key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import orjson

from taaxdog_datamig.crypto import digest

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from taaxdog_datamig.crypto import BlobSealer
    from taaxdog_datamig.engine.apply import Item, Texts
    from taaxdog_datamig.ledger import Key


def context_of(run_id: uuid.UUID, target: int) -> str:
    """What binds an image to its place."""
    return f"before-image|{run_id}|{target}"


@attrs.frozen
class Image:
    """The rows of one chunk. Never shown."""

    keys: list[Key]
    old: list[Texts] = attrs.field(repr=False)
    new: list[tuple[str, ...]] = attrs.field(repr=False)

    @classmethod
    def of(cls, rows: Iterable[tuple[Item, Texts]], data_key: bytes) -> Image:
        """From changed rows and what is stored in them now."""
        image = cls([], [], [])
        for item, stored in rows:
            image.keys.append(item.key)
            image.old.append(item.old)
            image.new.append(digests(stored, data_key))
        return image

    def seal(self, sealer: BlobSealer, context: str) -> bytes:
        """For the ledger."""
        return sealer.seal(orjson.dumps({"keys": self.keys, "old": self.old, "new": self.new}), context)

    @classmethod
    def open(cls, blob: bytes, sealer: BlobSealer, context: str) -> Image:
        """From the ledger.

        Raises:
            TokenError: it does not open: damaged, or from another run.
        """
        body = orjson.loads(sealer.open(blob, context))
        return cls(
            [tuple(key) for key in body["keys"]],
            [tuple(texts) for texts in body["old"]],
            [tuple(texts) for texts in body["new"]],
        )


def digests(texts: Texts, data_key: bytes) -> tuple[str, ...]:
    """What is kept of the values that a run wrote."""
    return tuple(digest(text, data_key).hex() for text in texts)

"""Before-images: what a chunk's statements changed and deleted, and how to recognise what the run wrote.

The payload is lines of JSON: a head that lists the effects in the order in which they happened, then each
effect's body. An update's body is one line of lists, one entry a row: `keys`, `old` (the columns' text
before) and `new` (a keyed digest of each column's text after: enough to see whether a row still holds what
the run wrote, and no second copy of it). A deletion's body is the rows themselves, a line each, as the
server spelled them and as an archive keeps them: `{"table":...,"row":{column: text or null}}`. The payload
is compressed, and sealed under the run's data key.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import attrs
import orjson

from taaxdog_datamig.crypto import Digester
from taaxdog_datamig.pg.rows import Shape

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Sequence

    from taaxdog_datamig.crypto import BlobSealer
    from taaxdog_datamig.engine.apply import Item, Texts
    from taaxdog_datamig.ledger import Key


def context_of(run_id: uuid.UUID, target: int) -> str:
    """What binds an image to its place."""
    return f"before-image|{run_id}|{target}"


@attrs.frozen(kw_only=True)
class Updated:
    """Rows whose columns were changed. Never shown."""

    shape: Shape
    keys: list[Key]
    old: list[Texts] = attrs.field(repr=False)
    new: list[tuple[str, ...]] = attrs.field(repr=False)
    #: See `Target.loose`.
    loose: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        shape: Shape,
        rows: Sequence[tuple[Item, Texts]],
        data_key: bytes,
        loose: tuple[str, ...] = (),
    ) -> Updated:
        """From changed rows and what is stored in them now."""
        return cls(
            shape=shape,
            keys=[item.key for item, _ in rows],
            old=[item.old for item, _ in rows],
            new=_digests([stored for _, stored in rows], Digester(data_key)),
            loose=loose,
        )

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.keys)

    def body(self) -> bytes:
        """For the payload."""
        return orjson.dumps({"keys": self.keys, "old": self.old, "new": self.new}) + b"\n"

    @classmethod
    def read(cls, shape: Shape, loose: tuple[str, ...], body: bytes) -> Updated:
        """From the payload."""
        lists = orjson.loads(body)
        return cls(
            shape=shape,
            keys=[tuple(key) for key in lists["keys"]],
            old=[tuple(texts) for texts in lists["old"]],
            new=[tuple(texts) for texts in lists["new"]],
            loose=loose,
        )


@attrs.frozen(kw_only=True)
class Deleted:
    """Rows that were deleted, whole: the shape has every column that can be written. Never shown."""

    shape: Shape
    rows: int
    lines: bytes = attrs.field(repr=False)
    #: See `Target.loose`.
    loose: tuple[str, ...] = ()

    def body(self) -> bytes:
        """For the payload and for archives."""
        return self.lines

    @classmethod
    def read(cls, shape: Shape, loose: tuple[str, ...], body: bytes) -> Deleted:
        """From the payload."""
        return cls(shape=shape, rows=body.count(b"\n"), lines=body, loose=loose)

    def ends(self) -> tuple[Key, Key]:
        """The keys of the first row and of the last, without looking at those between."""
        first = self.lines[: self.lines.index(b"\n")]
        last = self.lines[self.lines.rfind(b"\n", 0, -1) + 1 :]
        return self._key(first), self._key(last)

    def named(self, positions: Sequence[int] | None = None) -> list[Key]:
        """The rows' keys, all or those at `positions`, ascending."""
        lines = self.lines.split(b"\n")[:-1]
        chosen = lines if positions is None else [lines[i] for i in positions]
        return [self._key(line) for line in chosen]

    def _key(self, line: bytes) -> Key:
        row = orjson.loads(line)["row"]
        return tuple(row[field.column] for field in self.shape.key)


Effect: TypeAlias = Updated | Deleted
_KINDS: dict[str, type[Updated | Deleted]] = {"update": Updated, "delete": Deleted}


def deleted_rows(effects: Iterable[Effect]) -> Counter[str]:
    """How many rows were deleted, by logical table."""
    counts: Counter[str] = Counter()
    for effect in effects:
        if isinstance(effect, Deleted):
            counts[effect.shape.table] += effect.rows
    return counts


def pack(effects: Sequence[Effect]) -> bytes:
    """The payload."""
    bodies = [effect.body() for effect in effects]
    head = [
        {
            "kind": "update" if isinstance(effect, Updated) else "delete",
            "shape": effect.shape.to_json(),
            "loose": effect.loose,
            "bytes": len(body),
        }
        for effect, body in zip(effects, bodies, strict=True)
    ]
    return b"".join([orjson.dumps({"effects": head}), b"\n", *bodies])


def open_image(blob: bytes, sealer: BlobSealer, context: str) -> list[Effect]:
    """The effects of a chunk, from the ledger.

    Raises:
        TokenError: it does not open: damaged, or from another run.
    """
    payload = sealer.open(blob, context)
    at = payload.index(b"\n") + 1
    effects: list[Effect] = []
    for entry in orjson.loads(payload[:at])["effects"]:
        body = payload[at : at + entry["bytes"]]
        shape, loose = Shape.from_json(entry["shape"]), tuple(entry["loose"])
        effects.append(_KINDS[entry["kind"]].read(shape, loose, body))
        at += entry["bytes"]
    return effects


def digests(texts: Texts, data_key: bytes) -> tuple[str, ...]:
    """What is kept of the values that a run wrote."""
    return _digests([texts], Digester(data_key))[0]


def _digests(rows: Iterable[Texts], digester: Digester) -> list[tuple[str, ...]]:
    one = digester.digest
    return [tuple([one(text).hex() for text in texts]) for texts in rows]

"""What a dry run shows of rows: a few, before and after, with every value masked to its shape.

A value is shown as it is only where the profile says that it tells nothing about a person (`public`, or what
populate-metadata gives to every row), or where it is a truth value or a moment. Of a phone number the last
three digits are left, of a token its key's id, of a password's hash its scheme; of anything else dots.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.crypto.field import V1
from taaxdog_datamig.engine.images import Updated
from taaxdog_datamig.engine.reports import Happening, PreviewRow, Sight
from taaxdog_datamig.passwords import recognise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from taaxdog_datamig.engine.apply import Item, Texts
    from taaxdog_datamig.engine.images import Effect
    from taaxdog_datamig.migration import Target
    from taaxdog_datamig.pg.rows import Field
    from taaxdog_datamig.profile import ColumnSpec

#: Rows shown of each table, for each thing that happens to them.
ROWS = 3
#: Characters shown of a value.
_WIDTH = 40
_DOT = "•"
#: What separates the parts of a number, an address or a date; it is left where it stands.
_KEPT = frozenset(" +-()./@_,:")
_PLAIN_TYPES = ("boolean", "timestamp")
#: Digits left of a phone number, and the fewest it has.
_TAIL, _PHONE_DIGITS = 3, 8
_PHONES = ("phone", "mobile")


@attrs.define
class Preview:
    """Collects a few rows of each table, and counts the columns that change."""

    rows: list[PreviewRow] = attrs.field(factory=list)
    #: Rows in which a column would change, by table and column.
    columns: dict[str, Counter[str]] = attrs.field(factory=dict)
    _taken: Counter[tuple[str, Happening]] = attrs.field(factory=Counter)

    def add(self, other: Preview) -> None:
        """Take in what one chunk saw, once it has come to its end."""
        for row in other.rows:
            if self._room(row.table, row.happening):
                self._taken[row.table, row.happening] += 1
                self.rows.append(row)
        for table, counts in other.columns.items():
            self.columns.setdefault(table, Counter()).update(counts)

    def _room(self, table: str, happening: Happening) -> int:
        return ROWS - self._taken[table, happening]

    @classmethod
    def of_rows(cls, target: Target, rows: Iterable[tuple[Item, Texts]]) -> Preview:
        """Of changed rows of a target, given with what is stored in them then."""
        self, shape = cls(), target.shape
        counts = self.columns.setdefault(shape.table, Counter())
        for item, stored in rows:
            places = [i for i, text in enumerate(stored) if text != item.old[i]]
            counts.update(shape.columns[i].name for i in places)
            if self._room(shape.table, "change"):
                self._taken[shape.table, "change"] += 1
                specs = target.table.spec.columns
                sights = tuple(
                    _sight(shape.columns[i], specs.get(shape.columns[i].name), item.old[i], stored[i])
                    for i in places
                )
                row = PreviewRow(table=shape.table, key=item.key, happening="change", values=sights)
                self.rows.append(row)
        return self

    @classmethod
    def of_effects(cls, effects: Iterable[Effect]) -> Preview:
        """Of what has no transform: keys of rows that were deleted, and how many were re-pointed."""
        self = cls()
        for effect in effects:
            shape = effect.shape
            if isinstance(effect, Updated):
                counts = self.columns.setdefault(shape.table, Counter())
                counts.update({field.name: effect.rows for field in shape.columns})
            elif room := self._room(shape.table, "delete"):
                for key in effect.named(range(min(room, effect.rows))):
                    self._taken[shape.table, "delete"] += 1
                    self.rows.append(PreviewRow(table=shape.table, key=key, happening="delete"))
        return self


def _sight(field: Field, spec: ColumnSpec | None, before: str | None, after: str | None) -> Sight:
    return Sight(field.name, masked(before, field, spec), masked(after, field, spec))


def masked(text: str | None, field: Field, spec: ColumnSpec | None = None) -> str:
    """A value as it may be shown.

    Args:
        text: its text form.
        field: its column.
        spec: what the profile says of the column; None: nothing, so the value may be anybody's.
    """
    if text is None:
        return "NULL"
    if not text:
        return "(empty)"
    if (head := token_head(text)) is not None:
        return head
    sensitive = spec is not None and spec.sensitive
    plain = spec is not None and (spec.public or spec.default is not None)
    if not sensitive and (plain or field.type.startswith(_PLAIN_TYPES)):
        return _short(text)
    if field.name == "password" and (known := recognise(text)).kind != "unknown":
        return f"{known.scheme} ({len(text)} characters)"
    if field.type in {"json", "jsonb"}:
        return f"{field.type} ({len(text)} characters)"
    return dots(text, _TAIL if any(word in field.name.lower() for word in _PHONES) else 0)


def token_head(text: str) -> str | None:
    """What may be shown of a token, its version and its key's id; None for what is none."""
    head, _, sealed = text.rpartition(":")
    return f"{head}:… ({len(text)} characters)" if head.startswith(V1) and sealed else None


def dots(text: str, tail: int = 0) -> str:
    """The shape of a text: a dot for each letter and digit; the last `tail` digits of a phone number stay."""
    digits = [place for place, letter in enumerate(text) if letter.isdigit()]
    left = set(digits[len(digits) - tail :]) if tail and len(digits) >= _PHONE_DIGITS else set()
    return _short(
        "".join(letter if place in left or letter in _KEPT else _DOT for place, letter in enumerate(text))
    )


def _short(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"

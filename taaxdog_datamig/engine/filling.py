"""What a primary's empty columns get from its duplicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.engine.apply import Item
from taaxdog_datamig.migration.target import shape_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from taaxdog_datamig.engine.apply import Texts
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration.family import Merge
    from taaxdog_datamig.pg.rows import Shape

#: A row's key and what it holds, by column. Never shown.
Member = tuple["Key", "Mapping[str, str | None]"]


def filled(merge: Merge, primary: Member, others: Sequence[Member]) -> dict[str, str]:
    """The columns that are empty in the primary, with the first value that one of the others has.

    Columns that belong together come from one row, and only where the primary has none of them.
    """
    key, mine = primary
    alone = set(merge.fill).difference(*merge.together)
    sets = [(name,) for name in merge.fill if name in alone] + [names for names in merge.together if names]
    found: dict[str, str] = {}
    for names in sets:
        if any(mine[name] for name in names):
            continue
        for other, texts in others:
            given = {name: _moved(merge, name, other, key, texts[name]) for name in names}
            if any(given.values()):
                found |= {name: text for name, text in given.items() if text}
                break
    return found


def _moved(merge: Merge, name: str, source: Key, to: Key, text: str | None) -> str | None:
    if not text or name not in merge.sealed:
        return text
    return merge.sealed[name].move(source, to, text)


def fill_items(merge: Merge, wanted: Iterable[tuple[Member, Mapping[str, str]]]) -> tuple[Shape, list[Item]]:
    """Rows to be filled, over the columns that any of them gets."""
    wanted = [(member, values) for member, values in wanted if values]
    names = [name for name in merge.fill if any(name in values for _, values in wanted)]
    table = merge.primary.table
    items = []
    for (key, texts), values in wanted:
        old: Texts = tuple(texts[name] for name in names)
        items.append(Item(key, old, tuple(values.get(name, texts[name]) for name in names)))
    return shape_of(table, {name: table.relation.columns[name] for name in names}), items

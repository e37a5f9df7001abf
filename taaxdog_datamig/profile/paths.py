"""The way from the rows of one table to those of others that belong to them."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taaxdog_datamig.pg.keys import ForeignKey

#: A step to rows that go with the other row, and one to rows that only mention it: a transaction belongs to
#: its account, three steps from the user, although its receipt is but one step from there.
_BELONGS, _MENTIONS = 1, 100


def paths_from(root: int, references: Iterable[ForeignKey]) -> Mapping[int, tuple[ForeignKey, ...]]:
    """The shortest way to every table that can be reached against the direction of references.

    Args:
        root: a table's oid.
        references: what refers to what.

    Returns:
        By oid, the references from `root` on; none for `root` itself.
    """
    children: dict[int, list[ForeignKey]] = {}
    for key in references:
        children.setdefault(key.parent, []).append(key)
    found: dict[int, tuple[ForeignKey, ...]] = {}
    order = itertools.count()  # of two ways of the same length the one that was seen first
    queue: list[tuple[int, int, int, tuple[ForeignKey, ...]]] = [(0, next(order), root, ())]
    while queue:
        length, _, table, path = heapq.heappop(queue)
        if table in found:
            continue
        found[table] = path
        for key in children.get(table, ()):
            step = _BELONGS if key.on_delete in {"cascade", "restrict"} else _MENTIONS
            heapq.heappush(queue, (length + step, next(order), key.child, (*path, key)))
    return found


def scope_of(path: Iterable[ForeignKey], root: str) -> str:
    """SQL over the row `t` at the end of a path: it belongs to one of the rows of the first table.

    Each step is looked up once, before the next, and so finds its rows by an index, whatever the
    statistics say.

    Args:
        path: from `paths_from`.
        root: SQL over the first table's row, which stands in it as `t`.
    """
    condition = root
    for key in path:
        condition = key.among("t", condition)
    return condition

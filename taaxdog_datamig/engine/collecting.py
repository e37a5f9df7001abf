"""Python's garbage collector, while rows are at work."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Objects made since the last look at the youngest; Python's own number is 700 (2,000 since 3.13).
_YOUNG = 50_000
_at_work = 0
_before = gc.get_threshold()


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """Have the collector look for cycles less often during the block.

    Rows on their way are many small objects without cycles, which their reference counts free; looking
    through them again and again took 15 % of a run's CPU. Blocks may overlap; the last one restores what was
    set before the first. A collector that is switched off stays off.
    """
    global _at_work, _before  # noqa: PLW0603 - the collector is the process's
    if not _at_work:
        _before = gc.get_threshold()
        gc.set_threshold(max(_YOUNG, _before[0]) if _before[0] else 0, *_before[1:])
    _at_work += 1
    try:
        yield
    finally:
        _at_work -= 1
        if not _at_work:
            gc.set_threshold(*_before)

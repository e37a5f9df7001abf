"""How long slow transforms will take: measured on this machine, with pending rows of this database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import attrs

from taaxdog_datamig.engine.reader import ask, cores
from taaxdog_datamig.pg.catalog import leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.migration import Target

#: Blocks a heap can have, so that a TID range covers it whole.
_BLOCKS = 2**32 - 1


@attrs.frozen
class Pace:
    """What slow transforms will take in all."""

    seconds: float = 0.0
    #: How that was found out; empty where nothing is slow.
    told: str = ""


async def pace(
    connection: PoolConnectionProxy[Any], targets: Sequence[Target], pending: Sequence[int]
) -> Pace:
    """Have slow targets' transforms decide about a pending row for each core, and take the time.

    Args:
        connection: any.
        targets: of a plan.
        pending: rows of each.
    """
    found = Pace()
    for target, rows in zip(targets, pending, strict=True):
        if not target.slow or not rows:
            continue
        sample = await _some(connection, target, cores())
        began = time.monotonic()
        await anyio.to_thread.run_sync(ask, target, sample)
        spent = time.monotonic() - began
        found = Pace(
            found.seconds + spent * rows / max(1, len(sample)),
            f"{len(sample)} rows took {spent:.2g} s on {cores()} cores just now",
        )
    return found


async def _some(connection: PoolConnectionProxy[Any], target: Target, rows: int) -> list[Any]:
    found: list[Any] = []
    for leaf in await leaves(connection, target.table.relation.oid):
        query = target.shape.at(leaf.relation).window_sql(target.pending, target.lookups.values())
        found += await connection.fetch(query, (0, 0), (_BLOCKS, 0), rows - len(found))
        if len(found) == rows:
            break
    return found

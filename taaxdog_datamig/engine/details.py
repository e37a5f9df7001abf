"""Everything the ledger knows of one run, for a report that is read later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from taaxdog_datamig.engine import control
from taaxdog_datamig.engine.reports import Pulse, RunDetails
from taaxdog_datamig.ledger import Ledger

if TYPE_CHECKING:
    import asyncpg

    from taaxdog_datamig.pg.database import Database

#: Points of a timeline at the most.
POINTS = 120


async def details(db: Database, ref: str) -> RunDetails:
    """A run with its report, if it has ended well, and its timeline.

    Raises:
        UnknownName: there is no such run, or several.
    """
    record = await control.find(db, ref)
    work = Ledger.of().work
    async with db.acquire() as connection:
        points = await work.timeline(connection, record["id"], POINTS)
        listed = await work.quarantine_by_code(connection, record["id"])
    # Pauses and waits are points without chunks.
    filled = {point["point"]: point for point in points}
    width = float(points[0]["width"]) if points else 0.0
    timeline = tuple(
        _pulse(filled.get(place), round(place * width, 3), round(width, 3))
        for place in range(max(filled, default=-1) + 1)
    )
    return RunDetails(
        run=control.described(record),
        report=orjson.loads(record["report"]) if record["report"] else None,
        timeline=timeline,
        listed={row["code"]: row["rows"] for row in listed},
    )


def _pulse(point: asyncpg.Record | None, second: float, seconds: float) -> Pulse:
    if point is None:
        return Pulse(second=second, seconds=seconds, rows=0, chunks=0, hot=0, slowest=0.0)
    return Pulse(
        second=second,
        seconds=seconds,
        rows=point["rows"],
        chunks=point["chunks"],
        hot=point["hot"],
        slowest=point["slowest"],
    )

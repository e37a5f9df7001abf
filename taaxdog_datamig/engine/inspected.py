"""What an earlier run has looked at, and nobody has written since: the next one leaves it out.

A version of a row is known by the transaction that wrote it, its `xmin`. A run that succeeded and refused no
row has seen each version from before its horizon, and has made those of its own chunks, whose entries in the
ledger have the same `xmin`: none of them is pending, or wrong. Validation still reads every row.
Transaction ids wrap around after 2^32: no horizon older than 2^30 is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.ledger import Ledger, installed_version
from taaxdog_datamig.planning import WINDOW_BLOCKS, Window, windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.migration import Target
    from taaxdog_datamig.pg.catalog import Leaf


@attrs.frozen
class Seen:
    """Versions of rows that an earlier run has seen, or made: by the transactions that wrote them."""

    #: Those before it, and some others. 32 bits each, as in `xmin`.
    horizon: int
    own: Sequence[int]


async def recall(
    job: Job, connection: PoolConnectionProxy[Any], heaps: Sequence[tuple[int, Leaf]], *, alone: bool
) -> None:
    """Have the job know what was seen of heaps, each given with its target's number.

    Args:
        job: the run.
        connection: any.
        heaps: with the numbers of their targets.
        alone: whether no trigger or rule writes further rows when those of the heaps change. It may have
            written them in the earlier run's transactions.
    """
    work = job.ledger.work
    if job.dry_run:  # its own ledger knows of no other run
        if not await installed_version(connection):
            return
        work = Ledger.of().work
    asked = [(heap.oid, job.judges[number]) for number, heap in heaps]
    found = await work.inspections(connection, asked)
    for number, heap in heaps:
        if (known := found.get((heap.oid, job.judges[number]))) is not None:
            horizon, own = known
            job.seen[number, heap.relation] = Seen(horizon, own if alone else [])


def unless_seen(condition: str, target: Target, seen: Seen | None, first: int) -> tuple[str, list[Any]]:
    """SQL, true of rows that a condition finds and no earlier run has seen, and its arguments.

    Args:
        condition: SQL over the row `t`.
        target: whose; where it is not `settled`, what was seen does not count.
        seen: by an earlier run, if there is one.
        first: number of the first argument.
    """
    if seen is None or not target.settled:
        return condition, []
    # The age of 2 ("frozen"), which some tools write into rows, is the largest there is: it says nothing.
    known = (
        f"age(t.xmin) > age(${first}::xid) AND age(t.xmin) < {2**31 - 1}"
        f" OR t.xmin = ANY (${first + 1}::xid[])"
    )
    # CASE, since the look at the version is the cheap one: it needs none of the row's columns.
    return f"CASE WHEN {known} THEN false ELSE {condition} END", [seen.horizon, seen.own]


async def wanted(
    job: Job, connection: PoolConnectionProxy[Any], number: int, heap: Leaf
) -> tuple[list[Window], list[Window]]:
    """The windows of a heap that are to be inspected, and those that may hold pending rows.

    All of them, but where an earlier run was through: most of the heap will be as it left it. It is read
    once then, by one statement, to leave out windows without a row for us. What the application writes
    meanwhile is for the closing sweeps, as everywhere. Other targets may write what a lookup sees.
    """
    target, seen = job.targets[number], job.seen.get((number, heap.relation))
    everything = list(windows(heap.relation, heap.pages))
    inspected = [] if target.inspect is None else everything
    if seen is None or target.lookups:
        return inspected, everything
    doubtful = target.inspect if target.settled and target.inspect is not None else "false"
    found, arguments = unless_seen(f"({target.pending}) OR ({doubtful})", target, seen, 1)
    # Only rows that are found have their window worked out, from the text of their address.
    rows = await connection.fetch(
        f"SELECT (t.ctid::text::point)[0]::bigint / {WINDOW_BLOCKS} AS number,"
        f" bool_or({target.pending}) AS pending, bool_or(({target.pending}) IS NOT TRUE) AS doubtful"
        f" FROM ONLY {heap.relation} AS t WHERE {found} GROUP BY 1",
        *arguments,
    )
    pending, doubts = ({row["number"] for row in rows if row[name]} for name in ("pending", "doubtful"))

    def among(numbers: set[int]) -> list[Window]:
        return [window for window in everything if window.start // WINDOW_BLOCKS in numbers]

    return among(doubts) if target.settled else inspected, among(pending)

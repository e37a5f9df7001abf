"""Reads a window's rows, in parts that fit in memory, and has the migration judge each row."""

from __future__ import annotations

import inspect
import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Item, Mode, persistently
from taaxdog_datamig.errors import RunError
from taaxdog_datamig.ledger import Refusal, outside_quarantine
from taaxdog_datamig.migration import Leave, Reject, Row, Skip, Target
from taaxdog_datamig.pg.rows import to_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from taaxdog_datamig.engine.apply import Texts
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration import Outcome
    from taaxdog_datamig.planning import ReadSize, Window

Tid = tuple[int, int]
#: Rows of a slow transform that are read at once, for each core.
SLOW_ROWS = 32


def cores() -> int:
    """Processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@attrs.define
class Batch:
    """Rows read at once, judged."""

    items: list[Item] = attrs.field(factory=list)
    #: Where each item lies in the heap: block and line pointer.
    tids: list[Tid] = attrs.field(factory=list)
    refusals: list[Refusal] = attrs.field(factory=list)
    skipped: int = 0


async def batches(job: Job, target: int, window: Window, sweep: int, size: ReadSize) -> AsyncIterator[Batch]:
    """The pending rows of a window, in heap order.

    Sweep 0 takes the rows that the migration wants inspected instead; closing sweeps leave out what is in
    quarantine. Each part is a statement of its own: no snapshot outlives it (promise P9).
    """
    chosen = job.targets[target]
    condition, extra = _condition(job, chosen, window, sweep)
    query = chosen.shape.at(window.relation).window_sql(condition, chosen.lookups.values())
    after, before = (window.start, 0), (window.end, 0)
    while True:
        # What took long to work out is committed soon.
        limit = min(size.rows, SLOW_ROWS * cores()) if chosen.slow else size.rows
        records: Sequence[asyncpg.Record] = ()

        async def read(_: Mode, after: Tid = after, limit: int = limit) -> None:
            nonlocal records
            # Not the ledger's session: in a dry run its temporary tables would hide the application's.
            async with job.db.acquire() as connection:
                records = await connection.fetch(query, after, before, limit, *extra)

        await persistently(job, f"reading {window.relation}", read, skip=False)
        failpoints.hit("after-read")
        if records and chosen.slow:
            yield await anyio.to_thread.run_sync(judge, chosen, records, size)
        elif records:
            yield judge(chosen, records, size)
            after = records[-1]["tid"]
        if len(records) < limit:
            return


def _condition(job: Job, target: Target, window: Window, sweep: int) -> tuple[str, list[Any]]:
    if sweep == 0:
        return f"({target.inspect}) AND ({target.pending}) IS NOT TRUE", []
    if sweep == 1:
        return target.pending, []
    free = outside_quarantine(target.shape, job.ledger.schema, "$4", "$5")
    return f"({target.pending}) AND {free}", [job.run_id, window.relation]


def judge(target: Target, records: Sequence[asyncpg.Record], size: ReadSize | None = None) -> Batch:
    """Have the migration decide about each row."""
    batch = decide(target, records)
    if size is not None:
        first = 1 + len(target.shape.key)
        last = first + len(target.shape.columns)
        read = sum(len(text) for record in records for text in record[first:last] if text)
        size.learn(len(records), read)
    failpoints.hit("after-transform")
    return batch


def decide(target: Target, records: Sequence[asyncpg.Record]) -> Batch:
    """What the migration says of each row, for a run or a plan."""
    batch = Batch()
    keys = len(target.shape.key)
    width = len(target.shape.columns)
    outcomes = ask(target, [row_of(target, record) for record in records])
    for record, outcome in zip(records, outcomes, strict=True):
        key: Key = record[1 : 1 + keys]
        old: Texts = record[1 + keys : 1 + keys + width]
        new = _decided(target, key, old, outcome)
        if isinstance(new, Refusal):
            batch.refusals.append(new)
        elif new is not None and new.new == old and new.left is not None:
            batch.refusals.append(new.left)
        elif new is None or new.new == old:
            batch.skipped += 1
        else:
            batch.items.append(new)
            batch.tids.append(record[0])
    return batch


def row_of(target: Target, record: asyncpg.Record) -> Row:
    """A record of a window as the transform sees it."""
    shape = target.shape
    key: Key = record[1 : 1 + len(shape.key)]
    old: Texts = record[1 + len(key) : 1 + len(key) + len(shape.columns)]
    values = {
        field.name: old[i] if field.textual else record[f"n{i}"] for i, field in enumerate(shape.columns)
    }
    return Row(key, values | {name: record[f"e{i}"] for i, name in enumerate(target.lookups)})


def ask(target: Target, rows: Sequence[Row]) -> list[Outcome | Exception]:
    """What the transform says of each row; what it raises concerns that row only."""

    def one(row: Row) -> Outcome | Exception:
        try:
            return target.transform(row)
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises
            return error

    if not target.slow:
        return [one(row) for row in rows]
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, rows))


def _decided(target: Target, key: Key, old: Texts, outcome: Outcome | Exception) -> Item | Refusal | None:
    """The row with its new texts, or why it is refused or left, or None where it needs nothing."""
    if isinstance(outcome, Exception):
        return _raised(key, outcome)
    if isinstance(outcome, Skip):
        return None
    if isinstance(outcome, Leave | Reject):
        return _listed(key, outcome)
    names = {field.name for field in target.shape.columns}
    if unknown := outcome.keys() - names:
        # A name of the table's own may be told; anything else may be a value in the place of a name.
        named = sorted(unknown & target.table.relation.columns.keys())
        raise RunError(
            f"the transform changes {named[0] if named else 'something'}, which is not among the migration's "
            "columns",
            f"Its columns are {', '.join(field.name for field in target.shape.columns)}",
        )
    try:
        new = tuple(
            to_text(outcome[field.name], field.type) if field.name in outcome else old[i]
            for i, field in enumerate(target.shape.columns)
        )
    except Exception as error:  # noqa: BLE001 - a value that has no text form
        return _raised(key, error)
    return Item(key, old, new, outcome.reason, _listed(key, outcome.left) if outcome.left else None)


def _listed(key: Key, outcome: Leave | Reject) -> Refusal:
    left = isinstance(outcome, Leave)
    return Refusal(key=key, code=outcome.code, reason=outcome.reason, left=left)


def _raised(key: Key, error: Exception) -> Refusal:
    return Refusal(key=key, code="transform-error", reason=f"the transform raised {place(error)}")


def place(error: Exception) -> str:
    """Which error, raised where, for a message. Its message may quote the row and is left out."""
    frames = traceback.extract_tb(error.__traceback__)
    own = inspect.getfile(judge)
    last = next((frame for frame in reversed(frames) if frame.filename != own), frames[-1])
    name = last.filename.rpartition("/")[2]
    return f"{type(error).__name__} at {name}:{last.lineno}"

"""Reads a window's rows, in parts that fit in memory, and has the migration judge each row."""

from __future__ import annotations

import inspect
import os
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.lowlevel
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Item, Mode, persistently
from taaxdog_datamig.engine.inspected import unless_seen
from taaxdog_datamig.errors import RunError
from taaxdog_datamig.ledger import Refusal, outside_quarantine
from taaxdog_datamig.migration import Changes, Leave, Reject, Row, Skip, Target
from taaxdog_datamig.pg.rows import to_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    import asyncpg

    from taaxdog_datamig.engine.apply import Texts
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration import Outcome
    from taaxdog_datamig.planning import ReadSize, Window

Tid = tuple[int, int]
#: Rows of a slow transform that are read at once, for each core, before it is known how long it takes.
SLOW_ROWS = 32
#: Time that the transforms of one read should take, seconds: what a kill loses, and what a pause waits for.
#: At the end of each, cores wait for the last hash and for the commit: shorter ones wait more often.
SLOW_SECONDS = 8.0
#: Rows of a fast transform between which other tasks have their turn: some hundred microseconds.
_SLICE = 128
#: Rows of a read whose size is looked at.
_SIZED = 500
#: Most by which a read grows over the one before it.
_GROWTH = 4


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

    def add(self, other: Batch) -> None:
        """Take in what was read behind it."""
        self.items += other.items
        self.tids += other.tids
        self.refusals += other.refusals
        self.skipped += other.skipped


async def batches(job: Job, target: int, window: Window, sweep: int, size: ReadSize) -> AsyncIterator[Batch]:
    """The pending rows of a window, in heap order.

    Sweep 0 takes the rows that the migration wants inspected instead; closing sweeps leave out what is in
    quarantine. Each part is a statement of its own: no snapshot outlives it (promise P9).
    """
    chosen = job.targets[target]
    condition, extra = _condition(job, target, window, sweep)
    query = chosen.shape.at(window.relation).window_sql(condition, chosen.lookups.values())
    after, before = (window.start, 0), (window.end, 0)
    soon = SLOW_ROWS * cores()
    while True:
        # What took long to work out is committed soon.
        limit = min(size.rows, soon) if chosen.slow else size.rows
        records: Sequence[asyncpg.Record] = ()

        async def read(_: Mode, after: Tid = after, limit: int = limit) -> None:
            nonlocal records
            # Not the ledger's session: in a dry run its temporary tables would hide the application's.
            async with job.db.acquire() as connection:
                records = await connection.fetch(query, after, before, limit, *extra)

        await persistently(job, f"reading {window.relation}", read, skip=False)
        failpoints.hit("after-read")
        if records:
            if chosen.slow:
                began = time.monotonic()
                batch = await anyio.to_thread.run_sync(judge, chosen, records, size)
                soon = _soon(limit, len(records), time.monotonic() - began)
                yield batch
            else:
                yield await _judge_in_slices(chosen, records, size)
            after = records[-1]["tid"]
        if len(records) < limit:
            return


def _soon(limit: int, rows: int, seconds: float) -> int:
    """How many rows of a slow transform to read at once, after so many took so long."""
    return max(cores(), round(min(_GROWTH * limit, SLOW_SECONDS * rows / max(seconds, 1e-6))))


def _condition(job: Job, number: int, window: Window, sweep: int) -> tuple[str, list[Any]]:
    target = job.targets[number]
    if sweep == 0:
        condition = f"({target.inspect}) AND ({target.pending}) IS NOT TRUE"
        return unless_seen(condition, target, job.seen.get((number, window.relation)), 4)
    if sweep == 1:
        return target.pending, []
    free = outside_quarantine(target.shape, job.ledger.schema, "$4", "$5")
    return f"({target.pending}) AND {free}", [job.run_id, window.relation]


async def _judge_in_slices(target: Target, records: Sequence[asyncpg.Record], size: ReadSize) -> Batch:
    """As `judge`, while the server's answers are heard in between."""
    batch = Batch()
    for start in range(0, len(records), _SLICE):
        batch.add(decide(target, records[start : start + _SLICE]))
        await anyio.lowlevel.checkpoint()
    _learn(target, records, size)
    failpoints.hit("after-transform")
    return batch


def judge(target: Target, records: Sequence[asyncpg.Record], size: ReadSize | None = None) -> Batch:
    """Have the migration decide about each row."""
    batch = decide(target, records)
    if size is not None:
        _learn(target, records, size)
    failpoints.hit("after-transform")
    return batch


def _learn(target: Target, records: Sequence[asyncpg.Record], size: ReadSize) -> None:
    first = 1 + len(target.shape.key)
    last = first + len(target.shape.columns)
    some = records[:: max(1, len(records) // _SIZED)]
    size.learn(len(some), sum(sum(map(len, filter(None, record[first:last]))) for record in some))


def decide(target: Target, records: Sequence[asyncpg.Record]) -> Batch:
    """What the migration says of each row, for a run or a plan."""
    batch = Batch()
    decided = _Decided(target)
    for record, (key, old, outcome) in zip(records, ask(target, records), strict=True):
        new = decided.of(key, old, outcome)
        if isinstance(new, Item):
            if new.new != old:
                batch.items.append(new)
                batch.tids.append(record[0])
            elif new.left is not None:
                batch.refusals.append(new.left)
            else:
                batch.skipped += 1
        elif new is None:
            batch.skipped += 1
        else:
            batch.refusals.append(new)
    return batch


#: A row's key and its columns' text, and what the transform says of it or raised.
Answer: TypeAlias = "tuple[Key, Texts, Outcome | Exception]"


def ask(target: Target, records: Sequence[asyncpg.Record]) -> Iterable[Answer]:
    """What the transform says of each row; what it raises concerns that row only.

    One that is not slow is asked when its answer is looked at: rows that live for a moment only are no work
    for the garbage collector.
    """
    shape, transform = target.shape, target.transform
    first = 1 + len(shape.key)
    last = first + len(shape.columns)
    names = [field.name for field in shape.columns]
    # By position, behind the columns' texts: the native values, then the lookups.
    others = [field.name for field in shape.columns if not field.textual] + list(target.lookups)

    def one(record: asyncpg.Record) -> Answer:
        key: Key = record[1:first]
        old: Texts = record[first:last]
        values: dict[str, Any] = dict(zip(names, old))  # noqa: B905 - for each row
        if others:
            values.update(zip(others, record[last:], strict=True))
        try:
            return key, old, transform(Row(key, values))
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises
            return key, old, error

    if not target.slow:
        return map(one, records)
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(one, records))


class _Decided:
    """Makes changed rows out of outcomes."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._places = {field.name: (i, field.type) for i, field in enumerate(target.shape.columns)}

    def of(self, key: Key, old: Texts, outcome: Outcome | Exception) -> Item | Refusal | None:
        """The row with its new texts, or why it is refused or left, or None where it needs nothing."""
        if isinstance(outcome, Changes):
            return self._changed(key, old, outcome)
        if isinstance(outcome, Skip):
            return None
        if isinstance(outcome, Leave | Reject):
            return _listed(key, outcome)
        if isinstance(outcome, Exception):
            return _raised(key, outcome)
        raise RunError(
            f"the transform returned {type(outcome).__name__}", "It returns Changes, Skip, Leave or Reject"
        )

    def _changed(self, key: Key, old: Texts, outcome: Changes) -> Item | Refusal:
        new = list(old)
        for name, value in outcome.items():
            if (place := self._places.get(name)) is None:
                raise self._unknown(outcome)
            if value.__class__ is str:
                new[place[0]] = value
                continue
            try:
                new[place[0]] = to_text(value, place[1])
            except Exception as error:  # noqa: BLE001 - a value that has no text form
                return _raised(key, error)
        left = None if outcome.left is None else _listed(key, outcome.left)
        return Item(key, old, tuple(new), outcome.reason, left)

    def _unknown(self, outcome: Changes) -> RunError:
        # A name of the table's own may be told; anything else may be a value in the place of a name.
        named = sorted((outcome.keys() - self._places) & self._target.table.relation.columns.keys())
        return RunError(
            f"the transform changes {named[0] if named else 'something'}, which is not among the migration's "
            "columns",
            f"Its columns are {', '.join(self._places)}",
        )


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

"""Compare-and-set of a chunk's rows inside an open transaction, and trying again when it goes wrong."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import attrs

from taaxdog_datamig.errors import DatabaseUnavailable, ServerRefused
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, Backoff, Fault, classify, describe, refused, sqlstate
from taaxdog_datamig.pg.rows import Shape, array, transposed
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Key, Refusal

#: Tries of a chunk that meets other people's locks before it steps around the locked rows.
_POLITE_TRIES = 2
#: Tries of a chunk that collides (deadlock, serialization, cancelled statement) before we give up.
_TRIES = 12

Texts = tuple[str | None, ...]
T = TypeVar("T")
#: A turn that is always ours.
_ANY_TIME = contextlib.nullcontext()


@attrs.define  # frozen ones take twice as long to make, and there is one for each row
class Item:
    """A row to be changed: its key, and its columns' text before and after. Never shown, never altered."""

    key: Key
    old: Texts = attrs.field(repr=False)
    new: Texts = attrs.field(repr=False)
    #: What the decision rests on, see `Changes.because`.
    reason: str = ""
    #: What the row is listed with once it is changed, see `Changes.leaving`.
    left: Refusal | None = None


@attrs.frozen(kw_only=True)
class Mode:
    """How carefully a chunk is tried."""

    #: Step around rows that others have locked.
    skip_locked: bool = False
    #: Find the rows that the server refuses, and leave them out.
    bisect: bool = False
    #: A transaction was lost on the way: it may have been committed.
    uncertain: bool = False


@attrs.define
class Applied:
    """What became of the rows, by position."""

    #: The columns' text as stored.
    stored: dict[int, Texts] = attrs.field(factory=dict, repr=False)
    #: Whether what is stored is what was sent.
    as_sent: bool = True
    #: Why the server refused a row; names the constraint, never the value.
    refused: dict[int, tuple[str, str]] = attrs.field(factory=dict)


def statement_timeout(chunk_seconds: float) -> float:
    """How long a statement of a chunk may take before it counts as stuck, seconds."""
    return max(5.0, 10 * chunk_seconds)


def session_sql(settings_lock_timeout: float, chunk_seconds: float) -> str:
    """What holds for a chunk's transaction; see `open_chunk` in the ledger, which says the same and why."""
    return (
        f"SET LOCAL lock_timeout = '{settings_lock_timeout * 1000:.0f}ms';"
        f"SET LOCAL statement_timeout = '{statement_timeout(chunk_seconds) * 1000:.0f}ms';"
        "SET LOCAL synchronous_commit = off;"
        "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off;"
        "SET LOCAL enable_bitmapscan = off"
    )


async def apply(
    connection: PoolConnectionProxy[Any],
    shape: Shape,
    items: Sequence[Item],
    mode: Mode,
    turn: AbstractAsyncContextManager[object] = _ANY_TIME,
) -> Applied:
    """Change the rows that still hold what was read; the caller's transaction decides.

    `turn` is entered for the time that the server is at work.
    """
    applied = Applied()
    positions = list(range(len(items)))
    if mode.skip_locked and items:
        keys = transposed([item.key for item in items], len(shape.key))
        free = await connection.fetch(shape.lock_sql(), *keys)
        positions = sorted(row["ord"] - 1 for row in free)
    if mode.bisect:
        await _bisect(connection, shape, items, positions, applied)
    else:
        await _update(connection, shape, items, positions, applied, turn)
    return applied


async def _update(
    connection: PoolConnectionProxy[Any],
    shape: Shape,
    items: Sequence[Item],
    positions: Sequence[int],
    applied: Applied,
    turn: AbstractAsyncContextManager[object] = _ANY_TIME,
) -> None:
    if not positions:
        return
    chosen = [items[position] for position in positions]
    arguments = [array([item.key[i] for item in chosen]) for i in range(len(shape.key))]
    for i in range(len(shape.columns)):
        arguments.append(array([item.old[i] for item in chosen]))
        arguments.append(array([item.new[i] for item in chosen]))
    query = shape.update_sql()
    async with turn:
        rows = await connection.fetch(query, *arguments)
    if len(rows) == len(chosen) and all(row[1] is None for row in rows):
        applied.stored.update(zip(positions, [item.new for item in chosen], strict=True))
        return
    for at, other in rows:
        applied.stored[positions[at - 1]] = chosen[at - 1].new if other is None else tuple(other)
        if other is not None:
            applied.as_sent = False


async def _bisect(
    connection: PoolConnectionProxy[Any],
    shape: Shape,
    items: Sequence[Item],
    positions: Sequence[int],
    applied: Applied,
) -> None:
    """Halve until the rows the server refuses stand alone. Savepoints keep what succeeded."""
    try:
        async with transaction(connection):
            await _update(connection, shape, items, positions, applied)
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        if classify(error) is not Fault.DATA:
            raise
        if len(positions) == 1:
            reason = describe(error) if isinstance(error, asyncpg.PostgresError) else "not encodable"
            applied.refused[positions[0]] = (f"refused-{sqlstate(error)}", f"the server refused it: {reason}")
            return
        middle = len(positions) // 2
        await _bisect(connection, shape, items, positions[:middle], applied)
        await _bisect(connection, shape, items, positions[middle:], applied)


async def steadily(job: Job, doing: str, work: Callable[[PoolConnectionProxy[Any]], Awaitable[T]]) -> T:
    """The result of `work`, which gets a connection, and is done again when that is lost: `persistently`."""
    result: list[T] = []

    async def once(_: Mode) -> None:
        async with job.connect() as connection:
            result[:] = [await work(connection)]

    await persistently(job, doing, once, skip=False)
    return result[0]


async def persistently(job: Job, doing: str, work: Callable[[Mode], Awaitable[None]], *, skip: bool) -> None:
    """Do `work`, a whole transaction, until it succeeds or cannot.

    Args:
        job: gives patience, and hears why we wait.
        doing: what `work` does, for messages.
        work: gets the mode to work in; must be safe to do again.
        skip: whether rows locked by others may be left for later.

    Raises:
        DatabaseUnavailable: the server was away for longer than `outage_patience`.
        ServerRefused: an error that trying again does not change.
    """
    mode = Mode()
    collisions = 0
    gone_since: float | None = None
    delays = Backoff().delays()
    while True:
        try:
            await work(mode)
        except DRIVER_ERRORS as error:
            fault = classify(error)
            if fault is Fault.DATA and not mode.bisect:
                mode = attrs.evolve(mode, bisect=True)
                continue
            if fault in {Fault.DATA, Fault.FATAL}:
                raise refused(error, doing) from None
            if fault is Fault.GONE:
                now = time.monotonic()
                gone_since = gone_since or now
                if now - gone_since > job.db.settings.outage_patience:
                    raise DatabaseUnavailable(
                        f"{doing}: the server has been away for {now - gone_since:.0f} s ({sqlstate(error)})",
                        "When it is back, start the same run again: it goes on where it stopped",
                    ) from None
                job.outages += 1
                mode = attrs.evolve(mode, uncertain=True)
                await job.wait("the connection to the server was lost", next(delays))
                continue
            collisions += 1
            if collisions > _TRIES:
                raise ServerRefused(
                    f"{doing}: gave up after {_TRIES} tries ({sqlstate(error)})",
                    "Other sessions hold the rows: see pg_stat_activity, then start the same run again",
                ) from None
            if skip and collisions >= _POLITE_TRIES:
                mode = attrs.evolve(mode, skip_locked=True)
            await job.wait("other sessions hold locks on the rows", next(delays))
        else:
            return

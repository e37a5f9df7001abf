"""Undo of a run from its before-images: chunk by chunk, newest first, exactly once, never over the app.

Needs no migration code: shapes, definitions and images are in the ledger.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.to_thread
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Mode, persistently, session_sql, statement_timeout, steadily
from taaxdog_datamig.engine.collecting import rare_collections
from taaxdog_datamig.engine.gate import Seats
from taaxdog_datamig.engine.images import Updated, context_of, open_image
from taaxdog_datamig.engine.keeping import instead
from taaxdog_datamig.engine.lane import lane
from taaxdog_datamig.engine.takeback import holding, take_back
from taaxdog_datamig.errors import LeaseLost, RefusedError
from taaxdog_datamig.events import ChunkDone, Warned
from taaxdog_datamig.pg.ddl import alter
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.transactions import Undone, transaction
from taaxdog_datamig.planning import WRITERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import asyncpg
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Item
    from taaxdog_datamig.engine.images import Effect
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.lane import Lane
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration import Ddl
    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.pg.rows import Shape

_NEWEST = 2**63 - 1

#: A way back for the rows of a run: `restore_chunks`, or the migration's own code.
Restore: TypeAlias = "Callable[..., Awaitable[Restored]]"


@attrs.frozen
class Kept:
    """A row that a rollback left alone."""

    shape: Shape
    key: Key


@attrs.define
class Restored:
    """What a rollback has done so far."""

    rows: int = 0
    kept: int = 0
    chunks: int = 0
    warnings: list[str] = attrs.field(factory=list)
    #: Keys of rows left alone, by table; in a dry run only (a live one has them in the ledger).
    keys: dict[str, list[str]] = attrs.field(factory=dict)


async def restore_chunks(job: Job, *, dry_run: bool) -> Restored:
    """Give every changed row its old values back, where it still holds what the run wrote.

    Chunks are taken newest first, by as many workers as the run had, a single one over two connections: what
    a newer chunk has written is given back before an older one looks at the row.

    Raises:
        LeaseLost, ServerRefused, DatabaseUnavailable: the rollback can be continued.
        RefusedError: a chunk's before-image was purged.
    """
    failpoints.hit("rollback-begin")
    return await Rollback(job, dry_run=dry_run).all_chunks()


@attrs.define(eq=False)
class _Chunk:
    """A chunk that is being taken back."""

    record: asyncpg.Record
    effects: Sequence[Effect]
    #: Newer ones that were not committed when this one was read.
    newer: tuple[_Chunk, ...]
    #: Rows that still hold what the run wrote; None: not asked yet.
    ready: list[Item] | None = attrs.field(default=None, repr=False)
    keys: frozenset[Key] = frozenset()
    committed: anyio.Event = attrs.field(factory=anyio.Event)

    @property
    def alone(self) -> Updated | None:
        """Its only effect, where other chunks may be taken back at the same time.

        Deleted rows need their parents first, which are among the newer ones; and of several effects each
        may rest on the one before.
        """
        (first, *more) = self.effects or (None,)
        return first if isinstance(first, Updated) and not more else None

    def meets(self, other: _Chunk) -> bool:
        """Whether both have changed a row of one table."""
        one, two = self.alone, other.alone
        if one is None or two is None:
            return True
        return one.shape.relation == two.shape.relation and not self.keys.isdisjoint(other.keys)


@attrs.define(eq=False)
class Rollback:
    """A rollback in this process: one task reads chunks and looks at their rows, others write."""

    job: Job
    dry_run: bool = attrs.field(kw_only=True)
    done: Restored = attrs.field(factory=Restored)
    #: What has been read and not been committed, newest first.
    _open: list[_Chunk] = attrs.field(factory=list)
    _foreign: dict[str, list[ForeignKey]] = attrs.field(factory=dict)

    async def all_chunks(self) -> Restored:
        """Take every chunk back."""
        outages: int | None = None
        while outages != self.job.outages:
            # A server that crashed has forgotten what it had not written to disk: once more from the top.
            outages = self.job.outages
            send, receive = anyio.create_memory_object_stream[_Chunk](0)
            with only_error(), rare_collections():
                async with anyio.create_task_group() as group:
                    seats = Seats(self.job.gate.workers)
                    # One alone would have the server wait while it commits, and for the next chunk.
                    for _ in range(max(WRITERS, self.job.workers)):
                        group.start_soon(self._write, receive.clone(), seats)
                    receive.close()
                    async with lane(self.job) as own:
                        await self._read(send, own)
        return self.done

    async def _read(self, chunks: MemoryObjectSendStream[_Chunk], own: Lane) -> None:
        before = _NEWEST
        async with chunks:
            while (record := await self._next(own, before)) is not None:
                before = record["id"]
                chunk = _Chunk(record, await self._effects(record), tuple(self._open))
                if (effect := chunk.alone) is not None:
                    chunk.keys = frozenset(effect.keys)
                for newer in chunk.newer:
                    if chunk.meets(newer):
                        await newer.committed.wait()
                if effect is not None:
                    chunk.ready = await self._holding(own, effect)
                self._open.append(chunk)
                await chunks.send(chunk)

    async def _next(self, own: Lane, before: int) -> asyncpg.Record | None:
        job = self.job
        found: list[asyncpg.Record | None] = []

        async def find(_: Mode) -> None:
            async with own.connect() as connection:
                found[:] = [await job.ledger.work.next_to_restore(connection, job.run_id, before)]

        await persistently(job, "looking for the next chunk", find, skip=False)
        (record,) = found
        if record is not None and record["image"] is None:
            raise RefusedError(f"the before-images of run {job.run_id} are gone", instead(job.backup_id))
        return record

    async def _effects(self, record: asyncpg.Record) -> list[Effect]:
        context = context_of(self.job.run_id, record["target"])
        return await anyio.to_thread.run_sync(open_image, record["image"], self.job.sealer, context)

    async def _holding(self, own: Lane, effect: Updated) -> list[Item]:
        """Look at the rows ahead; whoever writes them compares again."""
        found: list[Item] = []

        async def look(_: Mode) -> None:
            async with own.connect() as connection:
                found[:] = await holding(connection, effect, self.job.data_key)

        await persistently(self.job, f"looking at rows of {effect.shape.relation}", look, skip=False)
        return found

    async def _begin(self, connection: PoolConnectionProxy[Any]) -> None:
        job, settings = self.job, self.job.db.settings
        if self.dry_run:  # the lease may be anybody's
            await connection.execute(session_sql(settings.lock_timeout, settings.chunk_seconds))
            return
        guard = await job.ledger.runs.open_chunk(
            connection,
            job.run_id,
            job.epoch,
            lock_timeout=settings.lock_timeout,
            statement_timeout=statement_timeout(settings.chunk_seconds),
        )
        if guard is None:
            raise LeaseLost(f"run {job.run_id} was taken over by another process")

    async def _write(self, chunks: MemoryObjectReceiveStream[_Chunk], seats: Seats) -> None:
        async with chunks, lane(self.job) as own:
            with seats.taken() as seat, contextlib.suppress(anyio.EndOfStream):
                while await seats.may_claim(seat):
                    chunk = await chunks.receive()
                    await self._restore(chunk, own)
                    self._open.remove(chunk)
                    chunk.committed.set()
                    # Else each would keep all that were committed before it.
                    chunk.newer, chunk.effects, chunk.ready = (), (), None
                    failpoints.hit("rollback-after-commit")
            seats.end()

    async def _restore(self, chunk: _Chunk, own: Lane) -> None:
        job, target = self.job, self.job.shapes[chunk.record["target"]]
        kept: list[Kept] = []
        ready = chunk.ready
        began = time.monotonic()

        async def once(mode: Mode) -> None:
            nonlocal ready
            kept.clear()
            if mode.bisect:
                # What the server refuses while a newer chunk has not given back its rows, it may take then.
                for newer in chunk.newer:
                    await newer.committed.wait()
            async with own.connect() as connection:
                try:
                    async with transaction(connection):
                        await self._begin(connection)
                        # Backwards: what was deleted last, such as a parent, must be there first.
                        for effect in reversed(chunk.effects):
                            first, ready = ready, None
                            # Not where the server refuses something: the keys may have changed.
                            known = None if mode.bisect else self._foreign
                            left = await take_back(connection, effect, job.data_key, mode, first, known)
                            kept.extend(Kept(effect.shape, key) for key in left)
                        if self.dry_run:
                            raise Undone  # noqa: TRY301 - the transaction must see it
                        await _record(job, connection, chunk.record, kept)
                        failpoints.hit("rollback-before-commit")
                except Undone:
                    pass

        await job.gate.turn(job)
        await persistently(job, f"restoring rows of {target.relation}", once, skip=False)
        restored = _restored(chunk.record["changed"], target, kept)
        self.done.rows += restored
        self.done.kept += len(kept)
        self.done.chunks += 1
        if self.dry_run:
            for row in kept:
                self.done.keys.setdefault(row.shape.table, []).append(", ".join(row.key))
        job.events.emit(
            ChunkDone(
                table=target.table,
                changed=restored,
                skipped=0,
                quarantined=0,
                conflicts=len(kept),
                seconds=time.monotonic() - began,
                next_size=0,
            )
        )


def _restored(changed: int, target: Shape, kept: Sequence[Kept]) -> int:
    """How many of the target's changed rows are as they were."""
    return max(0, changed - sum(row.shape.table == target.table for row in kept))


async def _record(
    job: Job, connection: PoolConnectionProxy[Any], chunk: asyncpg.Record, kept: Sequence[Kept]
) -> None:
    target = job.shapes[chunk["target"]]
    restored = _restored(chunk["changed"], target, kept)
    # After a lost acknowledgement the chunk may be done already: its counts are right then, and the
    # statements above have found every row different from what the run wrote.
    told = {"table": target.table, "chunk": chunk["id"], "restored": restored, "kept": len(kept)}
    if not await job.ledger.work.restored(connection, chunk["id"], restored, len(kept), told):
        return
    for (relation, table), rows in _by_table(kept).items():
        await job.ledger.work.add_conflicts(connection, job.run_id, relation, table, rows)


def _by_table(kept: Sequence[Kept]) -> dict[tuple[str, str], list[Key]]:
    found: dict[tuple[str, str], list[Key]] = {}
    for row in kept:
        found.setdefault((row.shape.relation, row.shape.table), []).append(row.key)
    return found


async def restore_definitions(job: Job, ddl: Sequence[Ddl], done: Restored) -> None:
    """Change the definitions back, where the rows that were left alone still fit."""
    failpoints.hit("rollback-before-ddl")
    for change in reversed(ddl):

        async def undo(connection: PoolConnectionProxy[Any], statement: str = change.undo) -> bool:
            return await alter(connection, [statement], job.db.settings, job.events)

        if not await steadily(job, "changing a definition back", undo):
            warning = (
                f"rows that were left alone do not fit the old definition, which stays widened: {change.undo}"
            )
            done.warnings.append(warning)
            job.events.emit(Warned(message=warning))

    async def mark(connection: PoolConnectionProxy[Any]) -> None:
        await job.ledger.runs.set_ddl_done(connection, job.run_id, done=False)

    await steadily(job, "recording the definitions", mark)

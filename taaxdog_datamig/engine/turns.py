"""A worker: reads ahead and changes rows meanwhile, of a few parts of windows in turn.

Two writers share what it reads: while the server changes rows of one, the other commits, and prepares its
next chunk. The statements of a single worker may overlap, or the server would wait a fifth of the time until
we see that it is through. Of several workers each has one at work: others fill its gaps, and pages need rest.

Each page rests between two waves over it, while the worker changes rows of other parts: only once every
transaction that was open at a wave's commit has ended, those of other workers and of reads included, can the
next wave use the room that it has left.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.lane import lane
from taaxdog_datamig.engine.reader import batches
from taaxdog_datamig.engine.writer import ChunkWriter
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.planning import PARTS_ALONE, PARTS_IN_TURN, WRITERS, chunks, waves

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.lane import Lane
    from taaxdog_datamig.engine.reader import Batch
    from taaxdog_datamig.ledger import Claim
    from taaxdog_datamig.planning import ReadSize

#: Windows claimed at once where those before had nothing to be done: a finished table costs its reading.
_CLAIMED = 16


@attrs.define(eq=False)
class _Window:
    """A window at work."""

    claim: Claim
    #: Of the job when reading began. A server that crashed since has lost chunks that it had not written to
    #: disk yet, and with them what only this sweep would find: rows to be refused.
    outages: int
    skipped: int = 0
    #: Parts that are not written yet.
    open: int = 0
    read: bool = False


@attrs.define(eq=False)
class _Part:
    """Rows that were read at once, and the waves of them that are still to be written."""

    window: _Window
    batch: Batch
    waves: deque[list[int]]
    written: anyio.Event = attrs.field(factory=anyio.Event)

    async def write(self, writer: ChunkWriter) -> None:
        """Change the next rows."""
        rows: Sequence[int] = ()
        if self.waves:
            # The chunk size may have changed since the last one.
            rows = next(iter(chunks(self.waves[0], writer.job.size.rows)))
            if len(rows) == len(self.waves[0]):
                self.waves.popleft()
            else:
                self.waves[0] = self.waves[0][len(rows) :]
        refusals, self.batch.refusals = self.batch.refusals, []
        await writer.write(self.window.claim.window.relation, [self.batch.items[i] for i in rows], refusals)


@attrs.define(eq=False)
class Worker:
    """Works on windows until none is left."""

    job: Job
    sweep: int
    sizes: Mapping[int, ReadSize]
    #: Works on a window by other means: one whose rows are deleted or merged.
    otherwise: Callable[[Claim], Awaitable[None]]
    #: Waits until this worker may claim; False when no window is left.
    may_claim: Callable[[], Awaitable[bool]]
    #: Claims windows of targets with a lower number than this.
    below: int
    _done: list[tuple[Claim, int]] = attrs.field(factory=list)

    async def work(self) -> None:
        """Until the sweep has no window to claim."""
        send, receive = anyio.create_memory_object_stream[_Part](0)
        with only_error():
            async with anyio.create_task_group() as group:
                group.start_soon(self._read, send)
                statement = anyio.Semaphore(max(1, WRITERS // self.job.workers))
                for _ in range(WRITERS):
                    group.start_soon(self._write, receive.clone(), statement)
                receive.close()
        await self._record()

    async def _read(self, parts: MemoryObjectSendStream[_Part]) -> None:
        count = 1
        async with parts:
            while await self.may_claim() and (claims := await self._claim(count)):
                failpoints.hit("after-claim")
                empty = [await self._read_window(claim, parts) for claim in claims]
                count = min(2 * count, _CLAIMED) if all(empty) else 1

    async def _read_window(self, claim: Claim, parts: MemoryObjectSendStream[_Part]) -> bool:
        """Hand the parts of a window over; returns whether there was nothing to be done in it."""
        target = self.job.targets[claim.target]
        if target.action != "update":
            await self.otherwise(claim)
            return False
        window, empty = _Window(claim, self.job.outages), True
        async for batch in batches(
            self.job, claim.target, claim.window, self.sweep, self.sizes[claim.target]
        ):
            window.skipped += batch.skipped
            self.job.count(claim.target).skipped += batch.skipped
            if not (batch.items or batch.refusals):
                continue
            empty = False
            window.open += 1
            part = _Part(window, batch, deque(waves(batch.tids)))
            await parts.send(part)
            if target.slow:
                # What is worked out ahead is lost with a kill, and a pause waits for it.
                await part.written.wait()
        window.read = True
        self._finish(window)
        return empty

    async def _write(self, parts: MemoryObjectReceiveStream[_Part], statement: anyio.Semaphore) -> None:
        async with parts, lane(self.job, statement) as own:
            await self._write_in_turn(parts, own)

    async def _write_in_turn(self, parts: MemoryObjectReceiveStream[_Part], own: Lane) -> None:
        turn: deque[_Part] = deque()
        most = PARTS_ALONE if self.job.workers == 1 else PARTS_IN_TURN
        writers: dict[int, ChunkWriter] = {}
        while True:
            while len(turn) < most:
                try:
                    turn.append(parts.receive_nowait() if turn else await parts.receive())
                except anyio.WouldBlock:
                    break
                except anyio.EndOfStream:
                    if not turn:
                        return
                    break
            part = turn.popleft()
            number = part.window.claim.target
            if number not in writers:
                writers[number] = ChunkWriter(job=self.job, target=number, sweep=self.sweep, lane=own)
            await part.write(writers[number])
            if part.waves:
                turn.append(part)
                continue
            part.written.set()
            part.window.open -= 1
            self._finish(part.window)

    def _finish(self, window: _Window) -> None:
        if window.read and not window.open:
            failpoints.hit("after-window")
            # One that is not recorded is claimed again at the end of the sweep.
            if window.outages == self.job.outages:
                self._done.append((window.claim, window.skipped))

    async def _claim(self, count: int) -> list[Claim]:
        await self._record()

        async def claim(connection: PoolConnectionProxy[Any]) -> list[Claim]:
            return await self.job.ledger.work.claim(
                connection, self.job.run_id, self.sweep, self.job.epoch, count, below=self.below
            )

        return await steadily(self.job, "claiming a window", claim)

    async def _record(self) -> None:
        if not self._done:
            return
        done, self._done = self._done, []

        async def record(connection: PoolConnectionProxy[Any]) -> None:
            await self.job.ledger.work.windows_done(
                connection, self.job.run_id, self.sweep, self.job.epoch, done
            )

        await steadily(self.job, "recording windows", record)

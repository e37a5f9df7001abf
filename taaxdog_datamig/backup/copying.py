"""Rows into parts: several connections read them, threads compress and seal them.

The processor is what limits it, so it matters how often something is copied or handed over: rows are gathered
as the driver gives them, and joined once, on the thread.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import attrs
from anyio import from_thread, to_thread

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup.contents import hold
from taaxdog_datamig.backup.parts import keep_memory, part_writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from anyio.abc import ObjectReceiveStream, ObjectSendStream
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.contents import Source
    from taaxdog_datamig.backup.parts import Part, PartWriter
    from taaxdog_datamig.backup.stores import Store
    from taaxdog_datamig.pg.snapshot import Snapshot

#: The parts of every table, by its oid and their number.
Parts: TypeAlias = "dict[int, dict[int, Part]]"
#: What was read, or, at the end, how many rows that were.
_Batch: TypeAlias = "list[bytes] | int"

#: Bytes handed to the compressor's thread at a time, which become a frame.
_BATCH = 2 << 20
#: Batches that may wait for the compressor.
_WAITING = 3
#: Parts that each connection may leave behind to be finished, while it reads the next.
_FINISHING = 2


@attrs.frozen(kw_only=True)
class Writing:
    """Where parts go, and how."""

    store: Store
    backup: str
    key: bytes | None = attrs.field(repr=False)
    level: int

    def part(self, name: str) -> AbstractContextManager[PartWriter]:
        """Write a part; its name gets its last suffix here."""
        suffix = "" if self.key is None else ".sealed"
        return part_writer(self.store, self.backup, name + suffix, key=self.key, level=self.level)


@attrs.frozen(kw_only=True)
class _Piece:
    source: Source
    number: int
    query: str
    #: About how many bytes it reads.
    weight: int

    @property
    def name(self) -> str:
        """Of its part, without the last suffix."""
        return f"data/{self.source.oid}.{self.number:05}.{'copy' if self.source.binary else 'txt'}.zst"


@attrs.define(kw_only=True)
class Copying:
    """Tables that are read, all at one moment."""

    snapshot: Snapshot
    #: Locked on every connection.
    held: Sequence[Source]
    writing: Writing
    #: Is told of each part that is done: its table and rows.
    progress: Callable[[str, int], None]
    parts: Parts = attrs.field(factory=lambda: defaultdict(dict), init=False)

    async def run(self, sources: Sequence[Source], jobs: int) -> None:
        """Read them, so many pieces at a time.

        Raises:
            BackupError: a part cannot be written, or a table was rewritten meanwhile.
        """
        keep_memory()
        pieces = _pieces(sources)
        async with anyio.create_task_group() as group:
            for _ in range(min(jobs, len(pieces))):
                group.start_soon(self._work, pieces)

    async def _work(self, pieces: list[_Piece]) -> None:
        """Read pieces until none is left."""
        async with self.snapshot.share() as connection:
            # The other locks would not let it pass by somebody who waits for them to end, to alter a table.
            await hold(connection, self.held)
            # Until a part is safe in the store takes its time: the server need not wait.
            room = anyio.Semaphore(_FINISHING)
            async with anyio.create_task_group() as writers:
                while pieces:
                    piece = pieces.pop(0)
                    send, receive = anyio.create_memory_object_stream[_Batch](_WAITING)
                    writers.start_soon(self._write, piece, receive, room)
                    await _read(connection, piece, send)
                    await room.acquire()

    async def _write(
        self, piece: _Piece, batches: ObjectReceiveStream[_Batch], room: anyio.Semaphore
    ) -> None:
        # The store's work, too, happens on the thread: an upload takes its time to begin and to end.
        async with batches:
            part = await to_thread.run_sync(_written, self.writing, piece.name, batches)
        self.parts[piece.source.oid][piece.number] = part
        failpoints.hit("create-part")
        self.progress(piece.source.label, part.rows)
        room.release()


def _pieces(wanted: Sequence[Source]) -> list[_Piece]:
    """What there is to read, the largest first, so that all workers end at about the same time."""
    pieces = []
    for source in wanted:
        texts = list(source.queries())
        weight = source.bytes // len(texts)
        pieces += [
            _Piece(source=source, number=number, query=query, weight=weight)
            for number, query in enumerate(texts)
        ]
    return sorted(pieces, key=lambda piece: piece.weight, reverse=True)


async def _read(connection: PoolConnectionProxy[Any], piece: _Piece, send: ObjectSendStream[_Batch]) -> None:
    held: list[bytes] = []
    size = 0

    async def take(data: bytes) -> None:
        nonlocal held, size
        held.append(data)
        size += len(data)
        if size >= _BATCH:
            full, held, size = held, [], 0
            await send.send(full)

    # Closing it without the number of rows tells the writer that the copy failed.
    async with send:
        tag = await connection.copy_from_query(
            piece.query, output=take, format="binary" if piece.source.binary else "text"
        )
        if size:
            await send.send(held)
        await send.send(int(tag.rpartition(" ")[2]))


def _written(writing: Writing, name: str, batches: ObjectReceiveStream[_Batch]) -> Part:
    with writing.part(name) as writer:
        while not isinstance(batch := from_thread.run(batches.receive), int):
            writer.feed(b"".join(batch))
        return writer.finish(rows=batch)

"""What `up` and `down` of an imperative migration work with: numbered calls of `process_batch`.

Each process begins `up` (or `down`) anew; the ledger knows how far each call is, by its number.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.crypto import digest
from taaxdog_datamig.engine.apply import Mode, persistently, steadily
from taaxdog_datamig.engine.handling import READING_SECONDS, Batch, Done, chunk_sql, notes_context
from taaxdog_datamig.engine.keeping import instead
from taaxdog_datamig.errors import PlanDrift, RefusedError, RunError, UsageError
from taaxdog_datamig.events import Told
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.migration.imperative import Handle

_NEWEST = 2**63 - 1


@attrs.define(kw_only=True)
class Workspace:
    """Serves one `up` or `down` in this process."""

    job: Job
    code: type
    name: str
    way: Literal["up", "down"]
    dry_run: bool
    #: Batches of this way that the ledger has, as far as we know; -1 before we have looked.
    total: int = -1
    #: The last call that an earlier process has committed something of.
    latest: int = 0
    #: Rows that this process has changed.
    changed: int = 0
    #: Batches that this process has done.
    batches: int = 0
    #: What the handler at work has stored; None while none is.
    notes: list[bytes] | None = attrs.field(default=None, repr=False)
    _calls: int = 0
    _busy: bool = False

    async def process(
        self,
        items: str | Iterable[Any] | AsyncIterable[Any],
        handle: Handle[Any],
        arguments: Sequence[Any],
        batch_size: int | None,
    ) -> int:
        """Serve one call of `process_batch`."""
        if self._busy:
            raise UsageError("process_batch is at work already: one call of it at a time")
        if isinstance(items, set | frozenset):
            raise UsageError("process_batch was given a set, which has no order", "Give it sorted(...)")
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size={batch_size}: a batch has at least one item")
        self._busy = True
        self._calls += 1
        try:
            call = Call(
                workspace=self, number=self._calls if self.way == "up" else -self._calls, size=batch_size
            )
            await call.begin()
            if not isinstance(items, str):
                await call.given(items, handle)
            elif self.dry_run:
                await call.once_over(items, arguments, handle)
            else:
                await call.pending(items, arguments, handle)
        finally:
            self._busy = False
        return call.changed

    def keep(self, data: object) -> None:
        """Serve `store_rollback`."""
        if self.notes is None or self.way == "down":
            raise UsageError("store_rollback is for handlers of up() alone")
        try:
            self.notes.append(orjson.dumps(data))
        except TypeError:
            # Without orjson's words and without `from`: either might quote the value.
            raise UsageError(
                f"rollback data must be JSON values; {type(data).__name__} is none, or holds something else",
                "Store texts, numbers, booleans, None, and lists and dicts of them",
            ) from None

    async def kept(self) -> AsyncIterator[Any]:
        """Serve `rollback_data`."""
        if self.way == "up":
            raise UsageError("rollback_data is for down() alone")
        job, before = self.job, _NEWEST
        while True:

            async def look(
                connection: PoolConnectionProxy[Any], before: int = before
            ) -> asyncpg.Record | None:
                return await job.ledger.work.rollback_data(connection, job.run_id, before)

            row = await steadily(job, "reading rollback data", look)
            if row is None:
                return
            if row["image"] is None:
                raise RefusedError(f"the rollback data of run {job.run_id} are gone", instead(job.backup_id))
            before = row["id"]
            for line in reversed(job.sealer.open(row["image"], notes_context(job.run_id)).split(b"\n")):
                yield orjson.loads(line)

    def tell(self, message: str) -> None:
        """Serve `log`."""
        self.job.events.emit(Told(message=message))


@attrs.define(kw_only=True)
class Call:
    """One call of `process_batch`."""

    workspace: Workspace
    #: From 1 in `up`, from -1 downward in `down`.
    number: int
    size: int | None
    #: Batches that are committed, and the items in them.
    batches: int = 0
    end: int = 0
    #: Where the last committed batch began, and what was in it.
    start: int = 0
    print: str = ""
    #: Rows changed by the call.
    changed: int = 0
    #: What the latest handler stored.
    notes: list[bytes] = attrs.field(factory=list, repr=False)

    @property
    def up(self) -> bool:
        """Whether it is a call of `up`."""
        return self.workspace.way == "up"

    async def begin(self) -> None:
        """Learn what earlier processes have committed of this call."""
        workspace, job = self.workspace, self.workspace.job
        known = workspace.total >= 0 and abs(self.number) > workspace.latest
        if known or (workspace.dry_run and self.up):
            return

        async def look(connection: PoolConnectionProxy[Any]) -> asyncpg.Record:
            return await job.ledger.work.call(connection, job.run_id, self.number)

        row = await steadily(job, "looking for what is done", look)
        if workspace.total < 0:
            workspace.total, workspace.latest = row["total"], row["latest"]
        if row["batches"]:
            self.batches, self.start = row["batches"], int(row["first_key"][0])
            self.end, self.print, self.changed = (
                int(row["last_key"][0]),
                row["last_key"][1],
                int(row["last_key"][3]),
            )

    async def given(self, items: Iterable[Any] | AsyncIterable[Any], handle: Handle[Any]) -> None:
        """Items that can be iterated: pass over what is committed, handle the rest."""
        skip, start = self.end, self.start
        seen: list[Any] = []
        batch: list[Any] = []
        position = 0
        async for item in _each(items):
            position += 1
            if position <= skip:
                if position > start:
                    seen.append(item)
                if position == skip:
                    self._compare(seen)
                continue
            batch.append(item)
            if len(batch) >= self._size():
                await self._commit(_ready(batch), handle, self._fingerprint)
                batch = []
        if position < skip:
            self._compare([])
        if batch:
            await self._commit(_ready(batch), handle, self._fingerprint)

    async def pending(self, query: str, arguments: Sequence[Any], handle: Handle[Any]) -> None:
        """A pending query: ask again for each batch, until there is nothing."""
        before: Sequence[Any] = ()
        idle = False

        async def read(connection: PoolConnectionProxy[Any]) -> list[Any]:
            cursor = await connection.cursor(query, *arguments)
            found = await cursor.fetch(self._size())
            if found and found == before:
                raise RunError(
                    f"the pending query of call {abs(self.number)} of {self.workspace.name} finds the rows "
                    "again that the last batch was given",
                    "Its condition must become false for rows that are migrated, or are to be left alone",
                )
            return list(found)

        while (done := await self._commit(read, handle, lambda _: "")) is not None:
            if idle and not done.changed:
                raise RunError(
                    f"two batches of call {abs(self.number)} of {self.workspace.name}, one after the other, "
                    "changed nothing",
                    "The pending query must not find rows that are to be left alone",
                )
            idle, before = not done.changed, done.items

    async def once_over(self, query: str, arguments: Sequence[Any], handle: Handle[Any]) -> None:
        """A pending query in a dry run: one answer, since nothing that was done stays done."""
        job = self.workspace.job
        async with job.connect() as connection, transaction(connection):
            await connection.execute(chunk_sql(job.db.settings.lock_timeout, READING_SECONDS))
            cursor = await connection.cursor(query, *arguments)
            while batch := await cursor.fetch(self._size()):
                await self._commit(_ready(list(batch)), handle, lambda _: "", connection)

    async def _commit(
        self,
        read: Callable[[PoolConnectionProxy[Any]], Awaitable[list[Any]]],
        handle: Handle[Any],
        fingerprint: Callable[[list[Any]], str],
        connection: PoolConnectionProxy[Any] | None = None,
    ) -> Done | None:
        """Do one batch, exactly once. None: there was nothing left to do."""
        workspace, job = self.workspace, self.workspace.job
        batch = Batch(
            call=self,
            token=uuid.uuid5(job.run_id, f"{self.number}/{self.batches}"),
            number=self.batches,
            start=self.end,
            read=read,
            handle=handle,
            fingerprint=fingerprint,
        )
        result: list[Done | None] = []

        async def once(mode: Mode) -> None:
            if connection is not None:
                result[:] = [await batch.once(connection, mode)]
                return
            async with job.connect() as own:
                result[:] = [await batch.once(own, mode)]

        doing = f"batch {self.batches + 1} of call {abs(self.number)} of {workspace.name}"
        if connection is None:  # else a transaction of the dry run is open
            await job.gate.turn(job)
        await persistently(job, doing, once, skip=False)
        done = result[0]
        if done is None:
            return None
        failpoints.hit("after-commit" if self.up else "rollback-after-commit")
        self.batches += 1
        self.end, self.changed = done.end, self.changed + done.changed
        workspace.changed += done.changed
        workspace.batches += 1
        workspace.total += 1
        job.chunk_done(
            0, changed=done.changed, conflicts=0, quarantined=0, hot=0, seconds=done.seconds, size=0
        )
        if self.up:
            job.heed(done.control)
        return done

    def _size(self) -> int:
        size = self.workspace.job.size
        return size.fixed or self.size or size.rows

    def _compare(self, seen: list[Any]) -> None:
        if not seen or self._fingerprint(seen) != self.print:
            raise PlanDrift(
                f"call {abs(self.number)} of process_batch in {self.workspace.name} is not given the items "
                f"that it was given when run {self.workspace.job.run_id} was interrupted",
                "Give it the same items in the same order, or the text of a pending query",
            )

    def _fingerprint(self, batch: list[Any]) -> str:
        """Tells whether a later process is given the same. Keyed: items may be guessed."""
        try:
            text = orjson.dumps([_plain(item) for item in batch], default=_spelled, option=_OPTIONS)
        except TypeError:
            raise UsageError(
                f"an item given to process_batch in {self.workspace.name} is no plain value, or holds one "
                "that is not, so that a resumed run could not recognise it",
                "Give it texts, numbers, dates, rows, and lists, tuples and dicts of them",
            ) from None
        return digest(text.decode(), self.workspace.job.data_key).hex()


_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS


def _plain(item: Any) -> Any:
    return list(item.items()) if isinstance(item, asyncpg.Record) else item


def _spelled(value: Any) -> Any:
    """What orjson does not know: rows, decimals, bytes, and whatever else spells itself in one way."""
    if isinstance(value, asyncpg.Record):
        return list(value.items())
    if isinstance(value, set | frozenset) or "__repr__" not in _names(type(value)):
        raise TypeError
    return repr(value)


def _names(kind: type) -> set[str]:
    """What the class and its bases say themselves, but for what every object has."""
    return {name for base in kind.__mro__ if base is not object for name in vars(base)}


def _ready(batch: list[Any]) -> Callable[[PoolConnectionProxy[Any]], Awaitable[list[Any]]]:
    async def read(_: PoolConnectionProxy[Any]) -> list[Any]:
        return batch

    return read


async def _each(items: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
        return
    for item in items:
        yield item

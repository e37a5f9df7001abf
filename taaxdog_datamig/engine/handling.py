"""One batch of an imperative migration: its handler's writes, rollback data and checkpoint, once."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.errors import DatabaseUnavailable, LeaseLost, RunError, UsageError
from taaxdog_datamig.ledger import ChunkEntry
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.retry import Fault, classify, describe, sqlstate
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Mode
    from taaxdog_datamig.engine.workspace import Call
    from taaxdog_datamig.migration.imperative import Handle

#: Seconds that reading a batch's items may take. It locks nothing, so that it may take longer than writing.
READING_SECONDS = 60.0
#: SQLSTATEs, and classes of them, that are neither the handler's nor the rows' fault.
_NOT_THE_HANDLERS = ("42501", "53", "58", "XX")


@attrs.frozen(kw_only=True)
class Done:
    """What a batch did."""

    items: Sequence[Any] = attrs.field(default=(), repr=False)
    #: Where its items stand among those of the call.
    end: int
    changed: int
    seconds: float = 0.0
    control: str | None = None


def is_count(answer: object) -> bool:
    """Whether a migration's own code answered with a number of rows."""
    return isinstance(answer, int) and answer >= 0


def chunk_sql(settings_lock_timeout: float, seconds: float) -> str:
    """Timeouts of a transaction. The planner is left alone: we know nothing of the statements."""
    return (
        f"SET LOCAL lock_timeout = '{settings_lock_timeout * 1000:.0f}ms';"
        f"SET LOCAL statement_timeout = '{seconds * 1000:.0f}ms'"
    )


def place(error: BaseException, code: type) -> str:
    """Which error, raised where in the migration's own file, for a message; never its words."""
    frames = traceback.extract_tb(error.__traceback__)
    own = getattr(sys.modules.get(code.__module__), "__file__", None)
    last = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
    name = last.filename.rpartition("/")[2]
    return f"{type(error).__name__} at {name}:{last.lineno}"


@attrs.frozen(kw_only=True)
class Batch:
    """One batch; tried until it commits."""

    call: Call
    token: uuid.UUID
    number: int
    start: int
    #: Reads the items, inside the transaction; none ends the call.
    read: Callable[[PoolConnectionProxy[Any]], Awaitable[list[Any]]]
    handle: Handle[Any]
    fingerprint: Callable[[list[Any]], str]

    async def once(self, connection: PoolConnectionProxy[Any], mode: Mode) -> Done | None:
        """The whole transaction; None when there is nothing left to do."""
        job, call = self.call.workspace.job, self.call
        settings, started = job.db.settings, time.monotonic()
        entry = control = None
        try:
            async with transaction(connection):
                await connection.execute(chunk_sql(settings.lock_timeout, READING_SECONDS))
                if not call.workspace.dry_run:
                    control = await self._guard(connection)
                    if mode.uncertain and (done := await self._committed_before(connection)) is not None:
                        return attrs.evolve(done, control=control)
                with self._blaming(connection):
                    items = await self.read(connection)
                if not items:
                    return None
                await connection.execute(
                    chunk_sql(settings.lock_timeout, max(5.0, 10 * settings.chunk_seconds))
                )
                changed = await self._handled(connection, items)
                failpoints.hit("after-update")
                seconds = time.monotonic() - started
                entry = self._entry(items, changed, seconds)
                if call.workspace.dry_run:
                    raise Undone  # noqa: TRY301 - the transaction must see it
                await self._record(connection, entry, changed)
                failpoints.hit("before-commit" if call.up else "rollback-before-commit")
        except Undone:
            if call.up:  # in a ledger that goes with the session
                assert entry is not None
                await job.ledger.work.add_chunk(connection, entry, call.workspace.name, None)
        return Done(
            items=items, end=self.start + len(items), changed=changed, seconds=seconds, control=control
        )

    async def _guard(self, connection: PoolConnectionProxy[Any]) -> str | None:
        """Fencing against other processes, and against a transaction of ours that was lost on the way."""
        job = self.call.workspace.job
        # A lost transaction holds it until it has ended, one way or the other.
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"run|{job.run_id}")
        guard = await job.ledger.runs.guard(connection, job.run_id, job.epoch)
        if guard is None:
            raise LeaseLost(f"run {job.run_id} was taken over by another process")
        control: str | None = guard["control"]
        if self.call.up:
            job.heed(control)  # asked while the batch before was at work: nothing more is written
        return control

    async def _committed_before(self, connection: PoolConnectionProxy[Any]) -> Done | None:
        """The batch, if a lost commit did happen; None if it must be done again."""
        workspace = self.call.workspace
        row = await workspace.job.ledger.work.call(connection, workspace.job.run_id, self.call.number)
        if row["total"] < workspace.total:
            raise DatabaseUnavailable(
                f"the server came back without batches of {workspace.name} that it had acknowledged",
                "Start the same run again: it goes on where this server stands",
            )
        if row["batches"] == self.number:
            return None
        changed = int(row["last_key"][3]) - self.call.changed
        return Done(end=int(row["last_key"][0]), changed=changed)

    async def _handled(self, connection: PoolConnectionProxy[Any], items: list[Any]) -> int:
        workspace = self.call.workspace
        workspace.notes = []
        try:
            with self._blaming(connection):
                answer = await self.handle(connection, items)
                # What the server would say at the commit only, it says here, where we know whose fault it is.
                await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        finally:
            self.call.notes, workspace.notes = workspace.notes, None
        if not connection.is_in_transaction():
            raise RunError(f"{self._where}: the handler ended the transaction, which is not its own")
        if not is_count(changed := len(items) if answer is None else answer):
            raise UsageError(f"{self._where}: the handler returned no number of rows")
        return int(changed)

    @property
    def _where(self) -> str:
        return f"batch {self.number + 1} of call {abs(self.call.number)} of {self.call.workspace.name}"

    @contextlib.contextmanager
    def _blaming(self, connection: PoolConnectionProxy[Any]) -> Iterator[None]:
        """Make an error of the run out of what is the migration's fault, or its rows'; let the rest pass."""
        try:
            yield
        except asyncpg.InFailedSQLTransactionError:
            raise RunError(
                f"{self._where}: the handler went on after a statement that had failed",
                "Put a statement that may fail into `async with connection.transaction():`",
            ) from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            fault = classify(error)
            theirs = fault is Fault.FATAL and not sqlstate(error).startswith(_NOT_THE_HANDLERS)
            if fault is Fault.DATA or theirs:
                told = describe(error) if isinstance(error, asyncpg.PostgresError) else type(error).__name__
                raise RunError(f"{self._where}: the server refused it: {told}") from None
            raise
        except (OSError, EOFError) as error:  # TimeoutError is an OSError
            if connection.is_closed():
                raise
            raise RunError(f"{self._where} failed: {place(error, self.call.workspace.code)}") from None

    def _entry(self, items: list[Any], changed: int, seconds: float) -> ChunkEntry:
        """The chunk. Where a table's chunk has keys, it has its place in the call."""
        job, call = self.call.workspace.job, self.call
        last = (
            str(self.start + len(items)),
            self.fingerprint(items),
            str(len(call.notes)),
            str(call.changed + changed),
        )
        return ChunkEntry(
            run_id=job.run_id,
            token=self.token,
            epoch=job.epoch,
            sweep=call.number,
            target=0,
            relation=ident(call.workspace.name),
            # What `down` takes back must not count as changed once more.
            changed=changed if call.up else 0,
            conflicts=0,
            refusals=(),
            first_key=(str(self.start),),
            last_key=last,
            seconds=seconds,
        )

    async def _record(self, connection: PoolConnectionProxy[Any], entry: ChunkEntry, changed: int) -> None:
        call, workspace = self.call, self.call.workspace
        job, image = workspace.job, None
        if call.notes:
            image = job.sealer.seal(b"\n".join(call.notes), notes_context(job.run_id))
        if call.up:
            failpoints.hit("after-image")
        await job.ledger.work.add_chunk(connection, entry, workspace.name, image)
        told = {"table": workspace.name, "call": abs(call.number), "batch": self.number + 1}
        counted = {"changed": changed, "rollback_data": len(call.notes)} if call.up else {"restored": changed}
        event = "chunk" if call.up else "chunk-restored"
        await job.ledger.audit.append(connection, event, job.run_id, {**told, **counted})


def notes_context(run_id: uuid.UUID) -> str:
    """What binds rollback data to its run."""
    return f"rollback-data|{run_id}"

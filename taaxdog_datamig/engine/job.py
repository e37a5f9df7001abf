"""A run at work: everything its steps share, in one place."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig.engine.gate import Gate
from taaxdog_datamig.engine.preview import Preview
from taaxdog_datamig.errors import QuarantineExceeded, RunCancelled, RunPaused
from taaxdog_datamig.events import ChunkDone, EventBus, RunStatus, Waiting
from taaxdog_datamig.throttle import ChunkSize

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.archive import ArchiveWriter
    from taaxdog_datamig.crypto import BlobSealer
    from taaxdog_datamig.engine.inspected import Seen
    from taaxdog_datamig.engine.reports import RunOptions
    from taaxdog_datamig.ledger import Ledger
    from taaxdog_datamig.migration import Target
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.pg.rows import Shape


@attrs.define(kw_only=True)
class Counters:
    """What this process has done to one target."""

    changed: int = 0
    skipped: int = 0
    conflicts: int = 0
    chunks: int = 0
    hot: int = 0


@attrs.define(kw_only=True)
class Job:
    """One run in this process."""

    db: Database
    ledger: Ledger
    run_id: uuid.UUID
    #: Fencing token of the lease under which we write.
    epoch: int
    shapes: tuple[Shape, ...]
    #: Empty in a rollback, which needs the ledger only.
    targets: tuple[Target, ...] = ()
    options: RunOptions
    events: EventBus
    sealer: BlobSealer = attrs.field(repr=False)
    #: Keys the digests of written values.
    data_key: bytes = attrs.field(repr=False)
    size: ChunkSize
    #: Where deleted rows go first; None in a dry run, and where nothing is deleted.
    archive: ArchiveWriter | None = None
    #: The backup that was made before the run changed anything.
    backup_id: str | None = None
    #: What decides about rows, by target; and by target and heap, what an earlier run has seen.
    judges: tuple[bytes, ...] = ()
    seen: dict[tuple[int, str], Seen] = attrs.field(factory=dict, repr=False)
    counters: dict[int, Counters] = attrs.field(factory=dict)
    quarantined: int = 0
    #: Rows that a dry run would have deleted, by table; a live run's are in the ledger.
    deleted: Counter[str] = attrs.field(factory=Counter)
    #: What a dry run shows.
    preview: Preview = attrs.field(factory=Preview)
    #: How often the server, or the way to it, was lost.
    outages: int = 0
    #: Why we wait, for whoever asks from another terminal.
    waiting: str | None = None
    #: What a person should read in the report, beside the plan's warnings.
    warnings: list[str] = attrs.field(factory=list)
    #: Chunks begin when it lets them.
    gate: Gate = attrs.field(init=False, repr=False)
    #: A dry run's only connection: its ledger lives in that session's temporary tables.
    _session: PoolConnectionProxy[Any] | None = attrs.field(default=None, repr=False)
    _lock: anyio.Lock = attrs.field(factory=anyio.Lock, repr=False)

    def __attrs_post_init__(self) -> None:
        self.gate = Gate.of(self)

    @property
    def dry_run(self) -> bool:
        """Whether every chunk is rolled back."""
        return self.options.dry_run

    @property
    def workers(self) -> int:
        """Workers at the most; the gate says how many of them may work."""
        return 1 if self.dry_run else self.gate.workers.most

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[PoolConnectionProxy[Any]]:
        """A connection that sees the ledger."""
        if self._session is not None:
            async with self._lock:
                yield self._session
        else:
            async with self.db.acquire() as connection:
                yield connection

    def count(self, target: int) -> Counters:
        """The counters of a target."""
        return self.counters.setdefault(target, Counters())

    async def wait(self, reason: str, seconds: float) -> None:
        """Wait, and say why."""
        self.waiting = reason
        self.events.emit(Waiting(reason=reason, seconds=seconds))
        await anyio.sleep(seconds)
        self.waiting = None

    def tell(self, status: str) -> None:
        """Tell everyone that the ledger has a new status for the run."""
        self.events.announce(RunStatus(run_id=str(self.run_id), status=status))

    def chunk_done(
        self,
        target: int,
        *,
        changed: int,
        conflicts: int,
        quarantined: int,
        hot: int,
        seconds: float,
        size: int,
        touched: int | None = None,
    ) -> None:
        """Take in a committed chunk, and tell everyone."""
        counters = self.count(target)
        counters.changed += changed
        counters.conflicts += conflicts
        counters.chunks += 1
        counters.hot += hot
        self.gate.chunk_done(seconds)
        self.size.learn(changed + conflicts if touched is None else touched, seconds, size)
        self.events.emit(
            ChunkDone(
                table=self.shapes[target].table,
                changed=changed,
                skipped=0,
                quarantined=quarantined,
                conflicts=conflicts,
                seconds=seconds,
                next_size=self.size.rows,
                hot=hot,
            )
        )

    def heed(self, control: str | None) -> None:
        """Between chunks: do what was asked from another terminal, and keep to the error budget.

        Raises:
            RunPaused, RunCancelled: somebody asked for it.
            QuarantineExceeded: too many rows were refused.
        """
        if control == "pause":
            raise RunPaused("the run was paused", f"`datamig resume {self.run_id}` goes on")
        if control == "cancel":
            raise RunCancelled("the run was cancelled")
        if not self.dry_run and self.quarantined > self.options.max_quarantine:
            raise QuarantineExceeded(
                f"{self.quarantined} rows were refused, {self.options.max_quarantine} are allowed",
                f"`datamig quarantine list {self.run_id}` names them; mend them, or allow more with "
                "--max-quarantine",
            )

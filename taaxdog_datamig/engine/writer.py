"""A chunk: rows, before-images, quarantine, counters and audit in one transaction (promises P1 to P3)."""

from __future__ import annotations

import contextlib
import itertools
import time
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.archive import ArchivedTable
from taaxdog_datamig.engine.apply import Item, Mode, apply, persistently, statement_timeout
from taaxdog_datamig.engine.images import Deleted, Effect, Updated, context_of, deleted_rows, pack
from taaxdog_datamig.engine.preview import Preview
from taaxdog_datamig.errors import LeaseLost
from taaxdog_datamig.ledger import ChunkEntry, Refusal
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.rows import bound
from taaxdog_datamig.pg.transactions import Undone, transaction
from taaxdog_datamig.planning import chunks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Applied, Texts
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.lane import Lane
    from taaxdog_datamig.ledger import ArchivePart, Key
    from taaxdog_datamig.pg.rows import Shape


#: Rows whose before-image is sealed in a millisecond or two.
_MOMENT = 2_000


@attrs.frozen(kw_only=True)
class Written:
    """What the statements of a chunk did, before it is committed."""

    effects: Sequence[Effect] = attrs.field(default=(), repr=False)
    #: Rows of the target that are migrated now.
    changed: int = 0
    #: Rows that were left for a later sweep.
    conflicts: int = 0
    refusals: Sequence[Refusal] = ()
    first_key: Key | None = None
    last_key: Key | None = None
    #: Bytes that were rewritten, for the controller.
    size: int = 0
    #: Rows that were touched, for the controller, where they are not those of `changed` and `conflicts`.
    touched: int | None = None
    #: The before-image of the effects, where it is sealed already.
    image: bytes | None = attrs.field(default=None, repr=False)
    #: What decisions rest on: reason to rows.
    reasons: Mapping[str, int] = attrs.field(factory=dict)
    #: What a dry run shows of it, where `update` did it.
    preview: Preview | None = None

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to record."""
        return not (self.effects or self.changed or self.conflicts or self.refusals)


#: Everything a chunk does, inside its transaction. Done again from the start when that fails.
Work: TypeAlias = "Callable[[PoolConnectionProxy[Any], Mode], Awaitable[Written]]"


@attrs.frozen(kw_only=True)
class Committed:
    """What a chunk did."""

    changed: int = 0
    conflicts: int = 0
    quarantined: int = 0
    hot: int = 0
    seconds: float = 0.0
    size: int = 0
    touched: int | None = None
    control: str | None = None
    #: Rows in quarantine, all chunks together; None when this one added none.
    in_quarantine: int | None = None
    #: By an earlier try, whose acknowledgement was lost.
    before: bool = False

    @property
    def nothing(self) -> bool:
        """Whether nothing was recorded."""
        return not self.seconds


@attrs.frozen(kw_only=True)
class ChunkWriter:
    """Writes the chunks of one target."""

    job: Job
    target: int
    sweep: int
    #: Where it has a connection of its own.
    lane: Lane | None = None

    async def write(self, relation: str, items: Sequence[Item], refusals: Sequence[Refusal]) -> None:
        """Commit a chunk of updates; see `commit`.

        Rows that the application changed meanwhile, or holds locked, are left for the closing sweep.
        """

        async def work(connection: PoolConnectionProxy[Any], mode: Mode) -> Written:
            return await self.update(connection, relation, items, refusals, mode)

        await self.commit(relation, work)

    async def write_all(self, relation: str, items: Sequence[Item], refusals: Sequence[Refusal]) -> None:
        """Commit as many chunks as it takes."""
        start = 0
        while start < len(items) or refusals:
            # The chunk size may have changed since the last one.
            part = next(iter(chunks(items[start:], self.job.size.rows)), ())
            await self.write(relation, part, refusals)
            start, refusals = start + len(part), ()

    async def commit(self, relation: str, work: Work) -> Committed:
        """Commit one chunk, exactly once. One that did nothing leaves no record.

        Raises:
            LeaseLost: another process has taken the run over; nothing was written.
            RunPaused, RunCancelled, QuarantineExceeded: before the chunk or after its commit, see `Job.heed`.
            ServerRefused, DatabaseUnavailable: see `apply.persistently`.
        """
        token = uuid.uuid4()
        result = Committed()

        async def once(mode: Mode) -> None:
            nonlocal result
            result = await self._transaction(token, relation, work, mode)

        await self.job.gate.turn(self.job)
        await persistently(self.job, f"changing rows of {relation}", once, skip=True)
        self._committed(result)
        return result

    async def commit_at_once(self, relation: str, work: Work) -> None:
        """Commit one chunk, or raise what the server says."""
        self._committed(await self._transaction(uuid.uuid4(), relation, work, Mode()))

    def _committed(self, result: Committed) -> None:
        if result.nothing:
            self.job.heed(result.control)
            return
        failpoints.hit("after-commit")
        if result.in_quarantine is not None and not self.job.dry_run:
            self.job.quarantined = result.in_quarantine
        self.job.chunk_done(
            self.target,
            changed=result.changed,
            conflicts=result.conflicts,
            quarantined=result.quarantined,
            hot=result.hot,
            seconds=result.seconds,
            size=result.size,
            touched=result.touched,
        )
        self.job.heed(result.control)

    async def _transaction(self, token: uuid.UUID, relation: str, work: Work, mode: Mode) -> Committed:
        job, settings = self.job, self.job.db.settings
        started = time.monotonic()
        before: Committed | None = None
        async with (self.lane or job).connect() as connection:
            try:
                async with transaction(connection):
                    guard = await job.ledger.runs.open_chunk(
                        connection,
                        job.run_id,
                        job.epoch,
                        relation,
                        lock_timeout=settings.lock_timeout,
                        statement_timeout=statement_timeout(settings.chunk_seconds),
                    )
                    if guard is None:
                        raise LeaseLost(f"run {job.run_id} was taken over by another process")
                    # Asked while the chunk before was at work: nothing more is written.
                    job.heed(guard["control"])
                    written = await work(connection, mode)
                    failpoints.hit("after-update")
                    # Asked after the update: by now the lost transaction has either ended or made us wait.
                    if (
                        mode.uncertain
                        and (done := await job.ledger.work.find_chunk(connection, token)) is not None
                    ):
                        # This try has met other rows by now, and must not change them under its name.
                        before = Committed(**done, control=guard["control"], before=True)
                        raise Undone  # noqa: TRY301 - the transaction must see it
                    if written.nothing:
                        return Committed(control=guard["control"])
                    parts = await self._archive(token, written)
                    entry = self._entry(token, relation, written, time.monotonic() - started, guard["hot"])
                    hot = await self._record(connection, entry, written, parts)
                    result = Committed(
                        changed=entry.changed,
                        conflicts=entry.conflicts,
                        quarantined=sum(not refusal.left for refusal in entry.refusals),
                        hot=hot,
                        seconds=time.monotonic() - started,
                        size=written.size,
                        touched=written.touched,
                        control=guard["control"],
                        in_quarantine=await job.ledger.work.count_quarantine(connection, job.run_id)
                        if entry.refusals
                        else None,
                    )
                    failpoints.hit("before-commit")
                    if job.dry_run:
                        raise Undone  # noqa: TRY301 - the transaction must see it
            except Undone:
                if before is not None:
                    return before
                job.deleted.update(deleted_rows(written.effects))
                job.preview.add(written.preview or Preview.of_effects(written.effects))
                await job.ledger.work.add_chunk(connection, entry, self._table, None)
        return result

    @property
    def _table(self) -> str:
        return self.job.shapes[self.target].table

    async def update(
        self,
        connection: PoolConnectionProxy[Any],
        relation: str,
        items: Sequence[Item],
        refusals: Sequence[Refusal],
        mode: Mode,
    ) -> Written:
        """Change rows inside the chunk's transaction."""
        job = self.job
        shape = job.shapes[self.target].at(relation)
        place = shape
        if job.dry_run and job.targets[self.target].ddl:
            kept = [c.quoted for c in job.targets[self.target].table.relation.stored]
            place = await _stand_in(connection, shape, items, kept)
        loose = job.targets[self.target].loose
        applied, ahead = await self._apply(connection, shape, place, items, mode)
        changed = [(items[i], stored) for i, stored in applied.stored.items()]
        if not (applied.as_sent and len(changed) == len(items)):
            ahead = None
        refused = [
            Refusal(key=items[i].key, code=code, reason=why) for i, (code, why) in applied.refused.items()
        ]
        # With the change itself: a row that is listed is not looked at again.
        left = [item.left for item, _ in changed if item.left is not None]
        effects: tuple[Effect, ...] = ()
        if changed:
            effects = (ahead[0] if ahead else Updated.of(shape, changed, job.data_key, loose),)
        return Written(
            effects=effects,
            image=ahead[1] if ahead else None,
            changed=len(changed),
            conflicts=len(items) - len(changed) - len(refused),
            refusals=[*refusals, *refused, *left],
            first_key=items[0].key if items else None,
            last_key=items[-1].key if items else None,
            size=_size([item.old for item in items]) + _size([item.new for item in items]),
            reasons=Counter(item.reason for item, _ in changed if item.reason),
            preview=Preview.of_rows(job.targets[self.target], changed) if job.dry_run else None,
        )

    async def _apply(
        self,
        connection: PoolConnectionProxy[Any],
        shape: Shape,
        place: Shape,
        items: Sequence[Item],
        mode: Mode,
    ) -> tuple[Applied, tuple[Updated, bytes] | None]:
        """Change rows, and meanwhile seal the before-image of the case that each is changed as asked for."""
        job = self.job
        if job.dry_run or not items or mode != Mode():
            return await apply(connection, place, items, mode), None
        ahead: list[tuple[Updated, bytes]] = []

        def seal() -> tuple[Updated, bytes]:
            rows = [(item, item.new) for item in items]
            effect = Updated.of(shape, rows, job.data_key, job.targets[self.target].loose)
            return effect, job.sealer.seal(pack([effect]), context_of(job.run_id, self.target))

        async def prepare() -> None:
            # Longer work is for a thread: the signs of life, and other workers, go on meanwhile.
            ahead.append(seal() if len(items) <= _MOMENT else await anyio.to_thread.run_sync(seal))

        with only_error():
            async with anyio.create_task_group() as group:
                group.start_soon(prepare)
                turn = self.lane.statement if self.lane else contextlib.nullcontext()
                applied = await apply(connection, place, items, mode, turn)
        return applied, ahead[0]

    async def _archive(self, token: uuid.UUID, written: Written) -> list[ArchivePart]:
        """Write what was deleted to files, and read it back (promise P10)."""
        if self.job.archive is None or not (rows := deleted_rows(written.effects)):
            return []
        deletions = [effect for effect in written.effects if isinstance(effect, Deleted)]
        # A window may be one partition: rows go back through the table.
        whole = {shape.table: shape.relation for shape in self.job.shapes}
        tables = {
            effect.shape.table: ArchivedTable.describe(
                effect.shape, whole.get(effect.shape.table, effect.shape.relation), effect.loose
            )
            for effect in deletions
        }
        lines = [effect.lines for effect in deletions]
        parts = await anyio.to_thread.run_sync(self.job.archive.write, token, lines, rows, tables)
        failpoints.hit("after-part")
        return parts

    def _entry(
        self, token: uuid.UUID, relation: str, written: Written, seconds: float, hot_before: int
    ) -> ChunkEntry:
        return ChunkEntry(
            run_id=self.job.run_id,
            token=token,
            epoch=self.job.epoch,
            sweep=self.sweep,
            target=self.target,
            relation=relation,
            changed=written.changed,
            conflicts=written.conflicts,
            refusals=written.refusals,
            first_key=written.first_key,
            last_key=written.last_key,
            seconds=seconds,
            hot_before=hot_before,
        )

    async def _record(
        self,
        connection: PoolConnectionProxy[Any],
        entry: ChunkEntry,
        written: Written,
        parts: Sequence[ArchivePart],
    ) -> int:
        job = self.job
        image = written.image
        if image is None and written.effects and not job.dry_run:
            context = context_of(job.run_id, entry.target)
            image = await anyio.to_thread.run_sync(lambda: job.sealer.seal(pack(written.effects), context))
        failpoints.hit("after-image")
        told = {
            "table": self._table,
            "changed": entry.changed,
            "conflicts": entry.conflicts,
            "quarantined": len(entry.refusals),
            "first_key": entry.first_key,
            "last_key": entry.last_key,
        }
        if written.reasons:
            told["reasons"] = dict(written.reasons)
        if rows := deleted_rows(written.effects):
            told["deleted"] = dict(rows)
        row = await job.ledger.work.add_chunk(connection, entry, self._table, image, told)
        for part in parts:
            await job.ledger.work.add_archive_part(connection, job.run_id, row["id"], part)
        return row["hot"] or 0


def _size(rows: Sequence[Texts]) -> int:
    return sum(map(len, filter(None, itertools.chain.from_iterable(rows))))


async def _stand_in(
    connection: PoolConnectionProxy[Any], shape: Shape, items: Sequence[Item], stored: Sequence[str]
) -> Shape:
    """A temporary copy of the rows with the columns as wide as they are going to be.

    A dry run on columns that are still too narrow would have to alter the live table, under a lock that
    stops every reader, in each chunk. The copy has the table's constraints and gets the same statement.
    """
    name = '"datamig stand-in"'
    alters = ", ".join(f"ALTER COLUMN {ident(field.column)} TYPE {field.type}" for field in shape.columns)
    copy = f"pg_temp.{name}"
    key = " AND ".join(f"t.{ident(f.column)} = s.x{i}::{f.type}" for i, f in enumerate(shape.key))
    names, arrays = bound(len(shape.key))
    await connection.execute(
        f"CREATE TEMPORARY TABLE {name} (LIKE {shape.relation} INCLUDING ALL) ON COMMIT DROP;"
        f"ALTER TABLE {copy} {alters}"
    )
    await connection.execute(
        f"INSERT INTO {copy} ({', '.join(stored)}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join(f't.{name}' for name in stored)} FROM unnest({arrays}) AS s({names})"
        f" JOIN ONLY {shape.relation} AS t ON {key}",
        *[[item.key[i] for item in items] for i in range(len(shape.key))],
    )
    return shape.at(copy)

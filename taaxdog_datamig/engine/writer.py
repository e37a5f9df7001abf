"""A chunk: rows, before-images, quarantine, counters and audit in one transaction (promises P1 to P3)."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Applied, Item, Mode, apply, persistently, session_sql
from taaxdog_datamig.engine.images import Image, context_of
from taaxdog_datamig.errors import LeaseLost
from taaxdog_datamig.ledger import ChunkEntry, Refusal
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.pg.rows import Shape


#: What a chunk changes, and what goes to quarantine with it.
Rows: TypeAlias = "tuple[Sequence[Item], Sequence[Refusal]]"
Read: TypeAlias = "Callable[[PoolConnectionProxy[Any]], Awaitable[Rows]]"


@attrs.frozen(kw_only=True)
class _Result:
    """What a chunk did."""

    changed: int = 0
    conflicts: int = 0
    quarantined: int = 0
    hot: int = 0
    seconds: float = 0.0
    control: str | None = None
    #: Rows in quarantine, all chunks together; None when this one added none.
    in_quarantine: int | None = None


@attrs.frozen(kw_only=True)
class ChunkWriter:
    """Writes the chunks of one target."""

    job: Job
    target: int
    sweep: int

    async def write(self, relation: str, items: Sequence[Item], refusals: Sequence[Refusal]) -> None:
        """Commit one chunk, exactly once.

        Rows that the application changed meanwhile, or holds locked, are left for the closing sweep.

        Raises:
            LeaseLost: another process has taken the run over; nothing was written.
            RunPaused, RunCancelled, QuarantineExceeded: after the commit, see `Job.heed`.
            ServerRefused, DatabaseUnavailable: see `apply.persistently`.
        """
        token = uuid.uuid4()
        result = _Result()

        async def given(_: PoolConnectionProxy[Any]) -> Rows:
            return items, refusals

        async def once(mode: Mode) -> None:
            nonlocal result
            result = await self._transaction(token, relation, given, mode)

        await persistently(self.job, f"changing rows of {relation}", once, skip=True)
        self._committed(result, sum(len(text) for item in items for text in (*item.old, *item.new) if text))

    async def write_at_once(self, relation: str, read: Read) -> None:
        """Commit one chunk of rows that are read inside its transaction, or raise what the server says."""
        self._committed(await self._transaction(uuid.uuid4(), relation, read, Mode()), 0)

    def _committed(self, result: _Result, size: int) -> None:
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
            size=size,
        )
        self.job.heed(result.control)

    async def _transaction(self, token: uuid.UUID, relation: str, read: Read, mode: Mode) -> _Result:
        job, settings, work = self.job, self.job.db.settings, self.job.ledger.work
        shape = job.shapes[self.target].at(relation)
        started = time.monotonic()
        async with job.connect() as connection:
            try:
                async with transaction(connection):
                    await connection.execute(session_sql(settings.lock_timeout, settings.chunk_seconds))
                    guard = await job.ledger.runs.guard(connection, job.run_id, job.epoch, relation)
                    if guard is None:
                        raise LeaseLost(f"run {job.run_id} was taken over by another process")
                    items, refusals = await read(connection)
                    if job.dry_run and job.targets[self.target].ddl:
                        kept = [c.quoted for c in job.targets[self.target].table.relation.stored]
                        shape = await _stand_in(connection, shape, items, kept)
                    applied = await apply(connection, shape, items, mode)
                    failpoints.hit("after-update")
                    # Asked after the update: by now the lost transaction has either ended or made us wait.
                    if mode.uncertain and (done := await work.find_chunk(connection, token)) is not None:
                        return _Result(**done, control=guard["control"])
                    entry = self._entry(token, relation, items, refusals, applied, time.monotonic() - started)
                    entry = attrs.evolve(entry, hot_before=guard["hot"])
                    hot = await self._record(connection, entry, shape, items, applied)
                    result = _Result(
                        changed=entry.changed,
                        conflicts=entry.conflicts,
                        quarantined=len(entry.refusals),
                        hot=hot,
                        seconds=time.monotonic() - started,
                        control=guard["control"],
                        in_quarantine=await work.count_quarantine(connection, job.run_id)
                        if entry.refusals
                        else None,
                    )
                    failpoints.hit("before-commit")
                    if job.dry_run:
                        raise Undone  # noqa: TRY301 - the transaction must see it
            except Undone:
                await work.add_chunk(connection, entry, shape.table, None)
        return result

    def _entry(
        self,
        token: uuid.UUID,
        relation: str,
        items: Sequence[Item],
        refusals: Sequence[Refusal],
        applied: Applied,
        seconds: float,
    ) -> ChunkEntry:
        refused = [
            Refusal(key=items[i].key, code=code, reason=why) for i, (code, why) in applied.refused.items()
        ]
        return ChunkEntry(
            run_id=self.job.run_id,
            token=token,
            epoch=self.job.epoch,
            sweep=self.sweep,
            target=self.target,
            relation=relation,
            changed=len(applied.stored),
            conflicts=len(items) - len(applied.stored) - len(refused),
            refusals=[*refusals, *refused],
            first_key=items[0].key if items else None,
            last_key=items[-1].key if items else None,
            seconds=seconds,
        )

    async def _record(
        self,
        connection: PoolConnectionProxy[Any],
        entry: ChunkEntry,
        shape: Shape,
        items: Sequence[Item],
        applied: Applied,
    ) -> int:
        job = self.job
        image = None
        if applied.stored:
            changed = [(items[i], stored) for i, stored in applied.stored.items()]
            image = Image.of(changed, job.data_key).seal(job.sealer, context_of(job.run_id, entry.target))
        failpoints.hit("after-image")
        row = await job.ledger.work.add_chunk(connection, entry, shape.table, image)
        await job.ledger.audit.append(
            connection,
            "chunk",
            job.run_id,
            {
                "table": shape.table,
                "changed": entry.changed,
                "conflicts": entry.conflicts,
                "quarantined": len(entry.refusals),
                "first_key": entry.first_key,
                "last_key": entry.last_key,
            },
        )
        return row["hot"] or 0


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
    names = ", ".join(f"x{i}" for i in range(len(shape.key)))
    arrays = ", ".join(f"${i + 1}::text[]" for i in range(len(shape.key)))
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

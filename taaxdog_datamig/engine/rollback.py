"""Undo of a run from its before-images: chunk by chunk, newest first, exactly once, never over the app.

Needs no migration code: shapes, definitions and images are in the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Item, Mode, apply, persistently, session_sql, steadily
from taaxdog_datamig.engine.images import Image, context_of, digests
from taaxdog_datamig.engine.proof import current
from taaxdog_datamig.errors import LeaseLost, RefusedError
from taaxdog_datamig.events import ChunkDone, Warned
from taaxdog_datamig.pg.ddl import alter
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration import Ddl

_NEWEST = 2**63 - 1


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

    Raises:
        LeaseLost, ServerRefused, DatabaseUnavailable: the rollback can be continued.
        RefusedError: a chunk's before-image was purged.
    """
    failpoints.hit("rollback-begin")
    done = Restored()
    before, outages = _NEWEST, job.outages
    while True:

        async def find(connection: PoolConnectionProxy[Any], before: int = before) -> asyncpg.Record | None:
            return await job.ledger.work.next_to_restore(connection, job.run_id, before)

        chunk = await steadily(job, "looking for the next chunk", find)
        if chunk is None and outages == job.outages:
            return done
        if chunk is None:
            # A server that crashed has forgotten what it had not written to disk: once more from the top.
            before, outages = _NEWEST, job.outages
            continue
        if chunk["image"] is None:
            raise RefusedError(
                f"the before-images of run {job.run_id} are gone", "Restore the tables from a backup instead"
            )
        before = chunk["id"]
        await _restore(job, chunk, done, dry_run=dry_run)
        failpoints.hit("rollback-after-commit")


async def _restore(job: Job, chunk: asyncpg.Record, done: Restored, *, dry_run: bool) -> None:
    shape = job.shapes[chunk["target"]].at(chunk["relation"])
    image = Image.open(chunk["image"], job.sealer, context_of(job.run_id, chunk["target"]))
    restored = 0
    kept: list[Key] = []

    async def once(mode: Mode) -> None:
        nonlocal restored, kept
        settings = job.db.settings
        async with job.connect() as connection:
            try:
                async with transaction(connection):
                    await connection.execute(session_sql(settings.lock_timeout, settings.chunk_seconds))
                    if not dry_run and await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
                        raise LeaseLost(f"run {job.run_id} was taken over by another process")
                    now = await current(connection, shape, image.keys)
                    items = [
                        Item(key, now[i], image.old[i])
                        for i, key in enumerate(image.keys)
                        if i in now and digests(now[i], job.data_key) == image.new[i]
                    ]
                    applied = await apply(connection, shape, items, mode)
                    back = {items[i].key for i in applied.stored}
                    kept = [key for key in image.keys if key not in back]
                    restored = len(back)
                    if dry_run:
                        raise Undone  # noqa: TRY301 - the transaction must see it
                    await _record(job, connection, chunk, kept, restored)
                    failpoints.hit("rollback-before-commit")
            except Undone:
                pass

    await persistently(job, f"restoring rows of {shape.relation}", once, skip=False)
    done.rows += restored
    done.kept += len(kept)
    done.chunks += 1
    if kept and dry_run:
        done.keys.setdefault(shape.table, []).extend(", ".join(key) for key in kept)
    job.events.emit(
        ChunkDone(
            table=shape.table,
            changed=restored,
            skipped=0,
            quarantined=0,
            conflicts=len(kept),
            seconds=0.0,
            next_size=0,
        )
    )


async def _record(
    job: Job, connection: PoolConnectionProxy[Any], chunk: asyncpg.Record, kept: Sequence[Key], restored: int
) -> None:
    # After a lost acknowledgement the chunk may be done already: its counts are right then, and the
    # update above has found every row different from what the run wrote.
    if not await job.ledger.work.restored(connection, chunk["id"], restored, len(kept)):
        return
    table = job.shapes[chunk["target"]].table
    if kept:
        await job.ledger.work.add_conflicts(connection, job.run_id, chunk["relation"], table, kept)
    await job.ledger.audit.append(
        connection,
        "chunk-restored",
        job.run_id,
        {"table": table, "chunk": chunk["id"], "restored": restored, "kept": len(kept)},
    )


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

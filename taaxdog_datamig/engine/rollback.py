"""Undo of a run from its before-images: chunk by chunk, newest first, exactly once, never over the app.

Needs no migration code: shapes, definitions and images are in the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.apply import Mode, persistently, session_sql, steadily
from taaxdog_datamig.engine.images import context_of, open_image
from taaxdog_datamig.engine.keeping import instead
from taaxdog_datamig.engine.takeback import take_back
from taaxdog_datamig.errors import LeaseLost, RefusedError
from taaxdog_datamig.events import ChunkDone, Warned
from taaxdog_datamig.pg.ddl import alter
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration import Ddl
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
            raise RefusedError(f"the before-images of run {job.run_id} are gone", instead(job.backup_id))
        before = chunk["id"]
        await _restore(job, chunk, done, dry_run=dry_run)
        failpoints.hit("rollback-after-commit")


async def _restore(job: Job, chunk: asyncpg.Record, done: Restored, *, dry_run: bool) -> None:
    target = job.shapes[chunk["target"]]
    effects = open_image(chunk["image"], job.sealer, context_of(job.run_id, chunk["target"]))
    kept: list[Kept] = []

    async def once(mode: Mode) -> None:
        settings = job.db.settings
        kept.clear()
        async with job.connect() as connection:
            try:
                async with transaction(connection):
                    await connection.execute(session_sql(settings.lock_timeout, settings.chunk_seconds))
                    if not dry_run and await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
                        raise LeaseLost(f"run {job.run_id} was taken over by another process")
                    # Backwards: what was deleted last, such as a parent, must be there first.
                    for effect in reversed(effects):
                        left = await take_back(connection, effect, job.data_key, mode)
                        kept.extend(Kept(effect.shape, key) for key in left)
                    if dry_run:
                        raise Undone  # noqa: TRY301 - the transaction must see it
                    await _record(job, connection, chunk, kept)
                    failpoints.hit("rollback-before-commit")
            except Undone:
                pass

    await job.gate.turn(job)
    await persistently(job, f"restoring rows of {target.relation}", once, skip=False)
    restored = _restored(chunk["changed"], target, kept)
    done.rows += restored
    done.kept += len(kept)
    done.chunks += 1
    if dry_run:
        for row in kept:
            done.keys.setdefault(row.shape.table, []).append(", ".join(row.key))
    job.events.emit(
        ChunkDone(
            table=target.table,
            changed=restored,
            skipped=0,
            quarantined=0,
            conflicts=len(kept),
            seconds=0.0,
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
    if not await job.ledger.work.restored(connection, chunk["id"], restored, len(kept)):
        return
    for (relation, table), rows in _by_table(kept).items():
        await job.ledger.work.add_conflicts(connection, job.run_id, relation, table, rows)
    await job.ledger.audit.append(
        connection,
        "chunk-restored",
        job.run_id,
        {"table": target.table, "chunk": chunk["id"], "restored": restored, "kept": len(kept)},
    )


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

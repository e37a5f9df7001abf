"""Letting go of before-images: what a rollback needs is kept for a while, not for ever."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from taaxdog_datamig.engine.reports import PurgedRun
from taaxdog_datamig.ledger import Ledger, actor, installed_version
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from datetime import timedelta

    from taaxdog_datamig.pg.database import Database


@server_errors("letting go of before-images")
async def purge_runs(
    db: Database, older_than: timedelta, *, shred: bool = False, dry_run: bool = False
) -> list[PurgedRun]:
    """Delete the before-images of runs that ended longer ago. Records stay; a rollback is not possible then.

    Each run in a transaction of its own: a killed purge goes on where it was.

    Args:
        db: the database.
        older_than: how long ago a run has ended at least.
        shred: forget the runs' data keys, too: then no copy of the images can be opened again, such as one in
            the server's log.
        dry_run: only say which.
    """
    ledger = Ledger.of()
    before = datetime.now(UTC) - older_than
    async with db.acquire() as connection:
        if not await installed_version(connection):
            return []
        found = [
            PurgedRun(
                run_id=str(row["id"]),
                migration=row["migration"],
                completed_at=row["completed_at"],
                images=row["images"],
                size=row["bytes"],
                shredded=shred and row["sealed"],
            )
            for row in await ledger.runs.purgeable(connection, before, shred=shred)
        ]
        if dry_run:
            return found
        for run in found:
            async with transaction(connection):
                run_id = uuid.UUID(run.run_id)
                await ledger.runs.purge(connection, run_id, shred=shred)
                entry = {
                    "actor": actor(db.server.role),
                    "images": run.images,
                    "shredded": run.shredded,
                }
                await ledger.audit.append(connection, "images-purged", run_id, entry)
    return found

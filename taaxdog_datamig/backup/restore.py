"""Restoring a backup: which way it goes, and what is told of it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from anyio import to_thread

from taaxdog_datamig.backup.converge import Converge
from taaxdog_datamig.backup.definitions import Definitions
from taaxdog_datamig.backup.matching import match
from taaxdog_datamig.backup.orphans import Orphans
from taaxdog_datamig.backup.rebuild import Rebuild, present, under_way
from taaxdog_datamig.backup.reports import RestoredTable, RestoreReport
from taaxdog_datamig.errors import RefusedError, UnknownName
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, server_errors
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from taaxdog_datamig.backup.loading import OpenBackup
    from taaxdog_datamig.backup.manifest import BackedUpTable, Manifest
    from taaxdog_datamig.pg.database import Database

#: Key of the advisory lock that a restore holds in its database.
_LOCK = 0x64617461_6D696772
#: Where the ledger is. It tells what happened here; going back in it would be a lie.
_LEDGER = "datamig"


@server_errors("restoring the backup", when_lost="When it is back, start the same restore again")
async def restore(
    db: Database,
    backup: OpenBackup,
    tables: Collection[str] | None = None,
    *,
    dry_run: bool = False,
    exact: bool = False,
    cascade: bool = False,
    orphans: Orphans = "refuse",
    jobs: int = 2,
) -> RestoreReport:
    """Restore a backup; see `BackupManager.restore`."""
    began = time.monotonic()
    wanted = select(backup.manifest, tables)
    async with _alone(db):
        async with db.acquire() as connection:
            empty = await under_way(connection) is not None or not await present(
                connection, backup.manifest.tables
            )
        if empty and dry_run:
            return await _rehearse(db, backup, wanted, began)
        if empty:
            return await _rebuild(db, backup, wanted, jobs, began)
        return await _converge(
            db,
            backup,
            wanted,
            began,
            dry_run=dry_run,
            exact=exact,
            cascade=cascade,
            orphans=orphans,
            whole=tables is None,
            jobs=jobs,
        )


def select(manifest: Manifest, tables: Collection[str] | None) -> list[BackedUpTable]:
    """The tables of those names (`schema.name`, or the name alone where it is clear), or their partitions.

    Raises:
        UnknownName: there is none, or several.
    """
    if tables is None:
        return list(manifest.tables)
    wanted: dict[str, BackedUpTable] = {}
    for name in tables:
        found = [table for table in manifest.tables if name in {table.label, table.root}]
        found = found or [
            table
            for table in manifest.tables
            if name == table.name or (table.root or "").partition(".")[2] == name
        ]
        if not found or len({table.root or table.label for table in found}) > 1:
            what = "several tables are called" if found else "there is no table"
            raise UnknownName(f"{what} {name!r} in backup {manifest.id}", "Name it as schema.table")
        wanted |= {table.label: table for table in found}
    return list(wanted.values())


@contextlib.asynccontextmanager
async def _alone(db: Database) -> AsyncIterator[None]:
    """One restore at a time; the lock goes with the session, whatever ends it."""
    if db.pooled:
        raise RefusedError(
            "a restore needs sessions of its own, which a pooler does not give",
            "Connect to the server directly",
        )
    connection = await db.pool.acquire(timeout=20)
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            raise RefusedError("another restore is at work in this database", "Wait until it has ended")
        # It does nothing else meanwhile.
        await connection.execute("SET idle_session_timeout = 0")
        yield
    finally:
        # A session that was lost must not hide what became of the restore.
        with contextlib.suppress(*DRIVER_ERRORS):
            await db.pool.release(connection)


async def _rehearse(
    db: Database, backup: OpenBackup, wanted: Sequence[BackedUpTable], began: float
) -> RestoreReport:
    """Read everything, as the restore will, and find what else it needs."""

    def read() -> None:
        for table in wanted:
            for part in table.parts:
                for _ in backup.read(part):
                    pass

    async with Definitions.of(db, backup):
        await to_thread.run_sync(read)
    return RestoreReport(
        backup_id=backup.manifest.id,
        mode="empty",
        dry_run=True,
        exact=False,
        tables=tuple(RestoredTable(table=table.label, inserted=table.rows) for table in wanted),
        seconds=round(time.monotonic() - began, 3),
    )


async def _rebuild(
    db: Database, backup: OpenBackup, wanted: Sequence[BackedUpTable], jobs: int, began: float
) -> RestoreReport:
    rebuild = Rebuild(db, backup, wanted, jobs)
    await rebuild.run()
    return RestoreReport(
        backup_id=backup.manifest.id,
        mode="empty",
        dry_run=False,
        exact=False,
        tables=tuple(
            RestoredTable(table=table.label, inserted=rebuild.inserted[table.label]) for table in wanted
        ),
        chunks=sum(len(table.parts) for table in wanted),
        resumed_parts=rebuild.resumed,
        warnings=tuple(rebuild.warnings),
        seconds=round(time.monotonic() - began, 3),
    )


async def _converge(
    db: Database,
    backup: OpenBackup,
    wanted: Sequence[BackedUpTable],
    began: float,
    *,
    dry_run: bool,
    exact: bool,
    cascade: bool,
    orphans: Orphans,
    whole: bool,
    jobs: int,
) -> RestoreReport:
    tables = [table for table in wanted if table.schema != _LEDGER]
    if not tables:
        raise RefusedError(
            f"schema {_LEDGER}, the record of runs, is left as it is, and nothing else was named",
            "Name other tables; `datamig backup show` lists them",
        )
    async with db.acquire() as connection, transaction(connection):
        # As when the backup was made: types outside pg_catalog are then spelled with their schema.
        await connection.execute("SET LOCAL search_path = ''")
        targets = await match(connection, tables)
    converge = Converge(
        db=db,
        backup=backup,
        targets=targets,
        dry_run=dry_run,
        exact=exact,
        cascade=cascade,
        orphans=orphans,
        whole=whole,
        jobs=jobs,
    )
    await converge.run()
    if len(tables) < len(wanted):
        converge.warnings.append(f"schema {_LEDGER}, the record of runs, was left as it is")
    return RestoreReport(
        backup_id=backup.manifest.id,
        mode="converge",
        dry_run=dry_run,
        exact=exact,
        tables=tuple(
            RestoredTable(
                table=label,
                inserted=found.missing,
                updated=found.changed,
                deleted=found.newer if exact else 0,
                kept=0 if exact else found.newer,
            )
            for label, found in sorted(converge.found.items())
        )
        + ((converge.objects,) if converge.objects is not None else ()),
        cascaded=dict(converge.cascaded),
        drift=tuple(change for target in targets for change in target.drift),
        warnings=tuple(converge.warnings),
        seconds=round(time.monotonic() - began, 3),
    )

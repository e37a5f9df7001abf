"""The backup before a run: the rows of the tables that it touches, before anything is changed.

It holds rows alone. What a run may change in definitions is undone by its rollback, and a dump of the schema
would lock, and need privileges on, tables that the run has nothing to do with.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup import BackupManager, store_of
from taaxdog_datamig.backup.choosing import Wishes
from taaxdog_datamig.backup.create import create
from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.engine.apply import steadily
from taaxdog_datamig.engine.steps import step
from taaxdog_datamig.errors import BackupError, DatabaseUnavailable, DatamigError, LeaseLost
from taaxdog_datamig.events import Warned
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.manifest import Manifest
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.engine.reports import RunOptions
    from taaxdog_datamig.engine.start import Started
    from taaxdog_datamig.settings import Settings

#: Connections that a backup needs besides those of its jobs, while the lease is kept alive.
_OTHERS = 2


def wanted(options: RunOptions, settings: Settings) -> bool:
    """Whether a run with these makes a backup."""
    return settings.backup_before_run and not (options.dry_run or options.skip_backup)


def unsealed_warning(options: RunOptions, settings: Settings, keyring: Keyring | None) -> str | None:
    """A warning where anybody who can read the folder will be able to read the rows."""
    if keyring is not None or not wanted(options, settings):
        return None
    return (
        f"the backup in {store_of(settings).address} is compressed but not sealed, since no key is "
        "configured: who can read the place can read the rows"
    )


async def back_up(started: Started, migration: str) -> None:
    """Make the run's backup, unless it has one or wants none, and record it.

    Args:
        started: the run.
        migration: its name, of which the backup's is made.

    Raises:
        BackupError: none could be made. Nothing was changed.
        DatabaseUnavailable: the server stays away.
    """
    job = started.job
    if not wanted(job.options, job.db.settings) or job.backup_id is not None:
        return
    if started.resumed and await _has_changed(job):
        # What is there now is not what was there before the run.
        job.events.emit(Warned(message="the run had begun without a backup, and goes on without one"))
        return
    async with step(job.events, "backup"):
        async with _failing_closed():
            made = await _make(started, f"before {migration}")
        await steadily(job, "recording the backup", lambda connection: _record(job, connection, made))
        job.backup_id = made.id
    failpoints.hit("after-backup")


def instead(backup_id: str | None) -> str:
    """What to do where a run cannot be rolled back."""
    if backup_id is None:
        return "Restore from a backup instead"
    return (
        f"Restore the backup that was made before it: `datamig restore {backup_id}`, first with --dry-run; "
        "with --tables=A,B for some of its tables"
    )


async def _make(started: Started, name: str) -> Manifest:
    job = started.job
    manager = BackupManager(job.db)
    wishes = Wishes(
        name=name,
        tables=started.touched,
        schema=False,
        jobs=max(1, min(2, job.db.pool.get_max_size() - _OTHERS)),
    )
    return await create(job.db, manager.store, Keyring.from_settings(job.db.settings), wishes)


@contextlib.asynccontextmanager
async def _failing_closed() -> AsyncIterator[None]:
    try:
        async with server_errors("backing up"):
            with only_error():
                yield
    except (DatabaseUnavailable, LeaseLost):
        raise
    except DatamigError as error:
        raise _failed(error.what, error.todo) from None
    except OSError as error:
        raise _failed(f"cannot use {error.filename}: {error.strerror}", "") from None


def _failed(what: str, todo: str) -> BackupError:
    return BackupError(
        f"the backup before the run failed: {what}",
        f"{todo or 'Mend that (backup_dir, BACKUP_DIR)'}, or run without a backup: --skip-backup",
    )


async def _has_changed(job: Job) -> bool:
    async def look(connection: PoolConnectionProxy[Any]) -> bool:
        (record,) = await job.ledger.runs.find(connection, run_id=job.run_id)
        return bool(record["changed"] or record["ddl_done"])

    return await steadily(job, "looking at the run", look)


async def _record(job: Job, connection: PoolConnectionProxy[Any], made: Manifest) -> None:
    async with transaction(connection):
        if await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
            raise LeaseLost(f"run {job.run_id} was taken over by another process")
        await job.ledger.runs.set_backup(connection, job.run_id, made.id)
        entry = {"backup": made.id, "tables": len(made.tables), "rows": made.rows}
        await job.ledger.audit.append(connection, "run-backed-up", job.run_id, entry)

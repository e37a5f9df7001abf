"""The door to archives: which there are, whether they are whole, and putting their rows back."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig import archive as archives
from taaxdog_datamig.archive import Archive, Found
from taaxdog_datamig.archive.reader import check_files
from taaxdog_datamig.crypto import BlobSealer, Keyring
from taaxdog_datamig.engine.archive_reports import (
    ArchiveDetails,
    ArchiveRecord,
    ArchiveRestore,
    RestoredTable,
    TableInArchive,
)
from taaxdog_datamig.engine.fitting import fit
from taaxdog_datamig.engine.job import Job
from taaxdog_datamig.engine.preflight import check_server
from taaxdog_datamig.engine.putting import Putter
from taaxdog_datamig.engine.reports import RunOptions
from taaxdog_datamig.errors import (
    ArchiveError,
    KeyMissing,
    RefusedError,
    SettingsError,
    UnknownName,
)
from taaxdog_datamig.events import EventBus, StepFinished, StepStarted, TableStarted, Warned
from taaxdog_datamig.ledger import UNFINISHED, Ledger, actor, install, installed_version
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.transactions import Undone, transaction
from taaxdog_datamig.settings import Settings
from taaxdog_datamig.throttle import ChunkSize

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.fitting import Fit
    from taaxdog_datamig.pg.database import Database

#: Version of the ledger that came to know archives.
_WITH_ARCHIVES = 2


@attrs.define
class ArchiveManager:
    """The archives in `archive_dir`: the rows that cleanups and merges took away.

    Args:
        db: where rows are put back; None to look only.
        settings: resolved settings; those of `db`, or from the environment, by default.
        events: hears what happens while rows are put back.
    """

    db: Database | None = None
    settings: Settings = attrs.field()
    events: EventBus = attrs.field(factory=EventBus, kw_only=True)

    @settings.default
    def _settings(self) -> Settings:
        return Settings.load() if self.db is None else self.db.settings

    async def list(self) -> list[ArchiveRecord]:
        """Every archive, newest first. Reads manifests and measures parts; needs neither key nor database.

        Raises:
            ArchiveError: the folder cannot be read.
        """
        found = await anyio.to_thread.run_sync(archives.list_archives, self.settings.archive_dir)
        return [ArchiveRecord(**_facts(each)) for each in found]

    async def show(self, ref: str) -> ArchiveDetails:
        """One archive, every part of it verified: opened and counted where its key is configured.

        Args:
            ref: its id, which is the run's, or the beginning of it.

        Raises:
            UnknownName: there is no such archive, or several.
            KeyWrong: a key of that id is configured and does not open it.
        """
        return await anyio.to_thread.run_sync(self._show, ref)

    @server_errors("restoring the archive")
    async def restore(
        self, ref: str, tables: Sequence[str] | None = None, *, dry_run: bool = False
    ) -> ArchiveRestore:
        """Put rows back where their key is absent; rows that are there are left as they are.

        Done in chunks; done again, it goes on where it stopped. A dry run does the same in one transaction
        that is rolled back: its counts are exact, and it holds its locks until it ends.

        Args:
            ref: the archive's id, or the beginning of it.
            tables: logical names; every table of the archive by default.
            dry_run: leave nothing behind.

        Raises:
            UnknownName: there is no such archive, or no such table in it.
            ArchiveError: it is damaged or changed. Nothing was put back.
            RefusedError: its run has not ended, the tables no longer fit, or the key is missing.
        """
        if self.db is None:
            raise SettingsError("no database is given to put rows back in", "Set DATABASE_URL")
        began = time.monotonic()
        check_server(self.db)
        async with self._step("verify"):
            archive = await anyio.to_thread.run_sync(self._open, ref)
            wanted = _wanted(archive, tables)
            await anyio.to_thread.run_sync(_verify, archive, wanted)
            async with self.db.acquire() as connection:
                await _compare(connection, archive)
                fits = await fit(connection, archive, wanted)
        warnings = _warnings(archive, self.db)
        for warning in warnings:
            self.events.emit(Warned(message=warning))
        async with self._step("restore"):
            work = self._dry if dry_run else self._live
            putter = await work(self.db, archive, fits)
        done = [_restored(putter, table, archive) for table in fits]
        return ArchiveRestore(
            archive_id=str(archive.manifest.id),
            migration=archive.manifest.migration,
            dry_run=dry_run,
            inserted_rows=putter.inserted.total(),
            present_rows=putter.present.total(),
            refused_rows=putter.refused.total(),
            tables=tuple(done),
            refused=tuple(putter.listed),
            drift=tuple(change for found in fits.values() for change in found.drift),
            chunks=putter.chunks,
            seconds=round(time.monotonic() - began, 3),
            warnings=tuple(warnings),
        )

    def _show(self, ref: str) -> ArchiveDetails:
        found = archives.find(self.settings.archive_dir, ref)
        if found.manifest is None:
            return ArchiveDetails(**_facts(found))
        facts: dict[str, Any] = {
            "tables": tuple(
                TableInArchive(
                    table=name,
                    relation=table.relation,
                    rows=table.rows,
                    key=table.key,
                    columns=dict(table.columns),
                )
                for name, table in found.manifest.tables.items()
            ),
            "parts": len(found.manifest.parts),
        }
        try:
            try:
                opened = Archive.open(found, Keyring.from_settings(self.settings))
                facts["signed"] = opened.signed
                for _ in opened.verify():
                    pass
                facts["verified"] = "rows"
            except KeyMissing:
                check_files(found.path, found.manifest)
                facts["verified"] = "checksums"
        except ArchiveError as error:
            found = attrs.evolve(found, state="damaged", problem=error.what)
        return ArchiveDetails(**_facts(found), **facts)

    def _open(self, ref: str) -> Archive:
        found = archives.find(self.settings.archive_dir, ref)
        if found.state == "damaged" and found.manifest is None:
            raise ArchiveError(found.problem, "Take the archive's folder from a copy, and look at the disk")
        return Archive.open(found, Keyring.from_settings(self.settings))

    @contextlib.asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        began = time.monotonic()
        self.events.emit(StepStarted(step=name))
        yield
        self.events.emit(StepFinished(step=name, seconds=time.monotonic() - began))

    async def _live(self, db: Database, archive: Archive, fits: Mapping[str, Fit]) -> Putter:
        ledger = Ledger.of()
        about = {"archive": str(archive.manifest.id), "actor": actor(db.server.role), "tables": [*fits]}
        async with db.acquire() as connection:
            await install(connection, self.settings, self.events)
            async with transaction(connection):
                await ledger.audit.append(connection, "archive-restore-started", archive.manifest.id, about)
        putter = self._putter(db, archive, fits, dry_run=False)
        await putter.put_back()
        # Committed synchronously, so that the chunks before it are durable with it.
        async with db.acquire() as connection, transaction(connection):
            counts = {"inserted": putter.inserted, "present": putter.present, "refused": putter.refused}
            await ledger.audit.append(
                connection, "archive-restored", archive.manifest.id, {"archive": about["archive"], **counts}
            )
        return putter

    async def _dry(self, db: Database, archive: Archive, fits: Mapping[str, Fit]) -> Putter:
        async with db.acquire() as connection:
            putter = self._putter(db, archive, fits, dry_run=True, session=connection)
            with contextlib.suppress(Undone):
                async with transaction(connection):
                    await putter.put_back()
                    raise Undone
        return putter

    def _putter(
        self, db: Database, archive: Archive, fits: Mapping[str, Fit], *, dry_run: bool, **rest: Any
    ) -> Putter:
        job = Job(
            db=attrs.evolve(db, settings=self.settings),
            ledger=Ledger.of(),
            run_id=archive.manifest.id,
            epoch=0,
            shapes=tuple(found.shape for found in fits.values()),
            options=RunOptions(dry_run=dry_run),
            events=self.events,
            sealer=BlobSealer(None),
            data_key=b"",
            size=ChunkSize(target=self.settings.chunk_seconds),
            **rest,
        )
        for name in fits:
            self.events.emit(TableStarted(table=name, rows=archive.manifest.tables[name].rows))
        return Putter(job=job, archive=archive, fits=fits)


def _facts(found: Found) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": str(found.id),
        "state": found.state,
        "path": str(found.path),
        "problem": found.problem,
    }
    if (read := found.manifest) is not None:
        facts |= {
            "migration": read.migration,
            "version": read.version,
            "database": read.database,
            "created_at": read.created_at,
            "rows": read.rows,
            "bytes": read.size,
            "format": read.format,
            "kid": read.kid,
        }
    return facts


def _wanted(archive: Archive, tables: Sequence[str] | None) -> list[str]:
    there = archive.manifest.tables
    if tables is None:
        return list(there)
    for table in tables:
        if table not in there:
            raise UnknownName(
                f"there is no table {table!r} in archive {archive.manifest.id}",
                f"It holds {', '.join(there)}",
            )
    return list(dict.fromkeys(tables))


def _verify(archive: Archive, tables: Collection[str]) -> None:
    """Read every part that will be needed, before any row is put back."""
    for part in archive.manifest.parts:
        if part.rows.keys() & set(tables):
            archive.lines(part)


async def _compare(connection: PoolConnectionProxy[Any], archive: Archive) -> None:
    """Where the ledger here knows the run: has it ended, and is this what it archived?

    Raises:
        RefusedError: it has not.
        ArchiveError: it is not.
    """
    if await installed_version(connection) < _WITH_ARCHIVES:
        return
    ledger, read = Ledger.of(), archive.manifest
    for run in await ledger.runs.find(connection, run_id=read.id):
        if run["status"] in UNFINISHED:
            raise RefusedError(
                f"run {read.id}, which made the archive, has not ended",
                f"`datamig resume {read.id}` or `datamig rollback {read.id}` ends it",
            )
    known = {part.name: part.sha256 for part in await ledger.work.archive_parts(connection, read.id)}
    if known and known != {part.name: part.sha256 for part in read.parts}:
        raise ArchiveError(
            f"the archive in {archive.path} is not the one that the ledger here recorded",
            "Take the archive's folder from a copy",
        )


def _warnings(archive: Archive, db: Database) -> list[str]:
    read, warnings = archive.manifest, []
    if not archive.signed:
        warnings.append(
            "the archive is not sealed: whoever could write its folder could have changed it unseen"
        )
    if read.database != db.server.database:
        warnings.append(f"the archive was made from database {read.database}, this is {db.server.database}")
    return warnings


def _restored(putter: Putter, table: str, archive: Archive) -> RestoredTable:
    return RestoredTable(
        table=table,
        relation=putter.fits[table].shape.relation,
        archived_rows=archive.manifest.tables[table].rows,
        inserted_rows=putter.inserted[table],
        present_rows=putter.present[table],
        refused_rows=putter.refused[table],
    )

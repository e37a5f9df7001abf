"""The door to backups: make, restore, list, look into, verify, let go of."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import attrs
from anyio import to_thread

from taaxdog_datamig.backup.certificate import Certificate
from taaxdog_datamig.backup.choosing import Wishes
from taaxdog_datamig.backup.cleaning import Policy, Verdict, judge
from taaxdog_datamig.backup.create import create
from taaxdog_datamig.backup.loading import OpenBackup
from taaxdog_datamig.backup.orphans import Orphans
from taaxdog_datamig.backup.records import BackupDetails, BackupRecord
from taaxdog_datamig.backup.shelf import Shelf
from taaxdog_datamig.backup.stores import store_of
from taaxdog_datamig.checksum import named_tables
from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.profile import FittedProfile, Profile

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from taaxdog_datamig.backup.manifest import Manifest
    from taaxdog_datamig.backup.reports import RestoreReport
    from taaxdog_datamig.backup.stores import Store
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.settings import Settings

#: The class has a method of the name `list`.
Records: TypeAlias = list[BackupRecord]


@attrs.define
class BackupManager:
    """Makes backups of a database, and looks after them.

    Args:
        db: the database; None where backups are only looked at.
        settings: resolved settings; those of `db` by default.
        store: where backups are; the settings' `backup_dir` by default.
    """

    db: Database | None
    settings: Settings = attrs.field()
    store: Store = attrs.field(kw_only=True)

    @settings.default
    def _settings(self) -> Settings:
        assert self.db is not None
        return self.db.settings

    @store.default
    def _store(self) -> Store:
        return store_of(self.settings)

    @property
    def shelf(self) -> Shelf:
        """What lies in the store."""
        return Shelf(self.store, self.settings)

    async def create(
        self,
        *,
        tables: Collection[str] | None = None,
        exclude: Collection[str] = (),
        name: str = "",
        encrypt: bool = True,
        level: int = 1,
        jobs: int = 2,
        progress: Callable[[str, int], None] = lambda _label, _rows: None,
    ) -> BackupDetails:
        """Make a backup.

        Args:
            tables: logical or physical names; all tables by default.
            exclude: tables to leave out.
            name: for people.
            encrypt: seal it, where a key is configured.
            level: of zstd, 1 to 19.
            jobs: tables read at the same time.
            progress: is told of each part that is done: its table and rows.

        Raises:
            UnknownName: there is no such table.
            BackupError: it cannot be written, or a table cannot be read whole.
            DatabaseError: the server went away.
        """
        assert self.db is not None
        wishes = Wishes(
            name=name,
            tables=None if tables is None else await self._labels(tables),
            exclude=await self._labels(exclude),
            encrypt=encrypt,
            level=level,
            jobs=jobs,
        )
        made = await create(self.db, self.store, Keyring.from_settings(self.settings), wishes, progress)
        return BackupDetails.of(made, self.shelf.path(made.id), None)

    @server_errors("looking for the tables")
    async def _labels(self, names: Collection[str]) -> frozenset[str]:
        """The names as `schema.table`."""
        if not names:
            return frozenset()
        assert self.db is not None
        return frozenset(named.relation.label for named in await named_tables(self.db, names))

    @server_errors("looking for the tables")
    async def _labels_of_those_here(self, names: Collection[str]) -> dict[str, str]:
        """Names of tables that are here, logical or physical, to `schema.table`."""
        assert self.db is not None
        async with self.db.acquire() as connection:
            profile = await FittedProfile.fit(connection, Profile.load(self.settings.profile))
            found = {name: await profile.table(connection, name) for name in names}
        return {name: table.relation.label for name, table in found.items() if table is not None}

    async def restore(
        self,
        backup: str,
        tables: Collection[str] | None = None,
        *,
        dry_run: bool = False,
        exact: bool = False,
        cascade: bool = False,
        orphans: Orphans = "refuse",
        jobs: int = 2,
    ) -> RestoreReport:
        """Restore a backup into the database.

        Where none of the backup's tables is there, all are made and loaded; done again after a kill, it goes
        on. Else rows are brought back to what the backup has, in one transaction: missing ones inserted,
        changed ones updated, newer ones kept and counted.

        Args:
            backup: as for `show`.
            tables: logical names of tables that are here, `schema.name`, or the name alone where it is
                clear; all by default.
            dry_run: change nothing, and tell what would be done, in exact numbers.
            exact: delete rows that are not in the backup.
            cascade: with `exact`: delete, or take the reference from, what refers to them in other tables.
            orphans: what becomes of rows that refer to rows which do not exist, under foreign keys that are
                NOT VALID, NOT ENFORCED or switched off: `keep` brings them back. Other foreign keys hold.
            jobs: parts loaded or compared, and indexes built, at once.

        Raises:
            UnknownName: there is no such backup, or no such table in it.
            BackupError: it is incomplete or damaged; what is damaged is named.
            KeyMissing, KeyWrong: the key that sealed it is not configured.
            RefusedError: it does not fit the database, or rows are in the way. Nothing was changed.
            DatabaseError: the server could not be used.
        """
        from taaxdog_datamig.backup.restore import restore  # noqa: PLC0415  not for those who make one

        assert self.db is not None
        found, key = await self.find(backup)
        held = {name for table in found.tables for name in (table.label, table.root)}
        labels = await self._labels_of_those_here(tables or ())
        here = {name: label for name, label in labels.items() if label in held}
        return await restore(
            self.db,
            OpenBackup(store=self.store, manifest=found, key=key),
            None if tables is None else [here.get(name, name) for name in tables],
            dry_run=dry_run,
            exact=exact,
            cascade=cascade,
            orphans=orphans,
            jobs=jobs,
        )

    async def list(self) -> Records:
        """Every backup in the store, the latest first; incomplete and damaged ones, too."""
        return await to_thread.run_sync(self.shelf.records)

    async def show(self, backup: str) -> BackupDetails:
        """What a backup holds.

        Args:
            backup: its id, its name, or the beginning of its id; `latest` is the latest complete one.

        Raises:
            UnknownName, BackupError, KeyMissing, KeyWrong: as `verify`.
        """
        found, _ = await self.find(backup)
        proof = await to_thread.run_sync(self.shelf.proof_of, found)
        return BackupDetails.of(found, self.shelf.path(found.id), proof)

    async def verify(self, backup: str, *, on: Database | None = None) -> BackupDetails:
        """Read every part of a backup, open it and compare it with the manifest; keep a certificate of it.

        Args:
            backup: as for `show`.
            on: a database of a server on which the backup is restored, too, into a database of its own,
                compared, and dropped. Its role must be allowed to create databases.

        Raises:
            UnknownName: there is no such backup.
            BackupError: it is incomplete or damaged, or does not restore; what is damaged is named.
            KeyMissing, KeyWrong: the key that sealed it is not configured.
            RefusedError: it holds no schema, or there is no program that restores it.
            DatabaseError: the server could not be used.
        """
        from taaxdog_datamig.backup.proving import prove  # noqa: PLC0415  not for those who make one

        found, key = await self.find(backup)
        await to_thread.run_sync(self.shelf.read_all, found, key)
        proof = Certificate(at=datetime.now(UTC), proof="parts", rows=found.rows)
        if on is not None:
            compared = await prove(on, OpenBackup(store=self.store, manifest=found, key=key))
            async with server_errors("asking for the server's version"):
                version = await on.pool.fetchval("SELECT current_setting('server_version_num')::int")
            proof = attrs.evolve(proof, proof="restore", server_version=version, definitions=compared)
        proof = await to_thread.run_sync(self.shelf.certify, found, proof)
        return BackupDetails.of(found, self.shelf.path(found.id), proof)

    async def hold(self, backup: str, reason: str | None) -> BackupRecord:
        """Keep a backup whatever `clean` is told; with None for a reason, no more.

        Raises:
            UnknownName: there is no such backup.
        """
        found = await to_thread.run_sync(self.shelf.resolved, backup)
        await to_thread.run_sync(self.shelf.hold, found, reason)
        return next(record for record in await self.list() if record.id == found)

    async def clean(self, policy: Policy, *, apply: bool) -> Sequence[Verdict]:
        """Say which backups may go, and, if told to, let them go.

        The last good one, those on hold, and those that a run which can still be undone refers to, stay.

        Raises:
            UsageError: the policy has no rule.
        """
        from taaxdog_datamig.ledger import Ledger, installed_version  # noqa: PLC0415  slow to import

        if policy == Policy():
            raise UsageError("no rule says what may go", "Give --older-than 30d, --keep 7 or another")
        needed: frozenset[str] = frozenset()
        if self.db is not None:
            async with server_errors("looking for runs that need a backup"), self.db.acquire() as connection:
                if await installed_version(connection):
                    needed = await Ledger.of().runs.backups_needed(connection)
        verdicts = judge(await self.list(), policy, datetime.now(UTC), needed)
        if apply:
            for verdict in verdicts:
                if verdict.goes:
                    await to_thread.run_sync(self.shelf.delete, verdict.id)
        return verdicts

    async def find(self, backup: str) -> tuple[Manifest, bytes | None]:
        """A backup's manifest, authenticated, and the key of its parts.

        Raises:
            UnknownName, BackupError, KeyMissing, KeyWrong: see `verify`.
        """
        return await to_thread.run_sync(lambda: self.shelf.opened(self.shelf.resolved(backup)))

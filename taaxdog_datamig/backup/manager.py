"""The door to backups: make, restore, list, look into, verify, let go of."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import attrs
from anyio import to_thread

from taaxdog_datamig.backup import certificate, manifest
from taaxdog_datamig.backup.certificate import Certificate
from taaxdog_datamig.backup.cleaning import Policy, Verdict, judge
from taaxdog_datamig.backup.create import Wishes, create
from taaxdog_datamig.backup.loading import OpenBackup
from taaxdog_datamig.backup.parts import read_part
from taaxdog_datamig.backup.proving import prove
from taaxdog_datamig.backup.records import BackupDetails, BackupRecord
from taaxdog_datamig.backup.restore import restore
from taaxdog_datamig.backup.stores import store_of
from taaxdog_datamig.checksum import named_tables
from taaxdog_datamig.crypto import Keyring, document
from taaxdog_datamig.errors import BackupError, DatamigError, KeyMissing, UnknownName, UsageError
from taaxdog_datamig.ledger import Ledger, installed_version
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

#: Name of the object that says why a backup is kept whatever happens.
_HOLD = "hold"


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
        return BackupDetails.of(made, self._path(made.id), None)

    async def _labels(self, names: Collection[str]) -> frozenset[str]:
        """The names as `schema.table`."""
        if not names:
            return frozenset()
        assert self.db is not None
        return frozenset(named.relation.label for named in await named_tables(self.db, names))

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
            jobs: parts loaded, and indexes built, at once.

        Raises:
            UnknownName: there is no such backup, or no such table in it.
            BackupError: it is incomplete or damaged; what is damaged is named.
            KeyMissing, KeyWrong: the key that sealed it is not configured.
            RefusedError: it does not fit the database, or rows are in the way. Nothing was changed.
            DatabaseError: the server could not be used.
        """
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
            jobs=jobs,
        )

    async def list(self) -> Records:
        """Every backup in the store, the latest first; incomplete and damaged ones, too."""
        return await to_thread.run_sync(self._listed)

    def _listed(self) -> Records:
        sizes: dict[str, dict[str, int]] = defaultdict(dict)
        for path, size in self.store.sizes().items():
            backup, _, name = path.partition("/")
            if name:
                sizes[backup][name] = size
        return [self._record(backup, names) for backup, names in sorted(sizes.items(), reverse=True)]

    def _record(self, backup: str, names: dict[str, int]) -> BackupRecord:
        record = BackupRecord(
            id=backup,
            state="complete" if manifest.NAME in names else "incomplete",
            path=self._path(backup),
            size=sum(names.values()),
            hold=self._read(f"{backup}/{_HOLD}").decode(errors="replace") if _HOLD in names else "",
        )
        if record.state == "incomplete":
            return record
        where = f"{backup}/{manifest.NAME}"
        try:
            data = self._read(where)
            found = manifest.decode(data, where)
            verified = self._certificate(backup, data, found, names)
        except DatamigError as error:
            return attrs.evolve(record, state="damaged", problem=error.what)
        return attrs.evolve(
            record,
            name=found.name,
            created_at=found.created_at,
            database=found.database,
            whole=found.complete,
            tables=len(found.tables),
            rows=found.rows,
            encrypted=found.kid is not None,
            verified=verified,
        )

    async def show(self, backup: str) -> BackupDetails:
        """What a backup holds.

        Args:
            backup: its id, its name, or the beginning of its id; `latest` is the latest complete one.

        Raises:
            UnknownName, BackupError, KeyMissing, KeyWrong: as `verify`.
        """
        found, _ = await self.find(backup)
        names = await to_thread.run_sync(self.store.sizes, f"{found.id}/")
        data = await to_thread.run_sync(self._read, f"{found.id}/{manifest.NAME}")
        bare = {name.partition("/")[2]: size for name, size in names.items()}
        return BackupDetails.of(found, self._path(found.id), self._certificate(found.id, data, found, bare))

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
        found, key = await self.find(backup)
        await to_thread.run_sync(self._read_all, found, key)
        proof = Certificate(at=datetime.now(UTC), proof="parts", rows=found.rows)
        if on is not None:
            compared = await prove(on, OpenBackup(store=self.store, manifest=found, key=key))
            version = await on.pool.fetchval("SELECT current_setting('server_version_num')::int")
            proof = attrs.evolve(proof, proof="restore", server_version=version, definitions=compared)
        proof = await to_thread.run_sync(self.certify, found, proof)
        return BackupDetails.of(found, self._path(found.id), proof)

    def _read_all(self, found: Manifest, key: bytes | None) -> None:
        for part in found.parts.values():
            for _ in read_part(self.store, found.id, part, key=key):
                pass

    def certify(self, found: Manifest, proof: Certificate) -> Certificate:
        """Keep a certificate beside a backup; returns it as it is kept. Blocks."""
        data = self._read(f"{found.id}/{manifest.NAME}")
        proof = attrs.evolve(proof, manifest=certificate.digest(data))
        sign = manifest.signer(found.kid, Keyring.from_settings(self.settings))
        with self.store.writer(f"{found.id}/{certificate.NAME}") as write:
            write(proof.encode(sign))
        return proof

    def _certificate(
        self, backup: str, data: bytes, found: Manifest, names: dict[str, int]
    ) -> Certificate | None:
        """The certificate of this very backup; None without one, or where no key is here to prove it."""
        keyring = Keyring.from_settings(self.settings)
        if certificate.NAME not in names or (found.kid is not None and keyring is None):
            return None
        where = f"{backup}/{certificate.NAME}"
        proof = self._read(where)
        sign = document.unkeyed if found.kid is None else manifest.signer(found.kid, keyring)
        read = certificate.decode(proof, where)
        ours = document.is_signed(proof, sign) and read.manifest == certificate.digest(data)
        return read if ours else None

    async def hold(self, backup: str, reason: str | None) -> BackupRecord:
        """Keep a backup whatever `clean` is told; with None for a reason, no more.

        Raises:
            UnknownName: there is no such backup.
        """
        name = f"{await self._resolved(backup)}/{_HOLD}"

        def put() -> None:
            if reason is None:
                self.store.delete(name)
                return
            with self.store.writer(name) as write:
                write((reason or "no reason given").encode())

        await to_thread.run_sync(put)
        return next(record for record in await self.list() if name.startswith(f"{record.id}/"))

    async def clean(self, policy: Policy, *, apply: bool) -> Sequence[Verdict]:
        """Say which backups may go, and, if told to, let them go.

        The last good one, those on hold, and those that a run which can still be undone refers to, stay.

        Raises:
            UsageError: the policy has no rule.
        """
        if policy == Policy():
            raise UsageError("no rule says what may go", "Give --older-than 30d, --keep 7 or another")
        needed: frozenset[str] = frozenset()
        if self.db is not None:
            async with self.db.acquire() as connection:
                if await installed_version(connection):
                    needed = await Ledger.of().runs.backups_needed(connection)
        verdicts = judge(await self.list(), policy, datetime.now(UTC), needed)
        if apply:
            for verdict in verdicts:
                if verdict.goes:
                    await to_thread.run_sync(self._delete, verdict.id)
        return verdicts

    def _delete(self, backup: str) -> None:
        names = list(self.store.sizes(f"{backup}/"))
        # The manifest first: half a backup must not look like one.
        for name in sorted(names, key=lambda name: not name.endswith(f"/{manifest.NAME}")):
            self.store.delete(name)

    async def find(self, backup: str) -> tuple[Manifest, bytes | None]:
        """A backup's manifest, authenticated, and the key of its parts.

        Raises:
            UnknownName, BackupError, KeyMissing, KeyWrong: see `verify`.
        """
        return await to_thread.run_sync(self._opened, await self._resolved(backup))

    async def _resolved(self, wanted: str) -> str:
        records = await self.list()
        if any(record.id == wanted for record in records):
            return wanted
        named = [record.id for record in records if wanted and record.name == wanted]
        begun = [record.id for record in records if record.id.startswith(wanted)]
        if wanted == "latest":
            begun = [record.id for record in records if record.state == "complete"][:1]
        found = named[:1] or begun
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownName(f"{len(found)} backups begin with {wanted!r}", "Give more of the id")
        raise UnknownName(
            f"there is no backup {wanted!r} in {self.store.address}",
            "`datamig backup list` shows them; backup_dir (BACKUP_DIR) says where they are",
        )

    def _opened(self, backup: str) -> tuple[Manifest, bytes | None]:
        where = f"{backup}/{manifest.NAME}"
        data = self._read(where)
        found = manifest.decode(data, where)
        keyring = Keyring.from_settings(self.settings)
        key = None
        if found.kid is not None:
            if keyring is None:
                raise KeyMissing(
                    f"backup {backup} is sealed under key {found.kid}, and no key is configured",
                    "Set FIELD_ENCRYPTION_KEY (or _FILE) to that key",
                )
            assert found.data_key is not None
            key = keyring.unwrap(found.kid, found.data_key, f"backup|{backup}")
        manifest.authenticate(data, found, keyring, where)
        if found.id != backup:
            raise BackupError(f"the folder {backup} holds the backup {found.id}", "Give it its name back")
        return found, key

    def _read(self, name: str) -> bytes:
        size = self.store.sizes(name).get(name)
        if size is None and name.endswith(manifest.NAME):
            raise BackupError(
                f"{name} is not there: the backup was never finished",
                "Make another; `datamig backup clean` takes this one away",
            )
        if size is not None and size > manifest.MOST:
            raise BackupError(f"{name} has {size:,} bytes: it is damaged or was changed")
        return b"".join(self.store.read(name))

    def _path(self, backup: str) -> str:
        return f"{self.store.address}/{backup}"

"""The door to backups: make, list, look into, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from anyio import to_thread

from taaxdog_datamig.backup import manifest
from taaxdog_datamig.backup.create import Wishes, create
from taaxdog_datamig.backup.parts import read_part
from taaxdog_datamig.backup.stores import DirectoryStore
from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.errors import BackupError, KeyMissing

if TYPE_CHECKING:
    from taaxdog_datamig.backup.manifest import Manifest
    from taaxdog_datamig.backup.stores import Store
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.settings import Settings


@attrs.define
class BackupManager:
    """Makes backups of a database, and looks after them.

    Args:
        db: the database; None where backups are only looked at.
        settings: resolved settings; those of `db` by default.
        store: where backups are; the folder of the settings' `backup_dir` by default.
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
        return DirectoryStore(self.settings.backup_dir.absolute())

    async def create(self, wishes: Wishes | None = None) -> Manifest:
        """Make a backup; see `create.create`."""
        assert self.db is not None
        return await create(self.db, self.store, Keyring.from_settings(self.settings), wishes or Wishes())

    async def verify(self, backup: str) -> Manifest:
        """Read every part of a backup.

        Raises:
            BackupError: it is not there, incomplete or damaged; what is damaged is named.
            KeyMissing, KeyWrong: the key that sealed it is not configured.
        """
        return await to_thread.run_sync(self._verified, backup)

    def _verified(self, backup: str) -> Manifest:
        found, key = self.opened(backup)
        for part in found.parts.values():
            for _ in read_part(self.store, backup, part, key=key):
                pass
        return found

    def opened(self, backup: str) -> tuple[Manifest, bytes | None]:
        """The manifest, authenticated, and the key of the parts. Blocks.

        Raises:
            BackupError, KeyMissing, KeyWrong: see `verify`.
        """
        where = f"{backup}/{manifest.NAME}"
        data = b"".join(self.store.read(where))
        found = manifest.decode(data, where)
        keyring = Keyring.from_settings(self.settings)
        if found.kid is None:
            key = None
        elif keyring is None:
            raise KeyMissing(
                f"backup {backup} is sealed under key {found.kid}, and no key is configured",
                "Set FIELD_ENCRYPTION_KEY (or _FILE) to that key",
            )
        else:
            assert found.data_key is not None
            key = keyring.unwrap(found.kid, found.data_key, f"backup|{backup}")
        manifest.authenticate(data, found, keyring, where)
        if found.id != backup:
            raise BackupError(f"the folder {backup} holds the backup {found.id}", "Give it its name back")
        return found, key

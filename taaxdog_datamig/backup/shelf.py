"""What lies in a store: which backups there are, and what may be believed of each. Its methods block."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.backup import certificate, manifest
from taaxdog_datamig.backup.certificate import Certificate
from taaxdog_datamig.backup.parts import read_part
from taaxdog_datamig.backup.records import BackupRecord
from taaxdog_datamig.crypto import Keyring, document
from taaxdog_datamig.errors import BackupError, DatamigError, KeyMissing, UnknownName

if TYPE_CHECKING:
    from collections.abc import Collection

    from taaxdog_datamig.backup.manifest import Manifest
    from taaxdog_datamig.backup.stores import Store
    from taaxdog_datamig.settings import Settings

#: Name of the object that says why a backup is kept whatever happens.
_HOLD = "hold"


@attrs.frozen
class Shelf:
    """The backups of a store.

    Args:
        store: where they are.
        settings: whose keys open them.
    """

    store: Store
    settings: Settings

    def records(self) -> list[BackupRecord]:
        """Every backup, the latest first; incomplete and damaged ones, too."""
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
            path=self.path(backup),
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

    def resolved(self, wanted: str) -> str:
        """The id of the backup of that id, name, or beginning of an id; or of the `latest` complete one.

        Raises:
            UnknownName: there is none, or several.
        """
        records = self.records()
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

    def opened(self, backup: str) -> tuple[Manifest, bytes | None]:
        """A backup's manifest, authenticated, and the key of its parts.

        Raises:
            BackupError, KeyMissing, KeyWrong: see `BackupManager.verify`.
        """
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
            key = keyring.unwrap(found.kid, found.data_key, f"backup|{found.id}")
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

    def path(self, backup: str) -> str:
        """Where a backup is, for people."""
        return f"{self.store.address}/{backup}"

    def read_all(self, found: Manifest, key: bytes | None) -> None:
        """Read every part, open it and compare it with the manifest.

        Raises:
            BackupError: a part is damaged or missing; it is named.
        """
        for part in found.parts.values():
            for _ in read_part(self.store, found.id, part, key=key):
                pass

    def proof_of(self, found: Manifest) -> Certificate | None:
        """The certificate of this very backup; None without one, or where no key is here to prove it."""
        names = {name.partition("/")[2] for name in self.store.sizes(f"{found.id}/")}
        return self._certificate(found.id, self._read(f"{found.id}/{manifest.NAME}"), found, names)

    def certify(self, found: Manifest, proof: Certificate) -> Certificate:
        """Keep a certificate beside a backup; returns it as it is kept. Blocks."""
        data = self._read(f"{found.id}/{manifest.NAME}")
        proof = attrs.evolve(proof, manifest=certificate.digest(data))
        sign = manifest.signer(found.kid, Keyring.from_settings(self.settings))
        with self.store.writer(f"{found.id}/{certificate.NAME}") as write:
            write(proof.encode(sign))
        return proof

    def _certificate(
        self, backup: str, data: bytes, found: Manifest, names: Collection[str]
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

    def hold(self, backup: str, reason: str | None) -> None:
        """Have a backup kept whatever `clean` is told; with None for a reason, no more."""
        name = f"{backup}/{_HOLD}"
        if reason is None:
            self.store.delete(name)
            return
        with self.store.writer(name) as write:
            write((reason or "no reason given").encode())

    def delete(self, backup: str) -> None:
        """Take a backup away."""
        names = list(self.store.sizes(f"{backup}/"))
        # The manifest first: half a backup must not look like one.
        for name in sorted(names, key=lambda name: not name.endswith(f"/{manifest.NAME}")):
            self.store.delete(name)

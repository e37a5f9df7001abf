"""What people are told of backups."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from taaxdog_datamig.backup.certificate import Certificate
    from taaxdog_datamig.backup.manifest import Manifest


@attrs.frozen(kw_only=True)
class TableInBackup:
    """A table's rows in a backup."""

    rows: int
    #: Bytes of its streams, before compression.
    bytes: int
    #: SHA-256 over the SHA-256s of its parts as they are stored, in hex.
    checksum: str


@attrs.frozen(kw_only=True)
class BackupRecord:
    """A backup as `list` shows it."""

    id: str
    #: complete; incomplete: it has no manifest, so it is none; damaged: its manifest cannot be read.
    state: Literal["complete", "incomplete", "damaged"]
    path: str
    #: Bytes in the store.
    size: int
    #: Why it is kept whatever `clean` is told; empty when it is not on hold.
    hold: str = ""
    #: The fields below are None, or empty, without a manifest.
    name: str = ""
    created_at: datetime | None = None
    database: str | None = None
    whole: bool | None = None
    tables: int | None = None
    rows: int | None = None
    encrypted: bool | None = None
    #: The last verification, and what it went through.
    verified: Certificate | None = None
    problem: str = ""


@attrs.frozen(kw_only=True)
class BackupDetails:
    """A backup as `show` and `create` show it."""

    id: str
    name: str
    path: str
    created_at: datetime
    #: From the first byte to the manifest.
    seconds: float
    database: str
    server_version: int
    #: Whether all tables are in it, and whether the schema is.
    whole: bool
    with_schema: bool
    encrypted: bool
    kid: str | None
    tables: Mapping[str, TableInBackup]
    rows: int
    large_objects: int
    #: As it is stored, and before compression.
    size: int
    plain_size: int
    verified: Certificate | None
    warnings: tuple[str, ...]

    @classmethod
    def of(cls, manifest: Manifest, path: str, verified: Certificate | None) -> BackupDetails:
        """What a manifest says."""
        tables = {}
        for table in manifest.tables:
            digests = b"".join(manifest.parts[name].sha256 for name in table.parts)
            tables[table.label] = TableInBackup(
                rows=table.rows, bytes=table.size, checksum=hashlib.sha256(digests).hexdigest()
            )
        return cls(
            id=manifest.id,
            name=manifest.name,
            path=path,
            created_at=manifest.created_at,
            seconds=(manifest.finished_at - manifest.created_at).total_seconds(),
            database=manifest.database,
            server_version=manifest.server_version,
            whole=manifest.complete,
            with_schema=manifest.schema_part is not None,
            encrypted=manifest.kid is not None,
            kid=manifest.kid,
            tables=tables,
            rows=manifest.rows,
            large_objects=0 if manifest.large_objects is None else manifest.large_objects.objects,
            size=manifest.size,
            plain_size=sum(part.plain_size for part in manifest.parts.values()),
            verified=verified,
            warnings=manifest.warnings,
        )

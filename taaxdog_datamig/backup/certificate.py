"""What is kept of the last verification of a backup: beside it, signed like its manifest."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import attrs
import orjson

from taaxdog_datamig.crypto import document
from taaxdog_datamig.errors import BackupError

if TYPE_CHECKING:
    from taaxdog_datamig.crypto.document import Sign

NAME = "certificate.json"
SCHEMA = "datamig/backup-certificate/1"


@attrs.frozen(kw_only=True)
class Certificate:
    """A verification that found nothing wrong."""

    at: datetime
    #: parts: every part was read, opened and compared; restore: the backup was restored and compared, too.
    proof: Literal["parts", "restore"]
    rows: int
    #: server_version_num of the server it was restored on; None for parts.
    server_version: int | None = None
    #: Whether the restored definitions were compared, too: not where that server's version is another.
    definitions: bool = False
    #: SHA-256 of the manifest, in hex: the certificate is for this backup and no other.
    manifest: str = ""

    def encode(self, sign: Sign) -> bytes:
        """The object in the store."""
        return document.encode({"schema": SCHEMA, **attrs.asdict(self), "at": self.at.isoformat()}, sign)


def digest(manifest: bytes) -> str:
    """What names a manifest in its certificate."""
    return hashlib.sha256(manifest).hexdigest()


def decode(data: bytes, where: str) -> Certificate:
    """Read a certificate, which is not authenticated by that.

    Raises:
        BackupError: it is damaged.
    """
    try:
        body: dict[str, Any] = orjson.loads(data)
        known = body.pop("schema") == SCHEMA
        del body["checksum"]
        read = Certificate(**body | {"at": datetime.fromisoformat(body["at"])})
    except (ValueError, TypeError, KeyError, AttributeError):
        known = False
    if not known:
        raise BackupError(f"{where} is damaged or was changed", "Verify the backup again")
    return read

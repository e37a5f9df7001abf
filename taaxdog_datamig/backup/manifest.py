"""The manifest of a backup: written last, it makes the parts a backup; docs/reference/backup-format.md."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from taaxdog_datamig.backup.parts import Part
from taaxdog_datamig.crypto import Keyring, document
from taaxdog_datamig.errors import BackupError

if TYPE_CHECKING:
    from taaxdog_datamig.crypto.document import Sign

NAME = "manifest.json"
SCHEMA = "datamig/backup/1"
#: Largest manifest that is read, bytes.
MOST = 256 << 20
#: Names of parts. Nobody else's manifest can name what is not in its backup's folder.
_NAME = re.compile(r"([a-z]+/)?[a-z0-9]+(\.[a-z0-9]+)*")


@attrs.frozen(kw_only=True)
class BackedUpTable:
    """A table's rows in a backup: of a table, or of one partition."""

    schema: str
    name: str
    #: Column to its type as format_type spells it, in the order of the stream; generated ones are left out.
    columns: Mapping[str, str]
    #: Of COPY: `binary`, or `text` where a type has no portable binary form.
    format: str
    #: The partitioned table at the top, `schema.name`, if the rows are a partition's.
    root: str | None
    #: Names of the parts that hold its rows, in their order.
    parts: tuple[str, ...]
    rows: int
    #: Bytes of its streams, before compression.
    size: int

    @property
    def label(self) -> str:
        """The qualified name."""
        return f"{self.schema}.{self.name}"


@attrs.frozen(kw_only=True)
class BackedUpSequence:
    """A sequence's state. It is read after the snapshot, which it is no part of."""

    schema: str
    name: str
    last_value: int
    is_called: bool


@attrs.frozen(kw_only=True)
class BackedUpLargeObjects:
    """The large objects of the database. Their parts hold rows of two tables, as if these were a user's."""

    objects: int
    #: Bytes from one page number to the next.
    page_size: int
    #: COPY's text: oid, owner, privileges, comment.
    list_parts: tuple[str, ...]
    #: COPY's binary form: oid, number of the page, its bytes. A page that is not there is a hole.
    page_parts: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Manifest:
    """What a manifest says."""

    id: str
    #: Given by whoever made it; may be empty.
    name: str
    created_at: datetime
    finished_at: datetime
    database: str
    #: server_version_num, and the version of the program that dumped the schema (None without one).
    server_version: int
    pg_dump_version: str | None
    #: Of the database. Rows are in UTF-8, unless it is SQL_ASCII, which says nothing of its bytes.
    encoding: str
    #: Write-ahead log position at the snapshot.
    lsn: str
    #: Whether all tables are in it.
    complete: bool
    #: The master key that wraps the data key and signs; None where nothing is sealed.
    kid: str | None
    data_key: bytes | None = attrs.field(repr=False)
    tables: tuple[BackedUpTable, ...]
    sequences: tuple[BackedUpSequence, ...]
    #: Names of the parts that are no table's: the schema (an archive of pg_dump).
    schema_part: str | None
    parts: Mapping[str, Part]
    warnings: tuple[str, ...] = ()
    #: Materialized views, `schema.name`, that held rows. Their definitions alone are in the schema.
    filled_views: tuple[str, ...] = ()
    #: None where there are none, or where they were left out.
    large_objects: BackedUpLargeObjects | None = None

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables)

    @property
    def size(self) -> int:
        """Bytes of all parts, as they are stored."""
        return sum(part.size for part in self.parts.values())

    def encode(self, sign: Sign) -> bytes:
        """The object in the store. `sign` makes the 32 bytes of its checksum."""
        body = attrs.asdict(self, recurse=False) | {
            "schema": SCHEMA,
            "created_at": self.created_at.isoformat(),
            "finished_at": self.finished_at.isoformat(),
            "data_key": None if self.data_key is None else b64encode(self.data_key).decode(),
            "tables": [attrs.asdict(table) for table in self.tables],
            "large_objects": None if self.large_objects is None else attrs.asdict(self.large_objects),
            "sequences": [attrs.asdict(sequence) for sequence in self.sequences],
            "parts": [attrs.asdict(part) | {"sha256": part.sha256.hex()} for part in self.parts.values()],
        }
        return document.encode({"schema": body.pop("schema"), **body}, sign)


def signer(kid: str | None, keyring: Keyring | None) -> Sign:
    """What makes the checksum.

    Raises:
        KeyWrong: the key is not in the keyring.
    """
    if kid is None:
        return document.unkeyed
    assert keyring is not None
    return partial(keyring.sign, kid)


def decode(data: bytes, where: str) -> Manifest:
    """Read a manifest. It is not authenticated: `authenticate` does that.

    Raises:
        BackupError: it is damaged, or of a format that this version does not know.
    """
    try:
        body: dict[str, Any] = orjson.loads(data)
        if body.pop("schema") != SCHEMA:
            raise BackupError(f"{where} is of another format", f"This version reads {SCHEMA}")
        del body["checksum"]
        parts = [Part(**part | {"sha256": bytes.fromhex(part["sha256"])}) for part in body.pop("parts")]
        key = body.pop("data_key")
        found = Manifest(
            **body
            | {
                "created_at": datetime.fromisoformat(body["created_at"]),
                "finished_at": datetime.fromisoformat(body["finished_at"]),
                "data_key": None if key is None else b64decode(key, validate=True),
                "tables": tuple(
                    BackedUpTable(**table | {"parts": tuple(table["parts"])}) for table in body["tables"]
                ),
                "sequences": tuple(BackedUpSequence(**sequence) for sequence in body["sequences"]),
                "parts": {part.name: part for part in parts},
                "warnings": tuple(body["warnings"]),
                "filled_views": tuple(body["filled_views"]),
                "large_objects": _large_objects(body["large_objects"]),
            }
        )
        _check(found)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise damaged(where) from None
    return found


def _check(found: Manifest) -> None:
    """Raise a ValueError for what no manifest of ours says: without a key, anybody may have written it."""
    for part in found.parts.values():
        numbers = (part.size, part.plain_size, part.rows)
        if not _NAME.fullmatch(part.name) or not all(type(n) is int and n >= 0 for n in numbers):
            raise ValueError
    named = [name for table in found.tables for name in table.parts]
    named += [found.schema_part] if found.schema_part is not None else []
    if found.large_objects is not None:
        named += [*found.large_objects.list_parts, *found.large_objects.page_parts]
    if len(set(named)) < len(named) or not found.parts.keys() >= set(named):
        raise ValueError


def _large_objects(body: dict[str, Any] | None) -> BackedUpLargeObjects | None:
    if body is None:
        return None
    names = {name: tuple(body[name]) for name in ("list_parts", "page_parts")}
    return BackedUpLargeObjects(**body | names)


def authenticate(data: bytes, manifest: Manifest, keyring: Keyring | None, where: str) -> None:
    """Make sure that the manifest is as it was written.

    Raises:
        BackupError: it was changed.
        KeyMissing, KeyWrong: its key is not configured.
    """
    if not document.is_signed(data, signer(manifest.kid, keyring)):
        raise damaged(where)


def damaged(where: str) -> BackupError:
    """A manifest that is not what was written."""
    return BackupError(
        f"{where} is damaged or was changed", "Take the backup's folder from a copy, and look at the disk"
    )

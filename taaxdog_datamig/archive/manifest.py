"""The manifest of an archive: all that is needed to read it and to put its rows back, without the ledger.

It is JSON, written last, and signed by its last field (see `crypto.document`), under the master key that
sealed the archive; docs/reference/archive-format.md describes it.
"""

from __future__ import annotations

import re
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import attrs
import orjson

from taaxdog_datamig.archive.forms import form_of
from taaxdog_datamig.crypto import Keyring, document
from taaxdog_datamig.crypto.document import Sign
from taaxdog_datamig.errors import ArchiveError
from taaxdog_datamig.ledger import ArchivePart
from taaxdog_datamig.pg.rows import Shape

NAME = "manifest.json"
SCHEMA = "datamig/archive/1"
#: Largest manifest that is read, bytes: 100,000 parts have about 40 MB.
MOST = 256 << 20
#: Names of parts: no other file is opened, whatever a manifest says.
PART = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\.\d+)?\.(jsonl\.zst|parquet)(\.sealed)?")


@attrs.frozen(kw_only=True)
class ArchivedTable:
    """A table as it was when its rows were archived."""

    #: Quoted and qualified name.
    relation: str
    #: Physical names of the columns that name a row.
    key: tuple[str, ...]
    #: Physical name to SQL type, of every column that could be written.
    columns: Mapping[str, str]
    #: How many rows of it there are in the archive.
    rows: int
    #: Foreign keys that rows of it broke, by name: they come back as broken as they were.
    loose: tuple[str, ...] = ()

    @staticmethod
    def describe(shape: Shape, relation: str, loose: Sequence[str]) -> dict[str, Any]:
        """For the ledger: a table by its shape; `relation` is the table where the shape is at a partition."""
        return {
            "loose": list(loose),
            "relation": relation,
            "key": [field.column for field in shape.key],
            "columns": {field.column: field.type for field in shape.columns},
        }


@attrs.frozen(kw_only=True)
class Manifest:
    """What a manifest says."""

    id: uuid.UUID
    migration: str
    version: str
    database: str
    created_at: datetime
    #: The master key that wraps the data key and signs; None where nothing is sealed.
    kid: str | None
    #: The data key as `Keyring.wrap` sealed it.
    data_key: bytes | None = attrs.field(repr=False)
    tables: Mapping[str, ArchivedTable]
    parts: Sequence[ArchivePart]

    @property
    def format(self) -> str:
        """`jsonl` or `parquet`; both where the setting changed while the run was paused."""
        return " and ".join(sorted({form_of(part.name) for part in self.parts}))

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    def encode(self, sign: Sign) -> bytes:
        """The file. `sign` makes the 32 bytes of its checksum."""
        body = {
            "schema": SCHEMA,
            "id": str(self.id),
            "migration": self.migration,
            "version": self.version,
            "database": self.database,
            "created_at": self.created_at.isoformat(),
            "kid": self.kid,
            "data_key": None if self.data_key is None else b64encode(self.data_key).decode(),
            "tables": {name: attrs.asdict(table) for name, table in self.tables.items()},
            "parts": [
                {"name": part.name, "bytes": part.size, "sha256": part.sha256.hex(), "rows": part.rows}
                for part in self.parts
            ],
        }
        return document.encode(body, sign)


def tables_of(parts: Sequence[ArchivePart]) -> dict[str, ArchivedTable]:
    """The tables of all parts. Columns that came or went while the run was paused are all there."""
    known: dict[str, dict[str, Any]] = {}
    rows: dict[str, int] = {}
    for part in parts:
        for name, table in part.tables.items():
            earlier = known.get(name, {"columns": {}, "loose": []})
            known[name] = {
                **table,
                "columns": {**earlier["columns"], **table["columns"]},
                "loose": sorted({*earlier["loose"], *table["loose"]}),
            }
        for name, number in part.rows.items():
            rows[name] = rows.get(name, 0) + number
    return {
        name: ArchivedTable(
            relation=table["relation"],
            key=tuple(table["key"]),
            columns=table["columns"],
            rows=rows[name],
            loose=tuple(table["loose"]),
        )
        for name, table in sorted(known.items())
    }


def decode(data: bytes, where: str) -> Manifest:
    """Read a manifest. It is not authenticated: `authenticate` does that.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        ArchiveError: it is damaged, or of a format that this version does not know.
    """
    try:
        body = orjson.loads(data)
        if body["schema"] != SCHEMA:
            raise ArchiveError(f"{where} has schema {body['schema']!r}", f"This version reads {SCHEMA}")
        manifest = Manifest(
            id=uuid.UUID(body["id"]),
            migration=str(body["migration"]),
            version=str(body["version"]),
            database=str(body["database"]),
            created_at=datetime.fromisoformat(body["created_at"]),
            kid=body["kid"],
            data_key=None if body["data_key"] is None else b64decode(body["data_key"], validate=True),
            tables={
                str(name): ArchivedTable(
                    relation=str(table["relation"]),
                    key=tuple(str(column) for column in table["key"]),
                    columns={str(column): str(kind) for column, kind in table["columns"].items()},
                    rows=int(table["rows"]),
                    loose=tuple(str(key) for key in table["loose"]),
                )
                for name, table in body["tables"].items()
            },
            parts=[
                ArchivePart(
                    name=str(part["name"]),
                    size=int(part["bytes"]),
                    sha256=bytes.fromhex(part["sha256"]),
                    rows={str(name): int(rows) for name, rows in part["rows"].items()},
                )
                for part in body["parts"]
            ],
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise _damaged(where) from None
    if not _plausible(manifest):
        raise _damaged(where)
    if manifest.kid is None and not document.is_signed(data, document.unkeyed):
        raise _damaged(where)
    return manifest


def authenticate(data: bytes, manifest: Manifest, keyring: Keyring, where: str) -> None:
    """Make sure that the manifest is as it was written.

    Raises:
        ArchiveError: it was changed.
        KeyWrong: its key is not in the keyring.
    """
    assert manifest.kid is not None
    if not document.is_signed(data, partial(keyring.sign, manifest.kid)):
        raise _damaged(where)


def _plausible(manifest: Manifest) -> bool:
    counts: dict[str, int] = {}
    for part in manifest.parts:
        for name, rows in part.rows.items():
            counts[name] = counts.get(name, 0) + rows
    sealed = manifest.kid is not None
    return (
        (manifest.data_key is not None) == sealed
        and all(
            PART.fullmatch(part.name) and part.name.endswith(".sealed") == sealed for part in manifest.parts
        )
        and len({part.name for part in manifest.parts}) == len(manifest.parts)
        and counts == {name: table.rows for name, table in manifest.tables.items()}
        and all(table.key and set(table.key) <= table.columns.keys() for table in manifest.tables.values())
    )


def _damaged(where: str) -> ArchiveError:
    return ArchiveError(
        f"{where} is damaged or was changed", "Take the archive's folder from a copy, and look at the disk"
    )

"""Writes an archive: a folder for each run, a part (or one for each table) for each chunk, the manifest last.

A part is sealed under the run's data key (in the form of `crypto.seal`), or only compressed where no key is
configured. It is written under another name, synced, renamed, and read back before the chunk is committed.
Only parts that the ledger names belong to the archive: those of a chunk that was never committed are taken
away when the manifest is written.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from taaxdog_datamig.archive import forms, manifest
from taaxdog_datamig.archive.manifest import Manifest, tables_of
from taaxdog_datamig.crypto import BlobSealer
from taaxdog_datamig.crypto.document import Sign, unkeyed
from taaxdog_datamig.errors import ArchiveError, TokenError
from taaxdog_datamig.ledger import ArchivePart

_COMPRESSED = b"\x01"  # the form byte of crypto.seal, left out so that `zstd -d` reads the file
_UNFINISHED = ".unfinished"


def part_context(run_id: uuid.UUID, name: str) -> str:
    """What binds a sealed part to its place."""
    return f"archive|{run_id}|{name}"


def open_part(sealer: BlobSealer, run_id: uuid.UUID, name: str, data: bytes) -> bytes:
    """What is in a part's file.

    Raises:
        TokenError: it does not open.
    """
    if sealer.sealing:
        return sealer.open(data, part_context(run_id, name))
    return (
        data
        if forms.form_of(name) == "parquet"
        else sealer.open(_COMPRESSED + data, part_context(run_id, name))
    )


@attrs.frozen(kw_only=True)
class ArchiveWriter:
    """The archive of one run."""

    #: Of all archives; this one is a folder in it, named by the run.
    folder: Path
    run_id: uuid.UUID
    sealer: BlobSealer = attrs.field(repr=False)
    #: "jsonl" or "parquet".
    form: str = "jsonl"
    #: Makes the manifest's checksum.
    sign: Sign = attrs.field(default=unkeyed, repr=False)

    @property
    def path(self) -> Path:
        """Where the parts are."""
        return self.folder / str(self.run_id)

    def write(
        self,
        token: uuid.UUID,
        lines: Sequence[bytes],
        rows: Mapping[str, int],
        tables: Mapping[str, Any],
    ) -> list[ArchivePart]:
        """Write the parts of a chunk and read them back. Blocks; call it on a thread.

        Args:
            token: of the chunk; names the parts.
            lines: JSON lines, each piece ending with a line's end.
            rows: how many lines there are, by table.
            tables: what each table is like, see `ArchivedTable.describe`.

        Raises:
            ArchiveError: they cannot be written, or do not read back as they were.
        """
        whole = b"".join(lines)
        pieces = forms.encode(self.form, whole, rows)
        parts, back = [], 0
        for number, piece in enumerate(pieces):
            suffix = f".{number:03}" if self.form == "parquet" else ""
            name = f"{token}{suffix}{forms.FORMATS[self.form]}" + (".sealed" if self.sealer.sealing else "")
            data = self._closed(name, piece.payload)
            read = self._opened(name, self._written(name, data))
            if read != piece.payload:
                raise self._different(name)
            back += read.count(b"\n") if self.form == "jsonl" else self._compared(name, read, whole)
            parts.append(
                ArchivePart(
                    name=name,
                    size=len(data),
                    sha256=hashlib.sha256(data).digest(),
                    rows=dict(piece.rows),
                    tables={table: tables[table] for table in piece.rows},
                )
            )
        if back != sum(rows.values()):
            raise self._different(str(token))
        return parts

    def _compared(self, name: str, payload: bytes, lines: bytes) -> int:
        """Compare what Parquet gives back, row for row, with the lines; returns how many rows it has."""
        back = list(forms.parsed(forms.decode(self.form, payload)))
        table = back[0][0]
        given = forms.parsed(lines.split(b"\n")[:-1])
        if back != [(found, row) for found, row in given if found == table]:
            raise self._different(name)
        return len(back)

    def _closed(self, name: str, payload: bytes) -> bytes:
        if not self.sealer.sealing and self.form == "parquet":
            return payload
        blob = self.sealer.seal(payload, part_context(self.run_id, name))
        return blob if self.sealer.sealing else blob[1:]

    def _opened(self, name: str, data: bytes) -> bytes:
        try:
            return open_part(self.sealer, self.run_id, name, data)
        except TokenError:
            raise self._different(name) from None

    def _written(self, name: str, data: bytes) -> bytes:
        """Write a file; returns what is in it then."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_durably(self.path / name, data)
            return (self.path / name).read_bytes()
        except OSError as error:
            raise self._unwritable("archive", error) from None

    def missing(self, parts: Sequence[ArchivePart]) -> list[str]:
        """Names of parts that are not in the folder, or not as long as they were."""
        return [part.name for part in parts if _size(self.path / part.name) != part.size]

    def finish(self, parts: Sequence[ArchivePart], **about: Any) -> None:
        """Write the manifest, and take away parts that belong to no committed chunk.

        Args:
            parts: as the ledger names them.
            about: the fields of `Manifest` that only the caller knows: migration, version, database,
                created_at, kid, data_key.

        Raises:
            ArchiveError: it cannot be written, or a part is missing.
        """
        if gone := self.missing(parts):
            raise ArchiveError(
                f"part {gone[0]} of the archive in {self.path} is missing or cut short",
                "Bring it back, or undo the run with `datamig rollback`, which needs no archive",
            )
        whole = Manifest(id=self.run_id, tables=tables_of(parts), parts=list(parts), **about)
        known = {part.name for part in parts}
        try:
            _write_durably(self.path / manifest.NAME, whole.encode(self.sign))
            for stray in self.path.iterdir():
                name = stray.name.removesuffix(_UNFINISHED)
                if manifest.PART.fullmatch(name) and stray.name not in known:
                    stray.unlink()
        except OSError as error:
            raise self._unwritable("archive's manifest", error) from None

    def _unwritable(self, what: str, error: OSError) -> ArchiveError:
        return ArchiveError(
            f"cannot write the {what} in {self.path}: {error.strerror}",
            "Free space there or mend the folder (archive_dir, ARCHIVE_DIR), then start the same run again",
        )

    def _different(self, name: str) -> ArchiveError:
        return ArchiveError(
            f"part {name} of the archive in {self.path} does not read back as it was written",
            "Its rows were not deleted. Look at the disk, then start the same run again",
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _write_durably(path: Path, data: bytes) -> None:
    """Under another name first, so that what bears the right name is whole."""
    unfinished = path.with_name(path.name + _UNFINISHED)
    with unfinished.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

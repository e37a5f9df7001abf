"""Writes an archive: a folder for each run, a part for each chunk, the manifest last.

A part is JSON Lines, `{"table":...,"row":{column: text or null}}`, as one zstd frame (`.jsonl.zst`), or the
same sealed under the run's data key (`.jsonl.zst.sealed`, the form of `crypto.seal`). It is written under
another name, synced, renamed, and read back before the chunk is committed. Only parts that the ledger names
belong to the archive: one of a chunk that was never committed is taken away when the manifest is written.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import attrs
import orjson

from taaxdog_datamig.errors import ArchiveError
from taaxdog_datamig.ledger import ArchivePart

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from taaxdog_datamig.crypto import BlobSealer

MANIFEST = "manifest.json"
SCHEMA = "datamig/archive/1"


def part_context(run_id: uuid.UUID, name: str) -> str:
    """What binds a sealed part to its place."""
    return f"archive|{run_id}|{name}"


@attrs.frozen(kw_only=True)
class ArchiveWriter:
    """The archive of one run."""

    #: Of all archives; this one is a folder in it, named by the run.
    folder: Path
    run_id: uuid.UUID
    sealer: BlobSealer = attrs.field(repr=False)

    @property
    def path(self) -> Path:
        """Where the parts are."""
        return self.folder / str(self.run_id)

    def write(self, token: uuid.UUID, lines: Sequence[bytes], rows: Mapping[str, int]) -> ArchivePart:
        """Write a part and read it back. Blocks; call it on a thread.

        Args:
            token: of the chunk; names the part.
            lines: JSON lines, each piece ending with a line's end.
            rows: how many lines there are, by table.

        Raises:
            ArchiveError: it cannot be written, or does not read back as it was.
        """
        payload = b"".join(lines)
        name = f"{token}.jsonl.zst" + (".sealed" if self.sealer.sealing else "")
        context = part_context(self.run_id, name)
        blob = self.sealer.seal(payload, context)
        data = blob if self.sealer.sealing else blob[1:]
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_durably(self.path / name, data)
            back = (self.path / name).read_bytes()
        except OSError as error:
            raise ArchiveError(
                f"cannot write the archive in {self.path}: {error.strerror}",
                "Free or name another folder (archive_dir, ARCHIVE_DIR), then start the same run again",
            ) from None
        opened = self.sealer.open(back if self.sealer.sealing else blob[:1] + back, context)
        if opened != payload or payload.count(b"\n") != sum(rows.values()):
            raise ArchiveError(
                f"part {name} of the archive in {self.path} does not read back as it was written",
                "Nothing was deleted. Look at the disk, then start the same run again",
            )
        return ArchivePart(name=name, size=len(data), sha256=hashlib.sha256(data).digest(), rows=dict(rows))

    def finish(self, parts: Sequence[ArchivePart], about: Mapping[str, object]) -> None:
        """Write the manifest, and take away what belongs to no committed chunk.

        Raises:
            ArchiveError: it cannot be written.
        """
        body = {
            "schema": SCHEMA,
            "id": str(self.run_id),
            **about,
            "sealed": self.sealer.sealing,
            "tables": _totals(parts),
            "parts": [
                {"name": part.name, "bytes": part.size, "sha256": part.sha256.hex(), "rows": part.rows}
                for part in parts
            ],
        }
        known = {part.name for part in parts} | {MANIFEST}
        try:
            _write_durably(self.path / MANIFEST, orjson.dumps(body, option=orjson.OPT_INDENT_2))
            for stray in self.path.iterdir():
                if stray.name not in known:
                    stray.unlink()
        except OSError as error:
            raise ArchiveError(
                f"cannot write the archive's manifest in {self.path}: {error.strerror}",
                "Free or name another folder (archive_dir, ARCHIVE_DIR), then start the same run again",
            ) from None


def _totals(parts: Sequence[ArchivePart]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for part in parts:
        for table, rows in part.rows.items():
            totals[table] = totals.get(table, 0) + rows
    return totals


def _write_durably(path: Path, data: bytes) -> None:
    """Under another name first, so that what bears the right name is whole."""
    unfinished = path.with_name(path.name + ".unfinished")
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

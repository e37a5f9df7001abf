"""Reads archives: which there are, whether they are whole, and their rows, a part at a time."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import attrs

from taaxdog_datamig.archive import forms, manifest
from taaxdog_datamig.archive.manifest import Manifest
from taaxdog_datamig.archive.writer import open_part
from taaxdog_datamig.crypto import BlobSealer, Keyring
from taaxdog_datamig.errors import ArchiveError, KeyMissing, RefusedError, TokenError, UnknownName
from taaxdog_datamig.ledger import ArchivePart

State: TypeAlias = Literal["complete", "incomplete", "damaged"]

_SHORTEST = 4


def wrap_context(run_id: uuid.UUID) -> str:
    """What binds a wrapped data key to its run."""
    return f"run|{run_id}"


@attrs.frozen(kw_only=True)
class Found:
    """An archive as a look at its folder shows it: the manifest was read, parts only measured."""

    id: uuid.UUID
    path: Path
    #: "incomplete": there is no manifest, since the run has not ended, or not with success.
    state: State
    #: What is wrong with it.
    problem: str = ""
    manifest: Manifest | None = None


@attrs.frozen(kw_only=True)
class Archive:
    """An archive with a manifest. Open it with `Archive.open`."""

    path: Path
    manifest: Manifest
    #: Whether the manifest was signed under a master key, and the signature held.
    signed: bool
    _sealer: BlobSealer = attrs.field(alias="sealer", repr=False)

    @classmethod
    def open(cls, found: Found, keyring: Keyring | None) -> Archive:
        """Open an archive.

        Raises:
            ArchiveError: it is damaged or changed.
            RefusedError: it is incomplete.
            KeyMissing, KeyWrong: the key that sealed it is not configured.
        """
        if found.state == "incomplete":
            raise RefusedError(
                f"archive {found.id} is incomplete: its run did not end, or was rolled back",
                f"`datamig resume {found.id}` or `datamig rollback {found.id}` ends it",
            )
        data = _read_manifest(found.path)
        read = manifest.decode(data, str(found.path / manifest.NAME))
        if read.id != found.id:
            raise ArchiveError(f"the manifest in {found.path} is that of archive {read.id}")
        if read.kid is None or read.data_key is None:
            return cls(path=found.path, manifest=read, signed=False, sealer=BlobSealer(None))
        if keyring is None:
            raise KeyMissing(
                f"archive {read.id} is sealed under key {read.kid}",
                "Set FIELD_ENCRYPTION_KEY (or _FILE) to that key",
            )
        data_key = keyring.unwrap(read.kid, read.data_key, wrap_context(read.id))
        manifest.authenticate(data, read, keyring, str(found.path / manifest.NAME))
        return cls(path=found.path, manifest=read, signed=True, sealer=BlobSealer(data_key))

    def lines(self, part: ArchivePart) -> list[bytes]:
        """The rows of a part, as lines. Takes memory for one part.

        Raises:
            ArchiveError: it is missing, damaged, or not what the manifest says.
        """
        payload = _checked(self.path, part)
        try:
            opened = open_part(self._sealer, self.manifest.id, part.name, payload)
            lines = forms.decode(forms.form_of(part.name), opened)
            counts = forms.count(lines)
        except (TokenError, ArchiveError) as error:
            raise _wrong(self.path, part, error.what) from None
        if dict(counts) != dict(part.rows):
            raise _wrong(self.path, part, "it has other rows than the manifest says")
        return lines

    def verify(self) -> Iterator[ArchivePart]:
        """Read every part; yields each that is as it should be.

        Raises:
            ArchiveError: see `lines`.
        """
        for part in self.manifest.parts:
            self.lines(part)
            yield part


def check_files(path: Path, read: Manifest) -> None:
    """Compare every part's checksum, which needs no key.

    Raises:
        ArchiveError: a part is missing, damaged, or not what the manifest says.
    """
    for part in read.parts:
        _checked(path, part)


def list_archives(folder: Path) -> list[Found]:
    """The archives of a folder, newest first. Manifests are read and parts measured; no key is needed.

    Raises:
        ArchiveError: the folder cannot be read.
    """
    try:
        entries = list(folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise ArchiveError(
            f"cannot read {folder}: {error.strerror}", "archive_dir names the folder"
        ) from None
    found = [_look(entry) for entry in entries if _id_of(entry) is not None and entry.is_dir()]
    return sorted(found, key=_age, reverse=True)


def find(folder: Path, ref: str) -> Found:
    """The archive of that id, or whose id begins so.

    Raises:
        UnknownName: there is none, or several.
    """
    hint = "`datamig archive list` shows them; archive_dir (ARCHIVE_DIR) names their folder"
    ids = [found for found in list_archives(folder) if str(found.id) == ref or _begins(found.id, ref)]
    if not ids:
        raise UnknownName(f"there is no archive {ref!r} in {folder}", hint)
    if len(ids) > 1:
        raise UnknownName(f"several archives begin with {ref!r}", hint)
    return ids[0]


def _begins(archive: uuid.UUID, ref: str) -> bool:
    return len(ref) >= _SHORTEST and str(archive).startswith(ref.lower())


def _id_of(entry: Path) -> uuid.UUID | None:
    with contextlib.suppress(ValueError):
        found = uuid.UUID(entry.name)
        return found if str(found) == entry.name else None
    return None


def _look(path: Path) -> Found:
    archive = uuid.UUID(path.name)
    if not (path / manifest.NAME).exists():
        return Found(id=archive, path=path, state="incomplete")
    read: Manifest | None = None
    try:
        read = manifest.decode(_read_manifest(path), str(path / manifest.NAME))
        for part in read.parts:
            _measured(path, part)
    except ArchiveError as error:
        return Found(id=archive, path=path, state="damaged", problem=error.what, manifest=read)
    return Found(id=archive, path=path, state="complete", manifest=read)


def _age(found: Found) -> tuple[float, str]:
    # By what the manifest says, since copying a folder changes its times.
    if found.manifest is not None:
        return found.manifest.created_at.timestamp(), str(found.id)
    return found.path.stat().st_mtime, str(found.id)


def _read_manifest(path: Path) -> bytes:
    file = path / manifest.NAME
    try:
        if file.stat().st_size > manifest.MOST:
            raise ArchiveError(f"{file} has more than {manifest.MOST:,} bytes")
        return file.read_bytes()
    except OSError as error:
        raise ArchiveError(f"cannot read {file}: {error.strerror}") from None


def _measured(path: Path, part: ArchivePart) -> None:
    try:
        size = (path / part.name).stat().st_size
    except OSError as error:
        raise _wrong(path, part, error.strerror or "it cannot be read") from None
    if size != part.size:
        raise _wrong(path, part, f"it has {size:,} bytes instead of {part.size:,}")


def _checked(path: Path, part: ArchivePart) -> bytes:
    """What a part's file holds, as it was written."""
    _measured(path, part)
    try:
        data = (path / part.name).read_bytes()
    except OSError as error:
        raise _wrong(path, part, error.strerror or "it cannot be read") from None
    if hashlib.sha256(data).digest() != part.sha256:
        raise _wrong(path, part, "its checksum is another")
    return data


def _wrong(path: Path, part: ArchivePart, why: str) -> ArchiveError:
    return ArchiveError(
        f"part {part.name} of the archive in {path} is damaged: {why}",
        "Take the archive's folder from a copy, and look at the disk",
    )

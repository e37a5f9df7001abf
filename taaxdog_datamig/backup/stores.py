"""Where backups are kept: names, with slashes between their parts, and bytes under them.

A store's methods block; call them on a thread.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from taaxdog_datamig.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from taaxdog_datamig.settings import Settings

_UNFINISHED = ".unfinished"
#: Bytes read at a time.
_PIECE = 1 << 20


class Store(Protocol):
    """Keeps objects; each is whole, or not there."""

    @property
    def address(self) -> str:
        """How people name it."""

    def writer(self, name: str) -> AbstractContextManager[Callable[[bytes], object]]:
        """Write an object piece by piece. It is there, and durable, when the block ends without an error.

        Raises:
            BackupError: it cannot be written.
        """

    def read(self, name: str) -> Iterator[bytes]:
        """An object's bytes, piece by piece.

        Raises:
            BackupError: it cannot be read, or is not there.
        """

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Name to bytes of the objects whose names begin so; those that were never finished, too.

        Raises:
            BackupError: they cannot be listed.
        """

    def delete(self, name: str) -> None:
        """Take an object away, if it is there.

        Raises:
            BackupError: it cannot be.
        """


def store_of(settings: Settings) -> Store:
    """The store that `backup_dir` names: a folder, or what is behind a URL.

    Raises:
        SettingsError: the URL is of no store, or its extra is not installed.
    """
    where = settings.backup_dir
    if isinstance(where, Path):
        return DirectoryStore(where.absolute())
    from taaxdog_datamig.backup.objects import ObjectStore  # noqa: PLC0415  rarely needed

    return ObjectStore.connect(where)


@attrs.frozen
class DirectoryStore:
    """Objects as files of a folder."""

    folder: Path

    @property
    def address(self) -> str:
        """The folder's path."""
        return str(self.folder)

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[Callable[[bytes], object]]:
        """See `Store.writer`: under another name first, so that what bears the right name is whole."""
        path = self.folder / name
        unfinished = path.with_name(path.name + _UNFINISHED)
        try:
            new = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in new:
                _sync(folder.parent)
            with unfinished.open("wb") as file:
                yield file.write
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
            _sync(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise BackupError(
                f"cannot write to {self.folder}: {error.strerror}",
                "Free space there or mend the folder (backup_dir, BACKUP_DIR), then start again",
            ) from None
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """See `Store.read`."""
        try:
            with (self.folder / name).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as error:
            raise BackupError(f"cannot read {self.folder / name}: {error.strerror}") from None

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """See `Store.sizes`."""
        beginning = self.folder / prefix.rpartition("/")[0]
        found = {}
        try:
            for path in sorted(beginning.rglob("*")):
                # Another process may take it away, or give it its right name, meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    about = path.stat()
                    if stat.S_ISREG(about.st_mode):
                        found[path.relative_to(self.folder).as_posix()] = about.st_size
        except OSError as error:
            raise BackupError(f"cannot list {beginning}: {error.strerror}") from None
        return {name: size for name, size in found.items() if name.startswith(prefix)}

    def delete(self, name: str) -> None:
        """See `Store.delete`; folders that are empty then go, too."""
        path = self.folder / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BackupError(f"cannot delete {path}: {error.strerror}") from None
        for folder in path.relative_to(self.folder).parents:
            with contextlib.suppress(OSError):
                if folder.name:
                    (self.folder / folder).rmdir()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

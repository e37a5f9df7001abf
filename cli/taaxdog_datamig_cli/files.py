"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.exits import Unwritten


def refuse_unwritable(path: Path) -> None:
    """Tell early that a file could not be written, before minutes of work are spent on it.

    Raises:
        UsageError: its folder is not there or may not be written to, or it is a folder itself.
    """
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder", "Name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}", "Make it first")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: the folder may not be written to")


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place, then put it there: a reader sees the old one or the new one.

    Raises:
        Unwritten: it cannot be written. What was there before still is.
    """
    try:
        if path.exists() and not path.is_file():  # such as /dev/null or a named pipe
            path.write_text(text, "utf-8")
        else:
            _replace(path.resolve(), text)
    except OSError as error:
        raise Unwritten(f"cannot write {path}: {error.strerror}") from None


def _replace(path: Path, text: str) -> None:
    with _beside(path) as file:
        file.write(text)


@contextlib.contextmanager
def writing_whole(path: Path | None) -> Iterator[TextIO]:
    """As `write_whole`, for a text that is made piece by piece; stdout where there is no path.

    Raises:
        Unwritten: it cannot be written. What was there before still is.
    """
    if path is None:
        yield sys.stdout
        return
    try:
        if path.exists() and not path.is_file():
            with path.open("w", encoding="utf-8") as file:
                yield file
        else:
            with _beside(path.resolve()) as file:
                yield file
    except OSError as error:
        raise Unwritten(f"cannot write {path}: {error.strerror}") from None


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[TextIO]:
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:50]}.", suffix=".tmp", dir=path.parent)
    unfinished = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
        unfinished.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        unfinished.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

"""Calls the command line as a person or a script does: a process of its own."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

Datamig = Callable[..., subprocess.CompletedProcess[str]]

#: For tests only; published, so that nobody mistakes it for a real one.
KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

#: Users in the sample database of these tests.
SAMPLE_USERS = 200

_FORGOTTEN = ("CI", "DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "LOG_LEVEL", "BACKUP_DIR")


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of ours."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _FORGOTTEN and not name.startswith("FIELD_ENCRYPTION")
    }
    return kept | more


def calling_from(folder: Path) -> Datamig:
    """A caller: `datamig("run", "x", DATABASE_URL=...)`."""

    def call(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "taaxdog_datamig", *words],
            cwd=folder,
            env=environment(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return call


def at_a_terminal(folder: Path, answer: str, *words: str, **env: str) -> tuple[int, str]:
    """Call it as a person does, who types `answer` when asked; returns the exit code and what was shown."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "taaxdog_datamig", *words]
    terminal = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with subprocess.Popen(command, cwd=folder, env=environment(TERM="dumb", **env), **terminal) as process:
        os.close(theirs)
        shown = ""
        for text in _shown(ours):
            shown += text
            if answer and shown.endswith("[y/N] "):
                os.write(ours, answer.encode())
                answer = ""
        os.close(ours)
        return process.wait(timeout=60), shown.replace("\r\n", "\n")


def _shown(terminal: int) -> Iterator[str]:
    try:
        while data := os.read(terminal, 65536):
            yield data.decode(errors="replace")
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux says that nobody is at the other end
            raise

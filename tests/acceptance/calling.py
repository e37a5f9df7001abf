"""Calls the command line as a person or a script does: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
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

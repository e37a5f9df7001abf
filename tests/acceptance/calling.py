"""Calls the command line as a person or a script does: as a process of its own."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import taaxdog_datamig
import taaxdog_datamig_cli
from taaxdog_datamig.testing.forking import ForkServer

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


def process_in(folder: Path) -> Datamig:
    """A caller: `datamig("run", "x", DATABASE_URL=...)`. Each call starts Python."""

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


def modules() -> list[str]:
    """Every module of the library and of the command line."""
    found = [
        module.name
        for package in (taaxdog_datamig, taaxdog_datamig_cli)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ]
    return [*(name for name in found if not name.endswith(".forkserver")), "anyio._backends._asyncio"]


def fork_in(folder: Path, server: ForkServer) -> Datamig:
    """As `process_in`, by a process that has `modules` imported: the same from there on, and much faster."""

    def call(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        with (
            Path(os.devnull).open() as nothing,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            pipes = {"stdin": nothing.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}
            process = server.start(
                "taaxdog_datamig_cli.main:main", *words, cwd=folder, env=environment(**env), **pipes
            )
            code = process.wait()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, code, out.read(), err.read())

    return call

"""Databases for the fault tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from taaxdog_datamig.embedded import EmbeddedServer

pytest.register_assert_rewrite("campaign", "shouting")

from shouting import fill  # noqa: E402 - once its assertions explain themselves

Template = Callable[[str, Callable[[str], Awaitable[None]]], str]


@pytest.fixture
def words(template_database: Template, database_from: Callable[[str], str]) -> str:
    """The URL of a database with table `words`."""
    return database_from(template_database("words", fill))


@pytest.fixture
def more_words(template_database: Template, database_from: Callable[[str], str]) -> Callable[[], str]:
    """More of them: each call makes one."""
    return lambda: database_from(template_database("words", fill))


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    """A server of the test's own."""
    async with EmbeddedServer(settings={"synchronous_commit": "on"}) as server:
        yield server


@pytest.fixture
def disk(server: EmbeddedServer) -> Iterator[Callable[[int], Path]]:
    """`disk(mib)`: a folder for that server on a file system of so many MiB; called again, it has as many."""
    with tempfile.TemporaryDirectory(prefix="datamig-tiny-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        place = Path(folder, "space")

        def sized(mib: int) -> Path:
            again = "remount," if place.exists() else ""
            mount = ["mount", "-t", "tmpfs", "-o", f"{again}size={mib}m,mode=0777", "tmpfs", folder]
            if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
                pytest.skip("only root may mount a file system, and not everywhere")
            if not again:
                place.mkdir()
                owner = Path(f"/proc/{server.pid}").stat()
                os.chown(place, owner.st_uid, owner.st_gid)
                place.chmod(0o700)
            return place

        try:
            yield sized
        finally:
            server.stop()
            subprocess.run(["umount", "-l", folder], check=False, capture_output=True)

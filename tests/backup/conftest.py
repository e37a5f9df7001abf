from __future__ import annotations

import contextlib
import multiprocessing.process
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from taaxdog_datamig import Database, Settings, failpoints
from taaxdog_datamig.backup import BackupManager, Manifest
from taaxdog_datamig.demo import load_sample
from tests import sample as sample_module
from tests.older import build_older

#: A server that speaks S3, until its stdin is closed, as happens when the tests are killed, too.
S3_SERVER = """
import sys
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A real S3 server, its bucket `backups`, and what the environment must say to use both."""
    command = [sys.executable, "-W", "ignore", "-c", S3_SERVER]
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.DEVNULL,
    }
    with subprocess.Popen(command, text=True, **pipes) as server:
        assert server.stdout is not None
        endpoint = f"http://127.0.0.1:{int(server.stdout.readline())}"
        asked(f"{endpoint}/backups", "PUT")
        yield endpoint
        server.communicate()


def asked(url: str, method: str = "GET", data: bytes | None = None) -> bytes:
    """What the server answers to somebody without credentials."""
    request = urllib.request.Request(url, data, {"Content-Type": "text/plain"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The endpoint, which the environment names, with credentials."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_REGION", "ap-southeast-2")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "the-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    return s3_endpoint


#: What no message may hold.
SECRET = "the-secret-access-key"


def settings_of(dsn: str, folder: Path | str, **more: Any) -> Settings:
    given = {"field_encryption_key": sample_module.KEY, "backup_dir": folder} | more
    return Settings(database_url=dsn, **given)


@contextlib.asynccontextmanager
async def manager_of(dsn: str, folder: Path | str, **more: Any) -> AsyncIterator[BackupManager]:
    """A manager of a database's backups in that folder, under the tests' key."""
    async with Database.connect(settings=settings_of(dsn, folder, **more)) as db:
        yield BackupManager(db)


#: Forks a process that has imported what is under test, so that one to be killed costs little.
_FORKING = multiprocessing.get_context("forkserver")
_FORKING.set_forkserver_preload(["tests.backup.conftest"])


def _backing_up(point: str, dsn: str, folder: Path, backup: str | None) -> None:
    failpoints._armed, _, count = point.partition(":")
    failpoints._left = int(count or "1")

    async def work() -> None:
        async with manager_of(dsn, folder) as manager:
            await (manager.create() if backup is None else manager.restore(backup))

    anyio.run(work)


@contextlib.asynccontextmanager
async def in_a_process(
    point: str, dsn: str, folder: Path, backup: str | None = None
) -> AsyncIterator[multiprocessing.process.BaseProcess]:
    """A process that makes a backup or restores one; at the end of the block it must have been killed.

    Args:
        point: the failpoint at which it is killed; empty: the block does it.
        dsn: the database.
        folder: where backups are.
        backup: which to restore; None: one is made.
    """
    process = _FORKING.Process(target=_backing_up, args=(point, dsn, folder, backup))
    await anyio.to_thread.run_sync(process.start)
    yield process
    await anyio.to_thread.run_sync(process.join, 60)
    assert process.exitcode == -signal.SIGKILL, f"not killed at {point}"


@pytest.fixture(scope="session")
def made(pristine: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    """A backup of the sample, sealed, and the folder of all backups. Not to be changed: see `copied`."""
    folder = tmp_path_factory.mktemp("backups")

    async def make() -> Manifest:
        async with manager_of(pristine, folder) as manager:
            made = await manager.create()
            return (await manager.find(made.id))[0]

    return anyio.run(make), folder


@pytest.fixture
def copied(made: tuple[Manifest, Path], tmp_path: Path) -> tuple[Manifest, Path]:
    """The same in a folder that may be damaged."""
    manifest, folder = made
    shutil.copytree(folder, tmp_path / "backups")
    return manifest, tmp_path / "backups"


@pytest.fixture
def looking(copied: tuple[Manifest, Path]) -> Callable[..., BackupManager]:
    """`looking()`: a manager of the copied backups, without a database."""

    def make(**more: Any) -> BackupManager:
        return BackupManager(None, settings_of("postgresql://nowhere", copied[1], **more))

    return make


async def _few(dsn: str) -> None:
    await load_sample(dsn, users=60)


@pytest.fixture
def installation(
    keyed: None, template_database: Any, database_from: Callable[[str], str]
) -> Callable[[bool], str]:
    """`installation(older)`: the URL of a sample of sixty users, as an older release left it or as of now."""

    def make(older: bool) -> str:  # noqa: FBT001
        name, build = ("older_sixty", partial(build_older, users=60)) if older else ("sixty", _few)
        return database_from(template_database(name, build))

    return make

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from taaxdog_datamig import Database, Settings
from taaxdog_datamig.backup import BackupManager, Manifest
from taaxdog_datamig.demo import load_sample
from tests import sample as sample_module
from tests.older import build_older


def settings_of(dsn: str, folder: Path, **more: Any) -> Settings:
    given = {"field_encryption_key": sample_module.KEY, "backup_dir": folder} | more
    return Settings(database_url=dsn, **given)


@contextlib.asynccontextmanager
async def manager_of(dsn: str, folder: Path, **more: Any) -> AsyncIterator[BackupManager]:
    """A manager of a database's backups in that folder, under the tests' key."""
    async with Database.connect(settings=settings_of(dsn, folder, **more)) as db:
        yield BackupManager(db)


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

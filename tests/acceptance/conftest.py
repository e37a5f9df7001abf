"""Sample databases, and the command line called on them."""

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from calling import KEY, SAMPLE_USERS, Datamig, fork_in, modules

from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.testing.forking import ForkServer


@pytest.fixture(scope="session")
def forks() -> Iterator[ForkServer]:
    with ForkServer(*modules()) as server:
        yield server


@pytest.fixture
def datamig(tmp_path: Path, forks: ForkServer) -> Datamig:
    """The command line, in an empty folder, without any setting."""
    return fork_in(tmp_path, forks)


async def _sample(dsn: str) -> None:
    await load_sample(dsn, users=SAMPLE_USERS, faults=True, seed=1)


@pytest.fixture
def sample(
    template_database: Callable[[str, Callable[[str], Awaitable[None]]], str],
    database_from: Callable[[str], str],
) -> str:
    """The URL of a small sample database of this test's own."""
    return database_from(template_database("cli_sample", _sample))


@pytest.fixture
def migrating(datamig: Datamig, sample: str) -> Datamig:
    """`datamig` on the sample database, with a key."""

    def call(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        return datamig(*words, **({"DATABASE_URL": sample, "FIELD_ENCRYPTION_KEY": KEY} | env))

    return call

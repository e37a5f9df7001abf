from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from taaxdog_datamig.demo import load_sample

#: Users of the clean sample.
USERS = 60


async def _clean(dsn: str) -> None:
    await load_sample(dsn, users=USERS, faults=False)


@pytest.fixture(scope="module")
def clean_copies(template_database: Callable[..., str], databases) -> Iterator[Callable[[], str]]:
    """`clean_copies()`: the URL of a new copy of the sample without faults, dropped after the module."""
    template = template_database("clean_sample", _clean)
    made: list[str] = []

    def make() -> str:
        made.append(databases.create(template))
        return made[-1]

    yield make
    for dsn in made:
        databases.drop(dsn)


@pytest.fixture
def clean(clean_copies: Callable[[], str]) -> str:
    """The URL of a sample without faults, of this test's own."""
    return clean_copies()

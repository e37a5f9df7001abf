"""What every migration's tests share."""

from __future__ import annotations

from functools import partial

import pytest

from taaxdog_datamig import failpoints
from taaxdog_datamig.demo import load_sample
from tests.older import OLDEST, Installation, build_older, build_oldest, older_counts

pytest.register_assert_rewrite("cycle", "application")


#: Where a kill tells most: around the statements, the archive and the commits. The long form takes all.
TELLING = (
    "after-claim",
    "after-update",
    "after-part",
    "before-commit",
    "after-commit",
    "after-archive",
    "rollback-before-commit",
    "rollback-after-commit",
)


@pytest.fixture(
    params=[
        pytest.param(TELLING, id="telling"),
        pytest.param((*failpoints.NAMES, *failpoints.DELETING), id="all", marks=pytest.mark.slow),
    ]
)
def points(request):
    """Failpoints to be killed at."""
    return request.param


@pytest.fixture(autouse=True)
def archive_dir(tmp_path, monkeypatch):
    """Archives of this test's own."""
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path / "archives"))
    return tmp_path / "archives"


async def _few(dsn):
    await load_sample(dsn, users=60)


@pytest.fixture
def few(keyed, template_database, database_from):
    """The URL of a sample of sixty users: small enough to be migrated dozens of times."""
    return database_from(template_database("sixty", _few))


@pytest.fixture
def older(keyed, template_database, database_from):
    """The sample of 1,000 users as an older release left it, with its counts; see `tests.older`."""
    dsn = database_from(template_database("older", build_older))
    return Installation(dsn=dsn, counts=older_counts(1_000))


@pytest.fixture
def older_few(keyed, template_database, database_from):
    """The same with sixty users: small enough to be migrated dozens of times."""
    dsn = database_from(template_database("older_sixty", partial(build_older, users=60)))
    return Installation(dsn=dsn, counts=older_counts(60))


@pytest.fixture
def oldest(keyed, template_database, database_from):
    """An installation with snake_case names, few tables and no foreign key, with its counts."""
    return Installation(dsn=database_from(template_database("oldest", build_oldest)), counts=OLDEST)

"""The page about migrations of one's own: its code is taken from the page and run."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from taaxdog_datamig.testing import assert_crash_safe, temporary_database
from tests.sample import engine, rows

PAGE = (Path(__file__).parents[2] / "docs/how-to/custom-migration.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Both migrations of the page, as one module."""
    code = [block for block in BLOCKS if block.startswith("# myapp/migrations.py")]
    assert len(code) == 2
    (tmp_path / "pages_migrations.py").write_text("\n".join(code))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pages_migrations", raising=False)
    return importlib.import_module("pages_migrations")


@pytest.fixture
def tables() -> str:
    (found,) = re.findall(r'TABLES = """\n(.*?)"""', PAGE, re.DOTALL)
    return found


async def test_the_imperative_one_works_and_is_undone(
    written: ModuleType, tables: str, server_dsn: str, keyed: None
) -> None:
    async with temporary_database(tables, server=server_dsn) as url:
        async with engine(url, written.IssueCards) as runner:
            assert (await runner.plan("issue-cards")).pending_rows == 100
            assert (await runner.run("issue-cards")).changed_rows == 100
            assert len(await rows(url, "SELECT * FROM cards")) == 100
            await runner.rollback("issue-cards")
        assert await rows(url, "SELECT * FROM cards") == []
    with pytest.raises(Exception, match="does not exist"):
        await rows(url, "SELECT 1")


async def test_the_imperative_one_may_be_killed(
    written: ModuleType, tables: str, server_dsn: str, keyed: None
) -> None:
    async with temporary_database(tables, server=server_dsn) as url:
        report = await assert_crash_safe(
            written.IssueCards,
            url,
            points=["before-commit", "after-commit", "rollback-before-commit"],
            random_kills=0,
        )
    assert report.killed_at == ("before-commit", "after-commit", "rollback-before-commit")


async def test_the_declared_one_works(written: ModuleType, server_dsn: str, keyed: None) -> None:
    sql = (
        "CREATE TABLE users (id int PRIMARY KEY, state text); INSERT INTO users VALUES (1, 'nsw'), (2, 'VIC')"
    )
    async with temporary_database(sql, server=server_dsn) as url:
        async with engine(url, written.UppercaseState) as runner:
            assert (await runner.run("uppercase-state")).changed_rows == 1
        assert [row["state"] for row in await rows(url, "SELECT state FROM users ORDER BY id")] == [
            "NSW",
            "VIC",
        ]

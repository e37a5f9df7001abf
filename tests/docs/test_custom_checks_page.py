"""The page about checks of one's own: its code is taken from the page and run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from taaxdog_datamig import Database, Settings, Validator
from taaxdog_datamig.validation import custom
from tests.sample import script

PAGE = (Path(__file__).parents[2] / "docs/how-to/custom-checks.md").read_text()


def block(language: str, beginning: str) -> str:
    (found,) = [
        b for b in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if b.startswith(beginning)
    ]
    return found


async def test_the_checks_of_the_page_find_what_they_say(
    sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pages_checks.py").write_text(block("python", "# myapp/checks.py"))
    monkeypatch.syspath_prepend(tmp_path)
    declared = tomllib.loads(block("toml", "[[checks]]"))["checks"]
    await script(
        sample,
        "UPDATE goals SET title = ' ', created_at = '2020-01-01' WHERE id IN (SELECT min(id) FROM goals);"
        "UPDATE goals SET updated_at = '1999-01-01' WHERE id IN (SELECT max(id) FROM goals);"
        "UPDATE budgets SET monthly_budget = -1 WHERE id IN (SELECT min(id) FROM budgets)",
    )
    settings = Settings(database_url=sample, checks=(*declared, "pages_checks"))
    ids = ["goal-without-title", "budget-negative", "goal-stale"]
    async with Database.connect(settings=settings) as db:
        report = await Validator(db).validate(checks=ids)
    assert not report.errors
    assert {check.id: check.violations for check in report.checks} == dict.fromkeys(ids, 1)


def test_the_keys_of_the_page_are_those_there_are() -> None:
    named = re.findall(r"^\| (`.+?) \|", PAGE, re.MULTILINE)
    assert {key for cell in named for key in re.findall(r"`(\w+)`", cell)} == set(custom._KNOWN)

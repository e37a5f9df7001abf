"""Migrations of a user's own: written by `new-migration`, told their arguments, run and undone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from calling import Datamig, environment

from tests.exclaiming import ROWS, Exclaim, fill
from tests.sample import rows

ROOT = str(Path(__file__).parents[2])


def tool(folder: Path, *words: str, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    """A tool under its own defaults, in that folder."""
    path = os.pathsep.join(part for part in sys.path if part)
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=folder,
        env=environment(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize("form", [(), ("--imperative",)], ids=["declared", "imperative"])
def test_what_new_migration_writes_passes_its_test(
    datamig: Datamig, tmp_path: Path, form: tuple[str]
) -> None:
    """On an embedded server of its own, killed at every failpoint."""
    package = tmp_path / "app" / "changes"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    made = datamig("new-migration", "uppercase-state", *form, "--path", "app/changes")
    assert made.returncode == 0, made.stderr
    assert 'migrations = ["changes.uppercase_state"]' in made.stdout
    assert "changes.uppercase_state" in (package / "test_uppercase_state.py").read_text()
    done = tool(tmp_path / "app", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("name", ["uppercase-state", "migration", "anamethatisaslongasanamecanbe1"])
def test_what_new_migration_writes_passes_ruff_and_mypy(datamig: Datamig, tmp_path: Path, name: str) -> None:
    for form in ((), ("--imperative",)):
        folder = tmp_path / (form[0].strip("-") if form else "declared")
        folder.mkdir()
        assert datamig("new-migration", name, *form, "--path", str(folder)).returncode == 0
        if shutil.which("ruff", path=str(Path(sys.executable).parent)):
            for words in (("check", "--isolated", "."), ("format", "--isolated", "--check", ".")):
                done = tool(folder, "ruff", *words)
                assert done.returncode == 0, done.stdout
        if name == "uppercase-state":
            # A cache of its own, and kept: the library's sources need not be read each time.
            cache = str(Path(ROOT) / ".mypy_cache" / "written")
            done = tool(folder, "mypy", "--config-file", "", "--strict", "--cache-dir", cache, ".")
            assert done.returncode == 0, done.stdout


def test_new_migration_overwrites_nothing_and_checks_the_name(datamig: Datamig, tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("mine")
    refused = datamig("new-migration", "one")
    assert refused.returncode == 2
    assert "test_one.py exists" in refused.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["test_one.py"]
    for name in ("Upper", "a_b", "-a", "a--b", "1a", "a" * 31, "class", "json", "encrypt-user-data", "../a"):
        refused = datamig("new-migration", "--", name)
        assert refused.returncode == 2, name
    assert (tmp_path / "test_one.py").read_text() == "mine"
    missing = datamig("new-migration", "two", "--path", "nowhere")
    assert (missing.returncode, "cannot write" in missing.stderr) == (2, True)


@pytest.fixture
async def things(database: str) -> str:
    await fill(database)
    return database


@pytest.fixture
def exclaiming(
    datamig: Datamig, tmp_path: Path, things: str
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`datamig` beside a datamig.toml whose module stands in the same folder."""
    shutil.copy(Path(ROOT) / "tests" / "exclaiming.py", tmp_path / "exclaiming.py")
    (tmp_path / "quiet.py").write_text(
        "from taaxdog_datamig import Migration\n\n\nclass Quiet(Migration):\n"
        '    name = "quiet"\n    version = "1"\n    description = "Does nothing."\n\n'
        "    async def validate(self) -> bool:\n        return False\n\n"
        "    async def up(self) -> None:\n        raise AssertionError\n"
    )
    (tmp_path / "datamig.toml").write_text('migrations = ["exclaiming", "quiet"]\n')
    return lambda *words: datamig(*words, DATABASE_URL=things)


async def test_an_imperative_migration_is_listed_run_and_undone(exclaiming: Datamig, things: str) -> None:
    listed = json.loads(exclaiming("list", "--json").stdout)["migrations"]
    pending = {each["name"]: each["pending"] for each in listed}
    assert (pending["exclaim"], pending["quiet"]) == (2 * ROWS, 0)
    dry = exclaiming("run", "exclaim", "--dry-run")
    assert f"rows that would change  {2 * ROWS}" in dry.stdout
    report = json.loads(exclaiming("run", "exclaim", "--set", "sign=?", "--json").stdout)
    assert report["changed_rows"] == 2 * ROWS
    assert {row[0] for row in await rows(things, "SELECT right(v, 1) FROM things")} == {"?"}
    assert "already run" in exclaiming("run", "exclaim").stdout
    status = exclaiming("status", "exclaim").stdout
    assert "by down() of exclaim" in status
    undone = exclaiming("rollback", "exclaim")
    assert undone.returncode == 0, undone.stderr
    assert await rows(things, "SELECT * FROM things WHERE n <> 0 OR v LIKE '%?'") == []


def test_what_says_no_is_refused_with_exit_code_4(exclaiming: Datamig) -> None:
    refused = exclaiming("run", "quiet")
    assert refused.returncode == 4
    assert "validate() of quiet says that it should not run here; nothing was changed" in refused.stderr


def test_each_migration_gets_the_arguments_it_knows(exclaiming: Datamig) -> None:
    for words, said in (
        (("--set", "sign"), "--set sign: it must be NAME=VALUE"),
        (("--set", "sign=!", "--set", "sign=?"), "--set sign is given twice"),
        (("--set", "colour=red"), "--set colour: exclaim takes no such argument. There is sign"),
        (("--set", "sign=x"), "sign=x: exclaim takes !, ?"),
    ):
        for command in ("plan", "run"):
            refused = exclaiming(command, "exclaim", *words)
            assert refused.returncode == 2
            assert said in refused.stderr.replace("\n  ", ". ")
    several = exclaiming("plan", "exclaim", "quiet", "--set", "sign=?", "--json")
    assert several.returncode == 0, several.stdout
    alone = exclaiming("plan", "quiet", "--set", "sign=?")
    assert (alone.returncode, "There is none" in alone.stderr) == (2, True)


def test_a_pinned_plan_covers_the_arguments(exclaiming: Datamig) -> None:
    assert Exclaim.arguments["sign"].default == "!"
    assert exclaiming("plan", "exclaim", "--set", "sign=?", "--out", "plan.json").returncode == 0
    drifted = exclaiming("run", "exclaim", "--plan", "plan.json")
    assert drifted.returncode == 4
    assert "not those of the pinned plan" in drifted.stderr
    assert exclaiming("run", "exclaim", "--plan", "plan.json", "--set", "sign=?").returncode == 0

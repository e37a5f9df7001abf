"""The documentation as a site: whole, without a warning; and every command in it is one."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import taaxdog_datamig
from taaxdog_datamig_cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CALLS = ("datamig", ".venv/bin/datamig", "python -m taaxdog_datamig", ".venv/bin/python -m taaxdog_datamig")


#: What may stand before it: assignments, words of the shell.
BEFORE = re.compile(r"^\s*(?:[A-Z_]+=\S* )*(?:(?:if|then|sudo|exec|time) )*(?:! )?")
BETWEEN = re.compile(r"\$\(|\)|&&|\|\||[;|]")
BEHIND = re.compile(r"\s(?:2?>|<|&)")


def calls() -> list[tuple[str, str]]:
    """Every call of the command in a shell block, with its page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for part in BETWEEN.split(line.split(" #")[0]):
                    words = BEFORE.sub("", part.strip())
                    found += [
                        (page.name, BEHIND.split(words)[0].removeprefix(call))
                        for call in CALLS
                        if words == call or words.startswith(f"{call} ")
                    ]
    return found


@pytest.mark.parametrize(("page", "words"), calls())
def test_a_command_in_the_documentation_is_one(page: str, words: str) -> None:
    tokens = shlex.split(words)
    if not {"--help", "--version", "--install-completion"} & set(tokens):
        _, bound, _ = app.meta.parse_args(tokens, exit_on_error=False, print_error=False)
        app.parse_args(bound.args, exit_on_error=False, print_error=False)


def test_there_are_commands_to_look_at() -> None:
    assert len(calls()) > 100


def test_every_public_name_is_in_the_reference_of_the_library() -> None:
    page = (ROOT / "docs/reference/api.md").read_text()
    named = set(re.findall(r"auto(?:class|data|module):: taaxdog_datamig\.(\w+)$", page, re.MULTILINE))
    assert named - {"errors", "events", "monitoring", "testing"} == set(taaxdog_datamig.__all__) - {
        "DatamigError",
        "EventBus",
    }


@pytest.mark.slow  # nox -s docs
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "sphinx", "-E", "-q", "-W", "--keep-going", "-b", "html")
    done = subprocess.run((*command, ROOT / "docs", tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").is_file()

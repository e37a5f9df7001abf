"""README's two commands are what continuous integration and newcomers run."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """The one-line commands that set up a virtual environment."""
    return re.findall(r"^python3 -m venv .+$", (ROOT / "README.md").read_text(), re.MULTILINE)


def test_there_are_two_demo_and_tests() -> None:
    demo, tests = commands()
    assert demo.endswith(" -m taaxdog_datamig demo")
    assert " -m pytest " in tests


def test_continuous_integration_runs_exactly_the_second() -> None:
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    [line] = [line for line in script.read_text().splitlines() if "venv" in line]
    assert line == commands()[1]
    assert script.read_text().rstrip().endswith(line)  # pytest's summary is the last line printed


def test_no_command_depends_on_a_script_with_an_absolute_first_line() -> None:
    """`.venv/bin/pip` breaks in a path with a space; `python -m pip` does not."""
    for command in commands():
        assert not re.search(r"\.venv/bin/(?!python )", command)

"""`demo`: everything, on its own server, for somebody who has nothing."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from calling import Datamig, process_in


@pytest.fixture
def datamig(tmp_path: Path) -> Datamig:
    """As in a shell: nothing is imported beforehand."""
    return process_in(tmp_path)


def test_the_demo_shows_every_step_and_leaves_nothing_behind(datamig: Datamig, tmp_path: Path) -> None:
    answer = datamig("demo", "--users", "100")
    assert answer.returncode == 0, answer.stderr
    places = [
        answer.stdout.index(title)
        for title in (
            "Load",
            "Validate:",
            "Plan:",
            "Dry run:",
            "Run:",
            "before and after",
            "Validate again",
            "History",
        )
    ]
    assert places == sorted(places)
    assert "••••••••• (9 characters)" in answer.stdout
    assert "encrypted:v1:k" in answer.stdout
    assert not any(tmp_path.iterdir())


def test_a_kept_demo_can_be_reached_again(datamig: Datamig, data_folder: Path) -> None:
    """A path with a space in it, and a key that its owner alone may read."""
    kept = str(data_folder)
    answer = datamig("demo", "--users", "100", "--keep", kept, "--json")
    assert answer.returncode == 0, answer.stdout
    document = json.loads(answer.stdout)
    assert document["schema"] == "datamig/demo/1"
    first, last = document["validation"]
    mended = [
        sum(check["violations"] for check in report["checks"] if check["fix"] == "encrypt-user-data")
        for report in (first, last)
    ]
    assert mended[0] > 0 == mended[1]
    key_file = Path(document["key_file"])
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    history = datamig("history", "--json", "--database", document["database"])
    [run] = json.loads(history.stdout)["runs"]
    assert run["run_id"] == document["run"]["run_id"]
    assert datamig("demo", "--keep", kept).returncode == 2

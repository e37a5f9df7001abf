from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from taaxdog_datamig import failpoints

PROGRAM = (
    "from taaxdog_datamig import failpoints\n"
    "for number in range(3):\n"
    "    failpoints.hit('after-plan'); failpoints.hit('before-commit'); print(number, flush=True)\n"
)


def test_every_point_has_one_name():
    every = [value for name, value in vars(failpoints).items() if name.isupper() and name != "VARIABLE"]
    names = [point for points in every for point in points]
    assert len(every) == 7
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("armed", "seen"), [("before-commit", ""), ("before-commit:3", "0\n1\n"), ("after-read", "0\n1\n2\n")]
)
def test_an_armed_point_kills_at_the_time_asked_for_and_others_do_nothing(armed, seen):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | {failpoints.VARIABLE: armed},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == seen
    assert done.returncode == (0 if armed == "after-read" else -signal.SIGKILL)

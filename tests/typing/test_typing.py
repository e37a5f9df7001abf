from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_users_code_types_under_strict_rules_and_mistakes_are_found(tmp_path):
    """The lines with `type: ignore` are the mistakes: one that is not found is an unused ignore."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "mypy", "--config-file", "", "--strict", "--python-version", "3.11"]
    # Of its own, and kept: beside a cache of other options mypy would read all sources again each time.
    command += [
        "--cache-dir",
        str(root / ".mypy_cache" / "typing"),
        str(Path(__file__).with_name("user_code.py")),
    ]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

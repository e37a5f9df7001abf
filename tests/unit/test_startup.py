"""Help is there at once: nothing is imported that it does not need."""

from __future__ import annotations

import os
import subprocess
import sys

#: Slow to import, and needed only by those who work with a database.
HEAVY = {"asyncpg", "cryptography", "phonenumbers", "zstandard", "bcrypt", "opentelemetry"} | {
    f"taaxdog_datamig.{name}" for name in ("backup", "crypto", "migrations", "monitoring", "pg", "validation")
}
SCRIPT = """
import contextlib, io, sys
from taaxdog_datamig_cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    for words in (["--help"], ["--version"], ["run", "--help"], ["plan", "--help"]):
        main(words)
print(*sys.modules)
"""


def test_help_imports_nothing_heavy():
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, check=True, capture_output=True, text=True, timeout=60
    )
    assert not HEAVY & set(done.stdout.split())

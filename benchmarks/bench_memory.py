"""Peak memory of a run and of its rollback, at two sizes: promise P8, it does not grow with the table.

    python benchmarks/bench_memory.py                           the short form
    python benchmarks/bench_memory.py --users 10000 1000000     the promise

Measures the command line's process alone, from its start, as the kernel counts it. Fails above LIMIT.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time

from taaxdog_datamig.crypto.keytext import generate_key
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer

#: MiB, from the project's promise.
LIMIT = 200


def measured(dsn: str, key: str, *words: str) -> tuple[float, float]:
    """Peak resident size in MiB, and seconds, of one call."""
    environ = {**os.environ, "DATABASE_URL": dsn, "FIELD_ENCRYPTION_KEY": key}
    environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "taaxdog_datamig", *words, "--yes", "--json", "--quiet"]
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 2**20, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, nargs="+", default=[10_000])
    peaks = []
    for users in parser.parse_args().users:
        with EmbeddedServer() as server:
            asyncio.run(load_sample(server.dsn, users=users))
            key = generate_key()
            for words in (("run", "encrypt-user-data"), ("rollback", "encrypt-user-data")):
                peak, seconds = measured(server.dsn, key, *words)
                peaks.append(peak)
                print(f"{users:>9,} users  {words[0]:<8}  {peak:6.1f} MiB  {seconds:7.1f} s", flush=True)
    if max(peaks) > LIMIT:
        raise SystemExit(f"{max(peaks):.1f} MiB is above {LIMIT} MiB")


if __name__ == "__main__":
    main()

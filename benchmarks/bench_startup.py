"""How long `python -m taaxdog_datamig --help` takes, beside a Python that does nothing."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 15


def _median(*words: str) -> float:
    seconds = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    for name, words in {
        "python -c pass": ("-c", "pass"),
        "--version": ("-m", "taaxdog_datamig", "--version"),
        "--help": ("-m", "taaxdog_datamig", "--help"),
        "run --help": ("-m", "taaxdog_datamig", "run", "--help"),
    }.items():
        print(f"{name:16} {_median(*words) * 1000:6.0f} ms (median of {RUNS})")

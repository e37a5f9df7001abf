"""How long `python -m taaxdog_datamig --help` and an import take, beside a Python that does nothing.

Processor time says more on a machine that is busy with something else.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time

RUNS = 15


def _medians(*words: str) -> tuple[float, float]:
    """Wall and processor time of a call, seconds."""
    wall, processor = [], []
    for _ in range(RUNS):
        began, used = time.perf_counter(), _processor()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        wall.append(time.perf_counter() - began)
        processor.append(_processor() - used)
    return statistics.median(wall), statistics.median(processor)


def _processor() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    for name, words in {
        "python -c pass": ("-c", "pass"),
        "import": ("-c", "import taaxdog_datamig"),
        "--version": ("-m", "taaxdog_datamig", "--version"),
        "--help": ("-m", "taaxdog_datamig", "--help"),
        "run --help": ("-m", "taaxdog_datamig", "run", "--help"),
    }.items():
        wall, processor = _medians(*words)
        print(
            f"{name:16} {wall * 1000:6.0f} ms, {processor * 1000:4.0f} of them computing (median of {RUNS})"
        )

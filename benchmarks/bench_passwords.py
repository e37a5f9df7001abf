"""Wrapping password digests with a thread a core, against cores times the rate of one thread.

    python benchmarks/bench_passwords.py --seconds 1 --rounds 4

One thread, a thread a core and a process a core are measured in turns, and the best round of each counts:
other work on the machine only ever makes a round worse. Processes share nothing, so they show what the
machine gives: where they, too, stay below cores times one thread, it had no more to give. Costs are those of
a real run, and each hash is made by `passwords.wrap`, as the migration does it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections import defaultdict
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

from taaxdog_datamig.passwords import Scheme, wrap

DIGEST = "5f4dcc3b5aa765d61d8327deb882cf99"
#: Share of cores times one thread's rate that the design asks for.
TARGET = 0.95
#: Until all workers are ready, seconds.
AHEAD = 0.05


def work(to: Scheme, begin: float, seconds: float) -> float:
    """Hashes per second of one worker, over its own time: it stops at the end of a hash."""
    time.sleep(max(0.0, begin - time.monotonic()))
    began = time.monotonic()
    done = 0
    while (spent := time.monotonic() - began) < seconds:
        wrap(DIGEST, to=to)
        done += 1
    return done / spent


def rate(pool: Executor, workers: int, to: Scheme, seconds: float) -> float:
    begin = time.monotonic() + AHEAD
    return sum(pool.map(work, [to] * workers, [begin] * workers, [seconds] * workers))


def main(seconds: float, rounds: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"hashes/s of {cores} cores; share = threads / ({cores} x one thread), target {TARGET:.0%}")
    print(
        f"{'':9}{'one thread':>12}{'threads':>10}{'processes':>11}{'share':>9}{'of processes':>14}"
        f"{'1M take':>10}"
    )
    spawn = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(cores) as threads, ProcessPoolExecutor(cores, spawn) as processes:
        for to in ("bcrypt", "argon2id"):
            best: dict[str, float] = defaultdict(float)
            rate(processes, cores, to, 0.1)  # imports what it needs
            for _ in range(rounds):
                for name, pool, workers in (
                    ("one", threads, 1),
                    ("threads", threads, cores),
                    ("processes", processes, cores),
                ):
                    best[name] = max(best[name], rate(pool, workers, to, seconds))
            share = best["threads"] / (cores * best["one"])
            print(
                f"{to:9}{best['one']:>12.2f}{best['threads']:>10.2f}{best['processes']:>11.2f}{share:>9.1%}"
                f"{best['threads'] / best['processes']:>14.1%}{1e6 / best['threads'] / 3600:>8.1f} h"
                f"{'' if share >= TARGET else '  below the target'}"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=4, help="measurements of each kind")
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.rounds)

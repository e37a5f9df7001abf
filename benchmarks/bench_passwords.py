"""Wrapping password digests with a thread a core, against cores times the rate of one thread.

    python benchmarks/bench_passwords.py --seconds 1 --rounds 4
    python benchmarks/bench_passwords.py --migration 60 --rounds 2

One thread, a thread a core and a process a core are measured in turns, and the best round of each counts:
other work on the machine only ever makes a round worse. Processes share nothing, so they show what the
machine gives: where they, too, stay below cores times one thread, it had no more to give. Costs are those of
a real run, and each hash is made by `passwords.wrap`, as the migration does it.

With `--migration`, `migrate-passwords` runs on as many digests as take about so many seconds, in turns with
one thread and a thread a core: reading, writing, before-images and the ledger stand between its hashes. Its
rate is that of the step that changes rows. `hashing` is the share of that step, times cores, in which threads
hash: it hardly depends on what else the machine does. The proof after it verifies 80 rows at the most.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import threading
import time
from collections import defaultdict
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any
from unittest import mock

import asyncpg

from taaxdog_datamig import Database, Runner, RunOptions, Settings
from taaxdog_datamig.crypto import generate_key
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.events import Event, EventBus, StepFinished, StepStarted
from taaxdog_datamig.migrations import migrate_passwords
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


async def migrate(dsn: str, rows: int, to: Scheme, cores: int) -> tuple[float, float]:
    """Rows per second of a run's step that changes rows, and the share of it in which the cores hash."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "DROP TABLE IF EXISTS users; DROP SCHEMA IF EXISTS datamig CASCADE;"
        "CREATE TABLE users (id int PRIMARY KEY, password text);"
        f"INSERT INTO users SELECT n, md5(n::text) FROM generate_series(1, {rows}) AS n;"
    )
    await connection.close()
    spent, hashing = 0.0, 0.0
    lock = threading.Lock()

    def timed(*arguments: Any, **options: Any) -> str:
        nonlocal hashing
        began = time.monotonic()
        wrapped = wrap(*arguments, **options)
        with lock:
            hashing += time.monotonic() - began
        return wrapped

    def hear(event: Event) -> None:
        nonlocal spent, hashing
        if isinstance(event, StepStarted) and event.step == "execute":
            hashing = 0.0  # a plan hashes as well
        if isinstance(event, StepFinished) and event.step == "execute":
            spent = event.seconds

    settings = Settings(database_url=dsn, field_encryption_key=generate_key())
    async with Database.connect(settings=settings) as db:
        events = EventBus()
        events.subscribe(hear)
        with mock.patch.object(migrate_passwords, "wrap", timed):
            report = await Runner(db, events=events).run(
                "migrate-passwords", RunOptions(arguments={"to": to})
            )
        assert report.changed_rows == rows
    return rows / spent, hashing / (cores * spent)


def migration(wanted: float, seconds: float, rounds: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"hashes/s of {cores} cores; share = migration / ({cores} x one thread), target {TARGET:.0%}")
    print(f"{'':9}{'one thread':>12}{'threads':>10}{'migration':>11}{'share':>9}{'hashing':>10}{'rows':>7}")
    server = EmbeddedServer()
    dsn = server.start()
    try:
        with ThreadPoolExecutor(cores) as threads:
            for to in ("bcrypt", "argon2id"):
                best: dict[str, float] = defaultdict(float)
                busy = []
                rows = round(wanted * rate(threads, cores, to, seconds))
                for _ in range(rounds):
                    best["one"] = max(best["one"], rate(threads, 1, to, seconds))
                    best["threads"] = max(best["threads"], rate(threads, cores, to, seconds))
                    speed, hashing = asyncio.run(migrate(dsn, rows, to, cores))
                    best["migration"] = max(best["migration"], speed)
                    busy.append(hashing)
                share = best["migration"] / (cores * best["one"])
                print(
                    f"{to:9}{best['one']:>12.2f}{best['threads']:>10.2f}{best['migration']:>11.2f}"
                    f"{share:>9.1%}{statistics.median(busy):>10.1%}{rows:>7}"
                    f"{'' if share >= TARGET else '  below the target'}"
                )
    finally:
        server.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=4, help="measurements of each kind")
    parser.add_argument(
        "--migration", type=float, metavar="S", help="run the migration, for S seconds each time"
    )
    arguments = parser.parse_args()
    if arguments.migration:
        migration(arguments.migration, arguments.seconds, arguments.rounds)
    else:
        main(arguments.seconds, arguments.rounds)

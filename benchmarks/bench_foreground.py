"""What the application notices of a run: latency of its point reads and updates, beside one and without.

    python benchmarks/bench_foreground.py --users 100000 --chunk-seconds 0.5 0.1 --nice 0 1

The application is pgbench, four reads to one update by primary key of `users`, at a share of the rate that
it reaches alone. Latency counts from when a transaction was due, so that waiting in line counts, too. It is
measured in turn, `--rounds` times: without a run, then through a whole run of encrypt-user-data (backup,
validation and proof included), by step; the run is rolled back in between. To compare: beside one UPDATE
statement of the same column, and beside a session that only counts and so costs nothing but a core. The
application takes its share of the same cores. Prints medians over the rounds, in milliseconds, and ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs

from taaxdog_datamig import Database, EventBus, Runner, RunOptions, Settings
from taaxdog_datamig.crypto import generate_key
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.embedded.binaries import find_binaries
from taaxdog_datamig.events import Event, StepFinished, StepStarted

SERVER = {"max_wal_size": "4GB", "shared_buffers": "1GB"}
KEYS = """
CREATE TABLE app_keys AS SELECT row_number() OVER () AS n, id FROM users;
ALTER TABLE app_keys ADD PRIMARY KEY (n);
VACUUM ANALYZE
"""
READ = "\\set n random(1, {users})\nSELECT u.* FROM app_keys k JOIN users u USING (id) WHERE k.n = :n;\n"
WRITE = (
    "\\set n random(1, {users})\n"
    'UPDATE users u SET "lastLoginAt" = now() FROM app_keys k WHERE k.n = :n AND u.id = k.id;\n'
)
RIVALS = {
    "one UPDATE": "UPDATE users SET tfn = 'encrypted:v1:bench:' || repeat(md5(id), 2) WHERE tfn <> ''",
    "a session counts": "SELECT max(hashtextextended(i::text, 1)) FROM generate_series(1, 20000000) AS i",
}
CLIENTS = 8
#: Seconds for which capacity and the state without a run are measured.
SPAN = 8
#: What the application's sessions do at a moment: work, or wait, and for what.
ACTIVITY = """
SELECT coalesce(wait_event_type, 'at work') FROM pg_stat_activity
WHERE application_name = 'pgbench' AND state = 'active'
"""


@attrs.frozen
class Application:
    """pgbench on one database."""

    dsn: str
    folder: Path

    def prepare(self, users: int) -> None:
        for name, text in (("read", READ), ("write", WRITE)):
            (self.folder / name).write_text(text.format(users=users))

    def command(self, seconds: int, *options: str) -> list[str]:
        server = {name: values[0] for name, values in parse_qs(urlsplit(self.dsn).query).items()}
        files = (f"--file={self.folder}/read@4", f"--file={self.folder}/write@1")
        place = ("-h", server["host"], "-p", server["port"], "-U", "postgres", "postgres")
        program = str(find_binaries().folder / "pgbench")
        return [program, "-n", f"-c{CLIENTS}", f"-T{seconds}", "-Mprepared", *files, *options, *place]

    def capacity(self) -> float:
        """Transactions a second that it reaches alone."""
        done = subprocess.run(self.command(SPAN), check=True, capture_output=True, text=True)
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("tps")]
        return float(line.split()[2])

    async def work(self, rate: float, until: asyncio.Event | None = None) -> list[tuple[float, float]]:
        """When each transaction was through, and how long it took, seconds; for SPAN, or until the event."""
        found: list[tuple[float, float]] = []
        while True:
            prefix = self.folder / f"log{time.monotonic_ns()}"
            options = (f"--rate={rate:.0f}", "--log", f"--log-prefix={prefix}")
            seconds = SPAN if until is None else 2
            process = await asyncio.create_subprocess_exec(
                *self.command(seconds, *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            await process.wait()
            for log in self.folder.glob(f"{prefix.name}.*"):
                for line in log.read_text().splitlines():
                    fields = line.split()
                    found.append((int(fields[4]) + int(fields[5]) / 1e6, int(fields[2]) / 1e6))
                log.unlink()
            if until is None or until.is_set():
                return found


@attrs.define
class Steps:
    """When each step of a run was at work."""

    spans: dict[str, tuple[float, float]] = attrs.field(factory=dict)

    def __call__(self, event: Event) -> None:
        now = time.time()
        if isinstance(event, StepStarted):
            self.spans[event.step] = now, now
        elif isinstance(event, StepFinished):
            self.spans[event.step] = self.spans[event.step][0], now

    def of(self, moment: float) -> Iterator[str]:
        """The step at a moment, and the run as a whole."""
        inside = [name for name, (start, end) in self.spans.items() if start <= moment <= end]
        yield from inside
        if inside:
            yield "whole run"


async def tidy(db: Database) -> None:
    """Leave no work behind for what is measured next."""
    for statement in ("VACUUM ANALYZE users", "CHECKPOINT"):
        await db.pool.execute(statement)


async def watch(db: Database, seen: Counter[str]) -> None:
    """Count what the application's sessions do, until cancelled."""
    async with db.acquire() as connection:
        while True:
            seen.update(row[0] for row in await connection.fetch(ACTIVITY))
            seen["samples"] += 1
            await asyncio.sleep(0.02)


def shares(seen: Counter[str]) -> str:
    """Sessions at a time, by what they do."""
    samples = seen.pop("samples", 0) or 1
    return ", ".join(f"{what} {count / samples:.2f}" for what, count in seen.most_common())


def of_rounds(rounds: list[list[float]], share: float) -> float:
    """The median of the rounds' quantiles: a stall of the machine spoils one of them."""
    return statistics.median(sorted(each)[int(share * (len(each) - 1))] for each in rounds if each)


def line(name: str, rounds: list[list[float]], alone: list[list[float]] | None = None) -> None:
    p50, p99, most = (of_rounds(rounds, share) for share in (0.5, 0.99, 1))
    ratio = f"{p99 / of_rounds(alone, 0.99):8.2f}" if alone else ""
    figures = f"{1000 * p50:10.2f} {1000 * p99:10.2f} {1000 * most:10.0f}"
    print(f"{name:18} {sum(map(len, rounds)):>9,} {figures} {ratio}")


@attrs.frozen(kw_only=True)
class Bench:
    """What is asked for on the command line."""

    users: int
    rounds: int
    load: float
    chunk_seconds: list[float]
    nice: list[float]
    workers: int
    bare: bool

    async def all(self) -> None:
        with tempfile.TemporaryDirectory() as folder, EmbeddedServer(settings=SERVER) as server:
            await load_sample(server.dsn, users=self.users)
            application = Application(server.dsn, Path(folder))
            application.prepare(self.users)
            settings = Settings(
                database_url=server.dsn,
                backup_dir=Path(folder, "backups"),
                field_encryption_key=generate_key(),
            )
            async with Database.connect(settings=settings) as db:
                for statement in KEYS.split(";"):
                    await db.pool.execute(statement)
                rate = application.capacity() * self.load
                share = f"{self.load:.0%} of what there can be without a run"
                print(f"{self.users:,} users; {rate:,.0f} transactions/s, {share}")
                await self.measured(db, application, rate)

    async def measured(self, db: Database, application: Application, rate: float) -> None:
        alone: list[list[float]] = []
        quiet: Counter[str] = Counter()
        busy: dict[tuple[float, float], Counter[str]] = defaultdict(Counter)
        ways = [(chunk, nice) for chunk in self.chunk_seconds for nice in self.nice]
        beside: dict[tuple[float, float], dict[str, list[list[float]]]] = {
            way: defaultdict(list) for way in ways
        }
        rates: dict[tuple[float, float], list[str]] = {way: [] for way in ways}
        rivals: dict[str, list[list[float]]] = {name: [] for name in RIVALS}
        for _ in range(self.rounds):
            for name, statement in RIVALS.items():
                rivals[name].append(await self.rival(db, statement, application, rate))
                await tidy(db)
            for way in ways:
                watcher = asyncio.create_task(watch(db, quiet))
                alone.append([took for _, took in await application.work(rate)])
                watcher.cancel()
                settings = attrs.evolve(db.settings, chunk_seconds=way[0], nice=way[1])
                rates[way].append(await self.run(db, settings, application, rate, beside[way], busy[way]))
                await tidy(db)
        print(f"{'':18} {'count':>9} {'p50 ms':>10} {'p99 ms':>10} {'max ms':>10}  p99 ratio")
        line("without", alone)
        print(f"sessions of the application at a time: {shares(quiet)}")
        for name, latencies in rivals.items():
            line(name, latencies, alone)
        for way in ways:
            print(f"chunk_seconds {way[0]:g}, nice {way[1]:g}: execute {', '.join(rates[way])} rows/s")
            print(f"sessions of the application at a time: {shares(busy[way])}")
            for step, latencies in beside[way].items():
                line(step, latencies, alone)

    async def rival(self, db: Database, statement: str, application: Application, rate: float) -> list[float]:
        """Latencies beside a statement, which is rolled back."""
        over = asyncio.Event()
        task = asyncio.create_task(application.work(rate, over))
        await asyncio.sleep(1)
        async with db.acquire() as connection:
            whole = connection.transaction()
            await whole.start()
            await connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
            began = time.time()
            await connection.execute(statement)
            ended = time.time()
            await whole.rollback()
        over.set()
        # By when it was due: who waits for a row is through when the statement is over.
        return [took for moment, took in await task if began <= moment - took <= ended]

    async def run(
        self,
        db: Database,
        settings: Settings,
        application: Application,
        rate: float,
        beside: dict[str, list[list[float]]],
        busy: Counter[str],
    ) -> str:
        """One run beside the application, and back; rows a second that it changed."""
        steps, over = Steps(), asyncio.Event()
        task = asyncio.create_task(application.work(rate, over))
        await asyncio.sleep(1)
        options = RunOptions(
            workers=self.workers, skip_backup=self.bare, skip_validation=self.bare, force=True
        )
        runner = Runner(db, settings, events=EventBus([steps]))
        watcher = asyncio.create_task(watch(db, busy))
        report = await runner.run("encrypt-user-data", options)
        watcher.cancel()
        over.set()
        found: dict[str, list[float]] = defaultdict(list)
        for moment, took in await task:
            for step in steps.of(moment):
                found[step].append(took)
        for step, latencies in found.items():
            beside[step].append(latencies)
        await runner.rollback(report.run_id or "")
        start, end = steps.spans["execute"]
        return f"{report.changed_rows / (end - start):,.0f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--load", type=float, default=0.5, help="share of the application's capacity")
    parser.add_argument("--chunk-seconds", type=float, nargs="+", default=[0.5])
    parser.add_argument("--nice", type=float, nargs="+", default=[0.0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bare", action="store_true", help="no backup, no validation")
    asyncio.run(Bench(**vars(parser.parse_args())).all())

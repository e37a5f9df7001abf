"""Backups against PostgreSQL's own tools, each as a command, in turns: time, CPU, memory, size on disk.

    python benchmarks/bench_backup.py --users 200000

The whole sample: `datamig backup create --jobs 2`, zstd and sealed, against `pg_dump -Fd -j2` with the
fastest compression that the program found knows. One large table: the same with `--tables`, against
`psql -c "COPY ... TO STDOUT (FORMAT binary)" > /dev/null`, which neither compresses nor seals. CPU is that of
the command and of the server's sessions. Ratios are the rival's by ours, of medians: above 1, ours is better.
Also what `backup verify` takes. `users` with 1 % of the rows changed: `datamig restore --tables users`
against deleting all rows and loading a file of them with `psql`, in one transaction, without triggers or
foreign keys. `--data` keeps the loaded database for the next time. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import attrs

from taaxdog_datamig.backup.tools import Tool, find, libpq_environment
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer

KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
LARGEST = "bank_transactions"
CHANGED = "UPDATE users SET name = name || '!' WHERE hashtextextended(id || '{number}', 0) % 100 = 0"
#: Sessions end a little later than their clients, seconds.
SESSIONS_END = 0.3
TICKS = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Cost:
    """Seconds, seconds of CPU of client and server, MiB."""

    wall: float
    client: float
    server: float
    peak: float

    @property
    def cpu(self) -> float:
        return self.client + self.server


def run(command: list[str], postmaster: int, environment: dict[str, str]) -> Cost:
    server, began = of_sessions(postmaster), time.perf_counter()
    child = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, command
    wall = time.perf_counter() - began
    time.sleep(SESSIONS_END)
    peak = usage.ru_maxrss / 1024
    return Cost(wall, usage.ru_utime + usage.ru_stime, of_sessions(postmaster) - server, peak)


def of_sessions(postmaster: int) -> float:
    """CPU seconds of all sessions that have ended."""
    fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS


def fastest(dsn: str, pg_dump: Tool) -> str:
    """The compression that takes pg_dump the least time, of those it knows."""
    for method in ("zstd:1", "lz4:1"):
        with tempfile.TemporaryDirectory() as folder:
            words = [pg_dump.path, "-Fd", "-s", f"--compress={method}", "-f", f"{folder}/dump"]
            environment = os.environ | libpq_environment(dsn)
            if not subprocess.run(words, check=False, capture_output=True, env=environment).returncode:
                return method
    return "gzip:1"


def size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def median(costs: list[Cost]) -> Cost:
    return Cost(*(statistics.median(column) for column in zip(*map(attrs.astuple, costs), strict=True)))


def show(
    title: str, ours: Cost, theirs: Cost | None = None, sizes: tuple[float, float] | None = None
) -> None:
    def words(cost: Cost) -> str:
        return (
            f"{cost.wall:6.2f}s  cpu {cost.client:5.2f} + {cost.server:5.2f} = {cost.cpu:5.2f}s"
            f"  {cost.peak:4.0f} MiB"
        )

    print(f"{title:28} ours  {words(ours)}" + (f"  {sizes[0]:7.1f} MB" if sizes else ""))
    if theirs is not None:
        print(f"{'':28} rival {words(theirs)}" + (f"  {sizes[1]:7.1f} MB" if sizes else ""))
        print(
            f"{'':28} ratio {theirs.wall / ours.wall:.2f} in time, {theirs.cpu / ours.cpu:.2f} in CPU",
            flush=True,
        )


def told(dsn: str, psql: Tool, *statements: str) -> None:
    """Have `psql` do something that is not measured."""
    words = [word for statement in statements for word in ("-c", statement)]
    environment = os.environ | libpq_environment(dsn)
    subprocess.run([psql.path, "-q", *words], check=True, stdout=subprocess.DEVNULL, env=environment)
    time.sleep(SESSIONS_END)


def bench_converge(dsn: str, postmaster: int, rounds: int) -> None:
    psql = find("psql", 18)
    assert psql is not None
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/users.copy"
        environment = {"DATABASE_URL": dsn, "FIELD_ENCRYPTION_KEY": KEY, "BACKUP_DIR": f"{folder}/mine"}
        ours = [sys.executable, "-m", "taaxdog_datamig"]
        subprocess.run(
            [*ours, "backup", "create", "--tables", "users"],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | environment,
        )
        told(dsn, psql, f"\\copy users to {file} (format binary)")
        reload = [str(psql.path), "-q", "-v", "ON_ERROR_STOP=1", "-1"]
        for statement in (
            "SET LOCAL session_replication_role = replica",
            "DELETE FROM users",
            f"\\copy users from {file} (format binary)",
        ):
            reload += ["-c", statement]
        restore = [*ours, "restore", "latest", "--tables", "users", "--yes"]
        costs: dict[str, list[Cost]] = {"restore": [], "reload": []}
        for number in range(rounds):
            for name, command in (("restore", restore), ("reload", reload)):
                told(
                    dsn,
                    psql,
                    CHANGED.format(number=f"{name} {number}"),
                    # Both begin with what is left of neither.
                    "VACUUM (FULL, ANALYZE) users",
                    "CHECKPOINT",
                )
                costs[name].append(run(command, postmaster, environment | libpq_environment(dsn)))
        show("converge, 1 % of users", median(costs["restore"]), median(costs["reload"]))


def bench(dsn: str, postmaster: int, rounds: int, level: list[str]) -> None:
    version = 18
    pg_dump, psql = find("pg_dump", version), find("psql", version)
    assert pg_dump is not None
    assert psql is not None
    method = fastest(dsn, pg_dump)
    with tempfile.TemporaryDirectory() as folder:
        mine, its = Path(folder) / "mine", Path(folder) / "its"
        environment = {"DATABASE_URL": dsn, "FIELD_ENCRYPTION_KEY": KEY, "BACKUP_DIR": str(mine)}
        command = [sys.executable, "-m", "taaxdog_datamig", "backup"]
        dump = [str(pg_dump.path), "-Fd", "-j2", f"--compress={method}", "-f", str(its)]
        copy = f"COPY {LARGEST} TO STDOUT (FORMAT binary)"
        costs: dict[str, list[Cost]] = {name: [] for name in ("create", "dump", "table", "copy", "verify")}
        sizes = (0.0, 0.0)
        for _ in range(rounds):
            shutil.rmtree(its, ignore_errors=True)
            costs["dump"].append(run(dump, postmaster, libpq_environment(dsn)))
            costs["create"].append(run([*command, "create", "--jobs", "2", *level], postmaster, environment))
            costs["verify"].append(run([*command, "verify", "latest"], postmaster, environment))
            sizes = size(mine), size(its)
            shutil.rmtree(mine)
            costs["copy"].append(run([str(psql.path), "-c", copy], postmaster, libpq_environment(dsn)))
            one = [*command, "create", "--jobs", "2", "--tables", LARGEST, *level]
            costs["table"].append(run(one, postmaster, environment))
            shutil.rmtree(mine)
        show(f"whole, pg_dump {method}", median(costs["create"]), median(costs["dump"]), sizes)
        show(LARGEST, median(costs["table"]), median(costs["copy"]))
        show("verify", median(costs["verify"]))


async def prepare(server: EmbeddedServer, users: int) -> tuple[str, int]:
    """The URL of the sample, loaded unless it is there, and the parent process of all sessions."""
    connection = await asyncpg.connect(server.dsn_for("template1"))
    name, loading = f"sample_{users}", f"loading_{users}"
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name):
        await connection.execute(f"DROP DATABASE IF EXISTS {loading}")
        await connection.execute(f"CREATE DATABASE {loading}")
        await load_sample(server.dsn_for(loading), users=users, faults=False)
        inside = await asyncpg.connect(server.dsn_for(loading))
        await inside.execute("VACUUM ANALYZE")
        await inside.close()
        await connection.execute(f"ALTER DATABASE {loading} RENAME TO {name}")
    await connection.execute("CHECKPOINT")
    folder = await connection.fetchval("SHOW data_directory")
    await connection.close()
    return server.dsn_for(name), int((Path(folder) / "postmaster.pid").read_text().split()[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--level", default=None)
    parser.add_argument("--only", choices=("create", "converge"))
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    settings = {"max_wal_size": "4GB", "shared_buffers": "1GB"}
    with EmbeddedServer(arguments.data, settings=settings) as server:
        dsn, postmaster = asyncio.run(prepare(server, arguments.users))
        level = [] if arguments.level is None else ["--level", arguments.level]
        if arguments.only != "converge":
            bench(dsn, postmaster, arguments.rounds, level)
        if arguments.only != "create":
            bench_converge(dsn, postmaster, arguments.rounds)

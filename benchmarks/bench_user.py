"""Validating one user of a large database, against validating all of it: milliseconds after connecting.

    python benchmarks/bench_user.py --users 1000000

The sample has ten transactions a user. Each user is validated over connections of its own, as the command
does it; what is told is the median and the best of the users.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import anyio

from taaxdog_datamig import Database, Settings, Validator
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer


async def validated(settings: Settings, user: str | None) -> tuple[float, int]:
    """Milliseconds after connecting, and rows that were read."""
    async with Database.connect(settings=settings) as db:
        began = time.perf_counter()
        report = await Validator(db).validate(user_id=user)
        if report.errors:
            raise SystemExit(f"could not be made: {report.errors[0].id}: {report.errors[0].error}")
        return 1000 * (time.perf_counter() - began), sum(table.rows for table in report.tables)


async def bench(users: int, asked: int) -> None:
    """Load, ask, and tell."""
    async with EmbeddedServer() as server:
        loaded = await load_sample(server.dsn, users=users)
        sys.stdout.write(f"{users:,} users, {sum(loaded.rows.values()):,} rows\n")
        settings = Settings(database_url=server.dsn)
        async with Database.connect(settings=settings) as db:
            found = await db.pool.fetch("SELECT id::text FROM users ORDER BY random() LIMIT $1", asked)
        results = [await validated(settings, row["id"]) for row in found]
        times = [milliseconds for milliseconds, _ in results]
        rows = statistics.median(rows for _, rows in results)
        sys.stdout.write(
            f"one user: {statistics.median(times):.0f} ms, best {min(times):.0f} ms, {rows:.0f} rows\n"
        )
        milliseconds, read = await validated(settings, None)
        sys.stdout.write(f"all: {milliseconds:,.0f} ms, {read:,} rows\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--asked", type=int, default=20, help="users that are validated")
    options = parser.parse_args()
    anyio.run(bench, options.users, options.asked)

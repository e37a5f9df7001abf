"""Sealing one column of `users`, live, with undo and checkpoints, against one UPDATE statement.

    python benchmarks/bench_encrypt.py --users 100000 --workers 1

The rival writes values of a token's length in one statement, without sealing anything, on a copy of the
same database in the same server. Prints rows/s, their ratio, WAL, heap growth and our peak memory.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time

import asyncpg

from taaxdog_datamig import Database, Runner, RunOptions, Settings
from taaxdog_datamig.crypto import generate_key
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer

#: Only users.tfn is sensitive here.
ONE_COLUMN = {
    "tables": {
        "users": {
            "columns": {
                "taxFileNumber": {"sensitive": False},
                "twoFactorSecret": {"sensitive": False},
                "mobile": {"sensitive": False},
            }
        },
        "basiq_users": {"columns": {"mobile": {"sensitive": False}}},
        "bank_accounts": {"columns": {"account_number": {"sensitive": False}, "bsb": {"sensitive": False}}},
    }
}
RIVAL = "UPDATE users SET tfn = 'encrypted:v1:k0000000:' || repeat(md5(id), 2) WHERE tfn <> ''"


async def sizes(connection: asyncpg.Connection) -> tuple[int, int]:
    row = await connection.fetchrow(
        "SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint, pg_relation_size('users')"
    )
    return row[0], row[1]


async def rival(dsn: str) -> tuple[int, float, int, int]:
    connection = await asyncpg.connect(dsn)
    wal, heap = await sizes(connection)
    began = time.monotonic()
    tag = await connection.execute(RIVAL)
    seconds = time.monotonic() - began
    wal_after, heap_after = await sizes(connection)
    await connection.close()
    return int(tag.split()[1]), seconds, wal_after - wal, heap_after - heap


async def ours(dsn: str, workers: int) -> tuple[int, float, int, int, float | None]:
    settings = Settings(database_url=dsn, field_encryption_key=generate_key(), profile=ONE_COLUMN)
    async with Database.connect(settings=settings) as db, db.acquire() as connection:
        wal, heap = await sizes(connection)
        began = time.monotonic()
        report = await Runner(db).run("encrypt-user-data", RunOptions(workers=workers))
        seconds = time.monotonic() - began
        wal_after, heap_after = await sizes(connection)
    return report.changed_rows, seconds, wal_after - wal, heap_after - heap, report.hot_ratio


async def main(users: int, workers: int) -> None:
    with EmbeddedServer(settings={"max_wal_size": "4GB"}) as server:
        began = time.monotonic()
        await load_sample(server.dsn, users=users)
        loaded = time.monotonic() - began
        connection = await asyncpg.connect(server.dsn_for("template1"))
        await connection.execute("CREATE DATABASE rival TEMPLATE postgres")
        await connection.close()
        theirs = await rival(server.dsn_for("rival"))
        mine = await ours(server.dsn, workers)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )
    print(f"sample of {users:,} users loaded in {loaded:.1f} s")
    print(f"{'':14} {'rows':>10} {'rows/s':>10} {'WAL MB':>8} {'heap MB':>8}")
    for name, (rows, seconds, wal, heap) in (("one UPDATE", theirs), (f"run, {workers} worker", mine[:4])):
        print(f"{name:14} {rows:>10,} {rows / seconds:>10,.0f} {wal / 1e6:>8.0f} {heap / 1e6:>8.1f}")
    print(f"ratio {theirs[1] / mine[1]:.2f}, HOT {mine[4]}, our peak memory {peak:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.users, arguments.workers))

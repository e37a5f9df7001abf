"""Merging pairs of users, live, with everything that refers to them, undo and archive.

    python benchmarks/bench_merge.py --pairs 100000 --workers 2

Every second user of the sample gets the address of the one before in other case, so that all are pairs.
Prints merged users/s, rows that were touched, WAL and our peak memory; then un-merges, and compares.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from taaxdog_datamig import Database, Runner, RunOptions, Settings
from taaxdog_datamig.crypto import generate_key
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer

#: Makes pairs of all users, in the order of their keys, which is no order at all.
PAIRS = """
UPDATE users u SET email = CASE n % 2 WHEN 1 THEN format('pair%s@example.com', n)
    ELSE format('Pair%s@Example.com', n - 1) END
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users) AS s WHERE s.id = u.id
"""
SUMS = "SELECT sum(hashtextextended(t::text, 0)::numeric)::text FROM {} AS t"
TABLES = ("users", "basiq_users", "subscriptions", "tax_returns", "privacy_consents", "sessions", "goals")


async def sums(connection: asyncpg.Connection) -> list[str]:
    return [await connection.fetchval(SUMS.format(table)) for table in TABLES]


async def main(pairs: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(settings={"max_wal_size": "4GB"}) as server:
        await load_sample(server.dsn, users=2 * pairs, faults=False)
        settings = Settings(
            database_url=server.dsn, field_encryption_key=generate_key(), archive_dir=Path(folder)
        )
        async with Database.connect(settings=settings) as db, db.acquire() as connection:
            await connection.execute(PAIRS)
            await connection.execute("VACUUM ANALYZE")
            await connection.execute("CHECKPOINT")
            before = await sums(connection)
            runner = Runner(db)
            began = time.monotonic()
            report = await runner.run("merge-duplicates", RunOptions(workers=workers))
            seconds = time.monotonic() - began
            began = time.monotonic()
            back = await runner.rollback("merge-duplicates")
            undone = time.monotonic() - began
            same = before == await sums(connection)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )
    rate = report.changed_rows / seconds
    print(f"{report.changed_rows:,} users merged in {seconds:.1f} s: {rate:,.0f} a second")
    print(f"{report.left_rows:,} left, since a record on hold would have had to give way")
    archived = sum(report.deleted_rows.values())
    print(f"{report.chunks} chunks, {archived:,} rows archived, {report.wal_bytes / 1e6:,.0f} MB of WAL")
    print(f"un-merged in {undone:.1f} s ({back.restored_rows:,} users), every checksum as before: {same}")
    print(f"our peak memory {peak:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.pairs, arguments.workers))

"""Archiving and deleting old audit logs, with undo and checkpoints, against one DELETE statement.

    python benchmarks/bench_purge.py --rows 1000000 --workers 1

The rival deletes the same rows of a copy of the same database in one statement, and keeps nothing of them.
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

FILL = """
INSERT INTO audit_logs ("id", "userId", "event", "ipAddress", "userAgent", "metadata", "success", "createdAt")
SELECT gen_random_uuid()::text, u.id, 'LOGIN', '203.0.113.' || i % 254,
       'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) ' || i % 977,
       jsonb_build_object('device', md5(i::text), 'attempt', i % 5), i % 9 <> 0,
       timestamp '2019-07-01' + i * interval '1 minute'
FROM generate_series(1, $1::int) AS i
JOIN (SELECT id, row_number() OVER () - 1 AS n FROM users) AS u ON u.n = i % 1000
"""
OLD = "\"createdAt\" < now() - interval '90 days'"


async def rival(dsn: str) -> tuple[int, float]:
    connection = await asyncpg.connect(dsn)
    began = time.monotonic()
    tag = await connection.execute(f"DELETE FROM audit_logs WHERE {OLD}")
    seconds = time.monotonic() - began
    await connection.close()
    return int(tag.split()[1]), seconds


async def ours(dsn: str, workers: int, folder: str) -> tuple[int, float]:
    settings = Settings(database_url=dsn, field_encryption_key=generate_key(), archive_dir=Path(folder))
    async with Database.connect(settings=settings) as db:
        began = time.monotonic()
        report = await Runner(db).run("cleanup-audit-logs", RunOptions(workers=workers))
        return report.changed_rows, time.monotonic() - began


def size_of(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*.jsonl.*"))


async def main(rows: int, workers: int) -> None:
    with (
        EmbeddedServer(settings={"max_wal_size": "4GB"}) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        await load_sample(server.dsn, users=1000)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute(FILL, rows, timeout=600)
        await connection.execute("VACUUM (ANALYZE) audit_logs")
        await connection.close()
        connection = await asyncpg.connect(server.dsn_for("template1"))
        await connection.execute("CREATE DATABASE rival TEMPLATE postgres STRATEGY FILE_COPY")
        await connection.execute("CHECKPOINT")
        await connection.close()
        theirs = await rival(server.dsn_for("rival"))
        mine = await ours(server.dsn, workers, folder)
        archived = size_of(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )
    print(f"{'':14} {'rows':>10} {'seconds':>8} {'rows/s':>10}")
    for name, (count, seconds) in (("one DELETE", theirs), (f"run, {workers} worker", mine)):
        print(f"{name:14} {count:>10,} {seconds:>8.2f} {count / seconds:>10,.0f}")
    print(f"ratio {theirs[1] / mine[1]:.2f}, archive {archived / 1e6:.0f} MB, our peak memory {peak:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.rows, arguments.workers))

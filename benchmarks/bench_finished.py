"""A table of which 95 % is sealed already: a run over it, against reading it once with the pending predicate.

    python benchmarks/bench_finished.py --users 1000000 --data FOLDER

The database is that of bench_engine.py, and so is its `--data`. What is not sealed stands at the end of the
table, as after a run that was given up, or all over it. Seconds of the step that changes rows but those from
the beginning of its first chunk to the end of its last, over those of a read: once by a run that finds in the
ledger what the one before it has seen, and once by one that opens each sealed value and reads each window.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
from bench_engine import SETTINGS, prepare
from rivals.updates import KEY, ours

from taaxdog_datamig.crypto.keyring import derive_kid
from taaxdog_datamig.embedded import EmbeddedServer

SCAN = (
    "SELECT count(*) FROM users WHERE tfn::text <> '' AND NOT starts_with(tfn::text, 'encrypted:v1:{kid}:')"
)
#: A published test number takes the place of some of them.
OPEN = "UPDATE users SET tfn = '123456782' WHERE tfn <> '' AND {which}"
WHICH = {
    "at the end": "ctid > ('(' || (pg_relation_size('users') / 8192 * 19 / 20) || ',0)')::tid",
    "all over": "hashtextextended(id, 7) % 20 = 0",
}
ROUNDS = 3


async def again(server: EmbeddedServer) -> None:
    """The database `contender`, a copy of `sealed`."""
    async with connected(server.dsn_for("template1")) as connection:
        await connection.execute("DROP DATABASE IF EXISTS contender")
        await connection.execute("CREATE DATABASE contender TEMPLATE sealed STRATEGY file_copy")
        await connection.execute("CHECKPOINT")


@contextlib.asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def scan(dsn: str) -> tuple[float, int]:
    """Seconds of the fastest of a few, and rows found."""
    async with connected(dsn) as connection:
        await connection.execute("SET max_parallel_workers_per_gather = 0")
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            found = await connection.fetchval(SCAN.format(kid=derive_kid(KEY)))
            seconds.append(time.perf_counter() - began)
    return min(seconds), found


async def main(users: int, data: Path | None) -> None:
    with EmbeddedServer(data, durable=True, settings=SETTINGS) as server:
        await prepare(server, users)
        async with connected(server.dsn_for("template1")) as connection:
            await connection.execute("DROP DATABASE IF EXISTS sealed")
            await connection.execute(f"CREATE DATABASE sealed TEMPLATE random_{users} STRATEGY file_copy")
        first = await ours(server.dsn_for("sealed"), 1)
        print(f"{first['rows']:,} rows sealed in {first['seconds']:.2f} s")
        async with connected(server.dsn_for("sealed")) as connection:
            await connection.execute("VACUUM (FREEZE, ANALYZE) users")
        dsn = server.dsn_for("contender")
        for known in (True, False):
            for where, which in WHICH.items():
                await again(server)
                async with connected(dsn) as connection:
                    await connection.execute(OPEN.format(which=which))
                    if not known:
                        await connection.execute("DELETE FROM datamig.inspections")
                    await connection.execute("VACUUM (ANALYZE) users")
                    await connection.execute("CHECKPOINT")
                read, pending = await scan(dsn)
                result = await ours(dsn, 1, force=True)
                step, rest = result["seconds"], result["seconds"] - result["writing"]
                said = f"{where}, {'' if known else 'not '}known: {pending:,} pending, one read {read:.2f} s"
                print(
                    f"{said}; step {step:.2f} s, all but writing {rest:.2f}, {rest / read:.1f} reads",
                    flush=True,
                )
        async with connected(server.dsn_for("template1")) as connection:
            for name in ("contender", "sealed"):
                await connection.execute(f"DROP DATABASE IF EXISTS {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--data", type=Path)
    asyncio.run(main(**vars(parser.parse_args())))

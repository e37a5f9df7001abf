"""Checksums and comparisons against reading everything, on the same rows in turns.

    python benchmarks/bench_checksum.py --users 200000 --rows 1000000

`checksum` against `md5(string_agg(md5(t::text), '' ORDER BY id))`, with one connection and with two, and the
most memory that the server's process takes for it. `--diff` of two tables with ten differing rows against
reading both whole: COPY of both at the same time in the order of their keys, compared line by line; and
against COPY of both, unordered, that nobody looks at. Ratios are time by the rival's time, the medians of
the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from taaxdog_datamig import Checksums, Database, Settings
from taaxdog_datamig.checksum import checksum
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.pg.catalog import find_relation

RIVAL = "SELECT md5(string_agg(md5(t::text), '' ORDER BY id)) FROM {} AS t"
DIFFERING = 10

#: A table of the common kind, whose rows are ten columns and 250 bytes.
TABLE = """
CREATE TABLE compared (id {key} PRIMARY KEY, user_id uuid NOT NULL, amount numeric(12,2), booked date,
    description text, note text, state text, flag boolean, created_at timestamptz, updated_at timestamptz);
INSERT INTO compared SELECT {value}, md5((i % 5000)::text)::uuid, i % 100000 / 100.0,
    '2020-01-01'::date + i % 99,
    'purchase ' || md5(i::text), repeat(md5((i + 1)::text), 3), CASE WHEN i % 7 > 0 THEN 'NSW' END,
    i % 2 = 0,
    '2026-01-01'::timestamptz + i * interval '1 second', '2026-02-01'::timestamptz + i * interval '1 second'
FROM generate_series(1, {rows}) AS i
"""
CHANGE = """
UPDATE compared SET note = note || '!' WHERE id IN (SELECT id FROM compared ORDER BY id OFFSET {} LIMIT 4);
DELETE FROM compared WHERE id IN (SELECT id FROM compared ORDER BY id OFFSET {} LIMIT 3);
INSERT INTO compared SELECT {}, md5('x')::uuid FROM generate_series({}, {}) AS i
"""
KEYS = {"bigint": "i", "uuid": "md5(i::text)::uuid", "text": "md5(i::text)"}


async def timed(rounds: int, *works: Callable[[], Awaitable[object]]) -> list[float]:
    """The median seconds of each; they take turns."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for place, work in enumerate(works):
            began = time.perf_counter()
            await work()
            seconds[place].append(time.perf_counter() - began)
    return [statistics.median(of_one) for of_one in seconds]


async def peak_megabytes(dsn: str, work: Callable[[asyncpg.Connection], Awaitable[object]]) -> float:
    """How much the private memory of a new session's process grows for it; needs Linux's /proc."""
    connection = await asyncpg.connect(dsn)
    pid = await connection.fetchval("SELECT pg_backend_pid()")
    seen = [anonymous(pid)]

    async def watch() -> None:
        while True:
            seen.append(anonymous(pid))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    await work(connection)
    watching.cancel()
    await connection.close()
    return max(seen) - seen[0]


def anonymous(pid: int) -> float:
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"RssAnon:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


async def bench_checksums(dsn: str, rounds: int) -> None:
    print(f"{'table':20} {'rows':>10} {'rival':>8} {'one':>8} {'ratio':>6} {'two':>8} {'ratio':>6}  peak MiB")
    async with (
        Database.connect(dsn, settings=Settings(), max_connections=4) as db,
        db.acquire() as connection,
    ):
        for table in ("users", "bank_transactions"):
            relation = await find_relation(connection, table)
            assert relation is not None
            rival, one, two = await timed(
                rounds,
                lambda table=table: connection.fetchval(RIVAL.format(table)),
                lambda relation=relation: checksum(connection, relation),
                lambda table=table: Checksums(db, jobs=2).tables([table]),
            )
            rows = await connection.fetchval(f"SELECT count(*) FROM {table}")
            ours = await peak_megabytes(dsn, lambda link, relation=relation: checksum(link, relation))
            theirs = await peak_megabytes(dsn, lambda link, table=table: link.fetchval(RIVAL.format(table)))
            print(
                f"{table:20} {rows:>10,} {rival:>7.2f}s {one:>7.2f}s {one / rival:>6.2f} {two:>7.2f}s"
                f" {two / rival:>6.2f}  {ours:.1f}, rival's {theirs:.1f}",
                flush=True,
            )


async def lines(connection: asyncpg.Connection, queue: asyncio.Queue[list[bytes]]) -> None:
    """A table as lines of COPY, in the order of its key."""
    rest = b""

    async def take(data: bytes) -> None:
        nonlocal rest
        *whole, rest = (rest + data).split(b"\n")
        await queue.put(whole)

    await connection.copy_from_query("SELECT * FROM compared ORDER BY id", output=take)
    await queue.put([])


async def read_both(here: str, there: str) -> set[bytes]:
    """The keys of rows that are not the same in both, by reading both whole."""
    connections = [await asyncpg.connect(dsn) for dsn in (here, there)]
    queues: list[asyncio.Queue[list[bytes]]] = [asyncio.Queue(64) for _ in connections]
    readers = [
        asyncio.create_task(lines(link, queue)) for link, queue in zip(connections, queues, strict=True)
    ]
    found: set[bytes] = set()
    open_ = [True, True]
    while any(open_):
        for place, queue in enumerate(queues):
            if open_[place]:
                batch = await queue.get()
                open_[place] = bool(batch)
                found.symmetric_difference_update(batch)  # what both have goes
    await asyncio.gather(*readers)
    for link in connections:
        await link.close()
    return {line.split(b"\t", 1)[0] for line in found}


async def discard(dsn: str) -> None:
    """Read a table whole, and do nothing with it."""

    async def nothing(data: bytes) -> None:
        pass

    connection = await asyncpg.connect(dsn)
    await connection.copy_from_query("SELECT * FROM compared", output=nothing)
    await connection.close()


async def bench_diffs(server: EmbeddedServer, rows: int, rounds: int) -> None:
    print(f"{'key':20} {'rows':>10} {'rival':>8} {'reading':>8} {'diff':>8} {'ratio':>6} {'ratio':>6}  found")
    owner = await asyncpg.connect(server.dsn)
    for key, value in KEYS.items():
        dsns = []
        for side in ("here", "there"):
            await owner.execute(f"DROP DATABASE IF EXISTS {side}")
            await owner.execute(f"CREATE DATABASE {side}")
            dsns.append(server.dsn_for(side))
            connection = await asyncpg.connect(dsns[-1])
            await connection.execute(TABLE.format(key=key, value=value, rows=rows))
            if side == "there":
                change = CHANGE.format(rows // 3, rows // 2, value, rows + 1, rows + 3)
                await connection.execute(change)
            await connection.execute("VACUUM ANALYZE compared")
            await connection.close()
        async with (
            Database.connect(dsns[0], settings=Settings()) as here,
            Database.connect(dsns[1], settings=Settings()) as there,
        ):
            answers: dict[str, set[str]] = {}

            async def rival(dsns: list[str] = dsns, answers: dict[str, set[str]] = answers) -> None:
                answers["rival"] = {found.decode() for found in await read_both(*dsns)}

            async def ours(
                here: Database = here, there: Database = there, answers: dict[str, set[str]] = answers
            ) -> None:
                table = (await Checksums(here).diff(there, ["compared"])).tables["compared"]
                answers["ours"] = {row.key[0] for row in table.rows}

            whole, reading, diffing = await timed(
                rounds, rival, lambda dsns=dsns: asyncio.gather(*map(discard, dsns)), ours
            )
        assert answers["ours"] == answers["rival"], "the two do not agree"
        assert len(answers["ours"]) == DIFFERING
        print(
            f"{key:20} {rows:>10,} {whole:>7.2f}s {reading:>7.2f}s {diffing:>7.2f}s"
            f" {diffing / whole:>6.2f} {diffing / reading:>6.2f}"
            f"  {len(answers['ours'])} of {DIFFERING}, the same rows",
            flush=True,
        )
    await owner.close()


async def main(users: int, rows: int, rounds: int) -> None:
    with EmbeddedServer(settings={"max_wal_size": "4GB", "shared_buffers": "1GB"}) as server:
        await load_sample(server.dsn, users=users, faults=False)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("VACUUM ANALYZE")
        await connection.close()
        await bench_checksums(server.dsn, rounds)
        await bench_diffs(server, rows, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.users, arguments.rows, arguments.rounds))

"""Sealing one column of `users` in every way people do it, on the same data, in the same run.

    python benchmarks/bench_engine.py --users 100000
    python benchmarks/bench_engine.py --users 1000000 --layout both --data FOLDER --out docs

Contenders run one after the other, each in a process of its own (rivals/updates.py) on a fresh copy of the
database. Layouts: `random`, rows stored as the sample has them, whose keys are random; `clustered`, stored in
key order. The other tables are emptied first, their foreign keys stay. More than a million users are copies
of a million; with `--set` the server gets the memory that so much data would have. `--data` keeps the loaded
database for the next time; `--out` writes benchmarks/engine.json and images/engine.svg into that folder.
Rows/s, HOT share, growth of the heap and of the indexes, WAL in bytes a row, and the peak memory of the
contender's process. Needs the extra `bench`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from rivals.updates import CONTENDERS

from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.pages import Bar, bars

#: Users that are loaded at the most; more are copies of them.
LOADED = 1_000_000
SETTINGS = {"max_wal_size": "8GB", "shared_buffers": "1GB"}
RIVAL = Path(__file__).parent / "rivals" / "updates.py"
FIGURES = """
SELECT pg_relation_size('users') AS heap, pg_indexes_size('users') AS indexes,
       (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS wal,
       coalesce(sum(n_tup_upd), 0)::bigint AS updates, coalesce(sum(n_tup_hot_upd), 0)::bigint AS hot
FROM pg_stat_user_tables WHERE relname = 'users' AND schemaname = 'public'
"""
STYLE = (
    "<style>text{font:12px system-ui,sans-serif;fill:#1b1f24}"
    ".fill-plain{fill:#8c959f}.fill-good{fill:#1a7f37}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>"
)


async def prepare(server: EmbeddedServer, users: int, layouts: Sequence[str] = ("random",)) -> None:
    """The bases that are wanted: users as loaded, and stored in key order."""
    connection = await asyncpg.connect(server.dsn_for("template1"))
    known = {row[0] for row in await connection.fetch("SELECT datname FROM pg_database")}
    if f"random_{users}" not in known:
        await connection.execute(f"DROP DATABASE IF EXISTS loading_{users}")
        await connection.execute(f"CREATE DATABASE loading_{users}")
        await load_sample(server.dsn_for(f"loading_{users}"), users=min(users, LOADED), faults=False)
        inside = await asyncpg.connect(server.dsn_for(f"loading_{users}"))
        others = await inside.fetch(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relname <> 'users'"
            " AND relnamespace = 'public'::regnamespace"
        )
        await inside.execute(f"TRUNCATE {', '.join(row[0] for row in others)}")
        if users > LOADED:
            await multiply(inside, users // LOADED)
        await inside.execute("VACUUM (FREEZE, ANALYZE)")
        await inside.close()
        await connection.execute(f"ALTER DATABASE loading_{users} RENAME TO random_{users}")
    if "clustered" in layouts and f"clustered_{users}" not in known:
        await connection.execute(f"DROP DATABASE IF EXISTS clustering_{users}")
        await connection.execute(f"CREATE DATABASE clustering_{users} TEMPLATE random_{users}")
        inside = await asyncpg.connect(server.dsn_for(f"clustering_{users}"))
        await inside.execute("CLUSTER users USING users_pkey")
        await inside.execute("VACUUM (FREEZE, ANALYZE)")
        await inside.close()
        await connection.execute(f"ALTER DATABASE clustering_{users} RENAME TO clustered_{users}")
    await connection.close()


async def multiply(connection: asyncpg.Connection, times: int) -> None:
    """As many users, so many times over: copies with values of their own where those must be unique."""
    unique = await connection.fetch(
        "SELECT pg_get_indexdef(indexrelid) AS made, indexrelid::regclass::text AS name, indisprimary,"
        " pg_get_indexdef(indexrelid, 1, true) AS column FROM pg_index"
        " WHERE indrelid = 'users'::regclass ORDER BY indisunique"
    )
    values = {}
    for index in unique:
        column = index["column"]
        if index["indisprimary"]:
            # Of the same length, and as random.
            values[column] = f"left(repeat(md5({column} || n), 4), length({column}))"
        else:
            if "UNIQUE" in index["made"]:
                values[column] = f"n || {column}"
            await connection.execute(f"DROP INDEX {index['name']}")
    names = await connection.fetchval(
        "SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_attribute"
        " WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"
    )
    for number in range(1, times):
        taken = ", ".join(values.get(name, name) for name in names)
        await connection.execute(
            f"INSERT INTO users ({', '.join(names)}) SELECT {taken}"
            f" FROM (SELECT *, {number} AS n FROM users LIMIT {LOADED}) AS u"
        )
    for index in unique:
        if not index["indisprimary"]:
            await connection.execute(index["made"])


async def figures(dsn: str) -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    row = dict(await connection.fetchrow(FIGURES))
    await connection.close()
    return row


async def contend(
    server: EmbeddedServer, name: str, base: str, limit: float, *, back: bool
) -> dict[str, Any]:
    """What one contender did, on a copy of its own."""
    connection = await asyncpg.connect(server.dsn_for("template1"))
    await connection.execute("DROP DATABASE IF EXISTS contender")
    await connection.execute(f"CREATE DATABASE contender TEMPLATE {base} STRATEGY file_copy")
    await connection.execute("CHECKPOINT")
    dsn = server.dsn_for("contender")
    before = await figures(dsn)
    words = [sys.executable, str(RIVAL), name, dsn, str(limit)]
    result = await _answer(words)
    await asyncio.sleep(1)  # counters of a session that ended are told within a second
    after = await figures(dsn)
    if back:
        returned = await _answer([*words, "--rollback"])
        result |= {**returned, "peak": max(result["peak"], returned["peak"])}
    await connection.execute("DROP DATABASE contender")
    await connection.close()
    updates = after["updates"] - before["updates"]
    return {
        "contender": name,
        **result,
        "rate": result["rows"] / result["seconds"],
        "hot": (after["hot"] - before["hot"]) / max(updates, 1),
        "heap_growth": after["heap"] / before["heap"] - 1,
        "index_growth": after["indexes"] / before["indexes"] - 1,
        "wal_per_row": (after["wal"] - before["wal"]) / max(result["rows"], 1),
    }


async def _answer(words: list[str]) -> dict[str, Any]:
    done = await asyncio.to_thread(subprocess.run, words, stdout=subprocess.PIPE, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def show(results: list[dict[str, Any]]) -> None:
    """The table; ratios are to the one UPDATE."""
    one = next((each for each in results if each["contender"] == "one UPDATE"), results[0])
    head = (
        "",
        "rows",
        "rows/s",
        "ratio",
        "HOT",
        "heap",
        "indexes",
        "WAL/row",
        "ratio",
        "peak MB",
        "whole run",
    )
    print(("{:24}" + " {:>9}" * 10).format(*head))
    for each in results:
        run = f"{each['run']:.1f} s" if "run" in each else ""
        print(
            f"{each['contender']:24} {each['rows']:>9,} {each['rate']:>9,.0f}"
            f" {each['rate'] / one['rate']:>8.2f}x"
            f" {each['hot']:>9.0%} {each['heap_growth']:>+9.0%} {each['index_growth']:>+9.0%}"
            f" {each['wal_per_row']:>9,.0f} {each['wal_per_row'] / one['wal_per_row']:>8.2f}x"
            f" {each['peak'] / 1e6:>9,.0f} {run:>9}"
        )
        if "rollback" in each:
            print(f"{'  and back':24} {'':>9} {each['rows'] / each['rollback']:>9,.0f}")


def write(out: Path, users: int, found: dict[str, list[dict[str, Any]]]) -> None:
    """JSON and chart."""
    (out / "benchmarks").mkdir(exist_ok=True)
    (out / "images").mkdir(exist_ok=True)
    document = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "users": users, "layouts": found}
    (out / "benchmarks" / "engine.json").write_text(json.dumps(document, indent=2) + "\n")
    layout, results = next(iter(found.items()))
    title = f"Rows a second, {users:,} users, {layout} keys"
    rows = [
        Bar(
            each["contender"],
            each["rate"],
            f"{each['rate']:,.0f}",
            "good" if "datamig" in each["contender"] else "plain",
        )
        for each in results
    ]
    drawing = bars(title, rows)
    end = drawing.index(">") + 1
    head = drawing[:end].replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    (out / "images" / "engine.svg").write_text(f"{head}{STYLE}{drawing[end:]}\n")


async def main(arguments: argparse.Namespace) -> None:
    layouts = ["random", "clustered"] if arguments.layout == "both" else [arguments.layout]
    names = [name for name in CONTENDERS if not arguments.only or any(o in name for o in arguments.only)]
    found = {}
    settings = SETTINGS | dict(each.split("=", 1) for each in arguments.set)
    with EmbeddedServer(arguments.data, durable=True, settings=settings) as server:
        await prepare(server, arguments.users, layouts)
        for layout in layouts:
            base = f"{layout}_{arguments.users}"
            found[layout] = [
                await contend(
                    server, name, base, arguments.limit, back=arguments.rollback and "datamig" in name
                )
                for name in names
            ]
            print(f"\n{arguments.users:,} users, {layout} keys")
            show(found[layout])
    if arguments.out:
        write(arguments.out, arguments.users, found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--layout", choices=("random", "clustered", "both"), default="random")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for a contender that can stop")
    parser.add_argument("--only", nargs="*", help="contenders whose name has one of these words")
    parser.add_argument("--rollback", action="store_true", help="and roll our runs back")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", nargs="*", default=[], help="settings of the server, NAME=VALUE")
    asyncio.run(main(parser.parse_args()))

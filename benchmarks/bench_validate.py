"""All checks in one pass, against each as a query of its own, plain scans, and other validators.

    python benchmarks/bench_validate.py                                   the short form
    python benchmarks/bench_validate.py --users 1000000 --soda PYTHON --great-expectations PYTHON

The sample database with faults, the same for all. Other validators run in environments of their own, named by
their interpreters, on the checks that are a predicate over a row, in a round of their own against ours; their
counts must be ours. Also prints `--user-id`, after connecting, cold and warm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import time
from pathlib import Path
from statistics import median
from typing import Any

import asyncpg
import attrs

from taaxdog_datamig import Database, Settings, ValidationReport, Validator
from taaxdog_datamig.crypto import generate_key
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.pg.snapshot import Snapshot
from taaxdog_datamig.validation import FunctionCheck, ReferenceCheck, RowCheck, UniqueCheck
from taaxdog_datamig.validation.checks import builtin_checks
from taaxdog_datamig.validation.scene import Scene
from taaxdog_datamig.validation.subject import Subject
from taaxdog_datamig.validation.validator import _inapplicable

RIVALS = Path(__file__).parent / "rivals"
PLAIN = """
SET max_parallel_workers_per_gather = 0; SET enable_indexonlyscan = off; SET enable_indexscan = off;
SET enable_bitmapscan = off
"""


@attrs.frozen
class Query:
    """A check as a query of its own."""

    id: str
    table: str
    where: str | None
    counting: str


async def queries(db: Database) -> list[Query]:
    """Every check that is made here, as the query that counts its violations, or its suspects."""
    found = []
    async with Snapshot.take(db) as snapshot:
        scene = await Scene.load(snapshot.connection, db.settings, snapshot.moment)
        for check in builtin_checks(scene):
            if isinstance(check, FunctionCheck) or _inapplicable(scene, check) is not None:
                continue
            table = scene.table(check.table)
            assert table is not None
            source = Subject(table=table).source
            where: str | None = None
            if isinstance(check, UniqueCheck):
                terms = ", ".join(scene.bound(term, table) or "" for term in check.terms)
                given = scene.bound(check.where, table)
                counting = (
                    f"SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {source}"
                    f" WHERE {given} GROUP BY {terms} HAVING count(*) > 1) AS groups"
                )
            elif isinstance(check, ReferenceCheck):
                given = scene.bound(check.where, table)
                counting = f"SELECT count(*) FROM {source} WHERE ({given}) AND {check.key.dangling('t')}"
            else:
                template = check.violation if isinstance(check, RowCheck) else check.suspect
                where = scene.bound(template, table)
                counting = f"SELECT count(*) FROM {source} WHERE {where}"
            plain = isinstance(check, RowCheck)
            found.append(Query(check.id, table.relation.name, where if plain else None, counting))
    return found


async def sequence(dsn: str, checks: list[Query]) -> float:
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "UTC"})
    try:
        began = time.monotonic()
        for check in checks:
            await connection.fetchval(check.counting)
        return time.monotonic() - began
    finally:
        await connection.close()


async def plain_scans(dsn: str) -> tuple[float, int]:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(PLAIN)
        tables = await connection.fetch("SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND"
                                        " relnamespace = 'public'::regnamespace")  # fmt: skip
        began = time.monotonic()
        rows = [await connection.fetchval(f"SELECT count(*) FROM {table}") for (table,) in tables]
        return time.monotonic() - began, sum(rows)
    finally:
        await connection.close()


async def ours(settings: Settings, jobs: int, **asked: Any) -> tuple[float, ValidationReport]:
    async with Database.connect(settings=settings) as db:
        began = time.monotonic()
        report = await Validator(db, jobs=jobs).validate(**asked)
        return time.monotonic() - began, report


def rival(python: str, script: str, dsn: str, checks: list[Query], report: ValidationReport) -> float:
    """Seconds of the other validator; its counts must be ours."""
    # They select from the table, or from a subquery of another name: columns stand alone.
    given = [
        {"id": check.id, "table": check.table, "where": re.sub(r'\bt\.(?=")', "", check.where or "")}
        for check in checks
    ]
    done = subprocess.run(
        [python, str(RIVALS / script)],
        input=json.dumps({"dsn": dsn, "checks": given}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script}: {done.stderr[-2000:]}")
    answer = json.loads(done.stdout.splitlines()[-1])
    found = {check.id: check.violations for check in report.checks}
    for check in checks:
        if int(answer["counts"][check.id] or 0) != found[check.id]:
            raise SystemExit(f"{script} counts {answer['counts'][check.id]} of {check.id}")
    return float(answer["seconds"])


def line(what: str, seconds: float, of: float) -> None:
    print(f"{what:<58} {seconds:8.2f} s   {of / seconds:6.2f}", flush=True)


async def main(arguments: argparse.Namespace) -> None:
    with EmbeddedServer(settings={"shared_buffers": "512MB", "max_wal_size": "4GB"}) as server:
        await load_sample(server.dsn, users=arguments.users)
        connection = await asyncpg.connect(server.dsn)
        await connection.execute("VACUUM ANALYZE")
        user = await connection.fetchval("SELECT id FROM users ORDER BY id OFFSET 7 LIMIT 1")
        await connection.close()
        settings = Settings(database_url=server.dsn, field_encryption_key=generate_key())
        async with Database.connect(settings=settings) as db:
            checks = await queries(db)
        await plain_scans(server.dsn)  # warms the cache
        rounds: dict[str, list[float]] = {"ours": [], "sequence": [], "plain": []}
        for _ in range(arguments.rounds):
            seconds, report = await ours(settings, arguments.jobs)
            rounds["ours"].append(seconds)
            rounds["sequence"].append(await sequence(server.dsn, checks))
            seconds, rows = await plain_scans(server.dsn)
            rounds["plain"].append(seconds)
        made = sum(check.skipped is None for check in report.checks)
        best = {name: median(times) for name, times in rounds.items()}
        print(
            f"{arguments.users:,} users, {rows:,} rows; {made} checks, {len(report.failed)} found something"
        )
        print(f"medians of {arguments.rounds}; the ratio is the other's time to ours")
        line(f"all checks in one pass, {arguments.jobs} jobs", best["ours"], best["ours"])
        line(f"each of {len(checks)} checks as its own query, in sequence", best["sequence"], 0)
        print(f"   ours is {best['ours'] / best['sequence']:.2f}x of it")
        line("count(*) of every table, no parallel workers", best["plain"], 0)
        print(f"   ours is {best['ours'] / best['plain']:.2f}x of it")
        for seconds, _ in [await ours(settings, 2, user_id=user) for _ in range(3)]:
            print(f"--user-id, after connecting: {seconds * 1000:.0f} ms")
        simple = [check for check in checks if check.where is not None]
        wanted = [check.id for check in simple]
        for python, script in (
            (arguments.soda, "soda_rival.py"),
            (arguments.great_expectations, "great_expectations_rival.py"),
        ):
            if python:
                mine, report = await ours(settings, arguments.jobs, checks=wanted)
                theirs = rival(python, script, server.dsn, simple, report)
                print(f"{len(simple)} row checks: ours {mine:.2f} s, {script} {theirs:.2f} s", end="")
                print(f": {theirs / mine:.1f}x", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soda", default="", metavar="PYTHON")
    parser.add_argument("--great-expectations", default="", metavar="PYTHON")
    asyncio.run(main(parser.parse_args()))

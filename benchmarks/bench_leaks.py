"""How well numbers in free text are found, and what that costs: precision, recall, and time against count(*).

    python benchmarks/bench_leaks.py [--users 20000] [--seed 1]

On a sample database of its own: first without faults, where nothing may be found; then with numbers of every
kind planted in every column that is searched, in each way of writing them, and beside them what only looks
like a number. Every other row stays as it was, and counts as one that holds none. Numbers are random with
right check digits. A spelling that nobody recognises without a person's judgement ("hard") is counted, too.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections import Counter, defaultdict
from datetime import UTC, datetime

import anyio
import asyncpg
import attrs
from leak_spellings import DOCUMENTS, PROSE, Numbers, lookalikes, written

from taaxdog_datamig import Database, Settings, ValidationReport, Validator
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.identifiers import tfn
from taaxdog_datamig.pg.catalog import Column
from taaxdog_datamig.validation.checks import leaks
from taaxdog_datamig.validation.scene import Scene

RULES = [rule.id for rule in leaks.RULES]
#: Of each kind, and as many again of each class of look-alikes, in one column.
PLANTS, LOOKALIKES = 24, 12


@attrs.define
class Planted:
    #: (rule, table.column, key) -> class
    numbers: dict[tuple[str, str, str], str] = attrs.field(factory=dict)
    #: (table.column, key) -> class
    lookalikes: dict[tuple[str, str], str] = attrs.field(factory=dict)


def texts_for(numbers: Numbers, column: Column) -> list[tuple[str | None, str, str]]:
    """Rule (None: look-alike), class and text of what one column gets, in no order."""
    json_only = column.base in {"json", "jsonb"}
    texts: list[tuple[str | None, str, str]] = []
    for rule, classes in (DOCUMENTS if json_only else PROSE).items():
        templates = [(kind, template) for kind, some in classes.items() for template in some]
        for kind, template in numbers.chance.choices(templates, k=PLANTS):
            texts.append((rule, kind, written(numbers, rule, template)))
    for _ in range(LOOKALIKES):
        for kind, text in lookalikes(numbers).items():
            # A valid number that is called a TFN is one, though it was made by chance.
            if not (kind == "random 9 digits, TFN" and tfn.is_valid(text[4:])):
                texts.append((None, kind, json.dumps({"value": text}) if json_only else text))
    numbers.chance.shuffle(texts)
    return [each for each in texts if column.limit is None or len(each[2]) <= column.limit]


async def plant(connection: asyncpg.Connection, scene: Scene, numbers: Numbers) -> Planted:
    planted = Planted()
    for table in scene.profile.tables.values():
        if len(table.relation.key) != 1 or table.spec.name == "verification_tokens":
            continue  # their rows are not named
        key = table.relation.key_columns[0].quoted
        query = f"SELECT {key}::text FROM {table.relation.quoted} ORDER BY {key}"
        keys = [row[0] for row in await connection.fetch(query)]
        for name, column in leaks.free_texts(scene, table):
            texts = texts_for(numbers, column)
            rows = numbers.chance.sample(keys, min(len(keys), len(texts)))
            spelled = "ARRAY[v.text]" if column.base.startswith("_") else f"v.text::{column.type}"
            await connection.execute(
                f"UPDATE {table.relation.quoted} AS t SET {column.quoted} = {spelled}"
                f" FROM unnest($1::text[], $2::text[]) AS v(key, text) WHERE t.{key}::text = v.key",
                rows,
                [text for _, _, text in texts[: len(rows)]],
            )
            where = f"{table.spec.name}.{name}"
            for row, (rule, kind, _) in zip(rows, texts, strict=False):
                if rule is None:
                    planted.lookalikes[where, row] = kind
                else:
                    planted.numbers[rule, where, row] = kind
    return planted


async def validated(dsn: str) -> ValidationReport:
    async with Database.connect(settings=Settings(database_url=dsn)) as db:
        report = await Validator(db, samples=10**6).validate(checks=RULES)
    assert not report.errors
    return report


def judge(report: ValidationReport, planted: Planted) -> None:
    found = {
        (check.rule, check.id.partition(":")[2], key) for check in report.failed for key in check.sample_keys
    }
    hits: dict[str, Counter[str]] = defaultdict(Counter)
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for (rule, where, key), kind in planted.numbers.items():
        total[rule][kind] += 1
        hits[rule][kind] += (rule, where, key) in found
    alarms = found - set(planted.numbers)
    print(
        f"{'rule':16} {'planted':>8} {'found':>7} {'false':>6} {'precision':>10} {'recall':>8} {'no hard':>8}"
    )
    for rule in RULES:
        right, false = hits[rule].total(), sum(alarm[0] == rule for alarm in alarms)
        easy = [sum(count for kind, count in some[rule].items() if kind != "hard") for some in (hits, total)]
        print(
            f"{rule:16} {total[rule].total():>8} {right:>7} {false:>6} {right / (right + false):>10.4f}"
            f" {right / total[rule].total():>8.4f} {easy[0] / easy[1]:>8.4f}"
        )
    print("\nfound, of what was planted")
    for rule in RULES:
        for kind, count in total[rule].items():
            print(f"  {rule:16} {kind:20} {hits[rule][kind]:>6} of {count:>6}")
    print("\nfalse alarms, of look-alikes")
    classes = Counter(planted.lookalikes.values())
    alarming: Counter[tuple[str, str]] = Counter()
    for rule, where, key in alarms:
        alarming[planted.lookalikes.get((where, key), "another number, or none"), rule] += 1
    for (kind, rule), count in alarming.most_common():
        print(f"  {kind:28} {rule:16} {count:>6} of {classes[kind]:>6}")
    print(f"  {len(classes)} classes, {classes.total():,} look-alikes")


SLOTS = {
    "bank_transactions.description": (
        "SELECT id::text FROM bank_transactions WHERE description LIKE 'ATO PAYMENT TFN %'"
    ),
    "bank_transactions.notes": "SELECT id::text FROM bank_transactions WHERE notes LIKE 'tax file number %'",
    "tax_returns.data": "SELECT id FROM tax_returns WHERE data ? 'tfn'",
}


async def faulty(dsn: str, connection: asyncpg.Connection) -> None:
    """The numbers that the generator itself puts in, told from the text around them."""
    slots = {
        ("tfn-in-text", where, row[0])
        for where, query in SLOTS.items()
        for row in await connection.fetch(query)
    }
    report = await validated(dsn)
    found = {
        (check.rule, check.id.partition(":")[2], key) for check in report.failed for key in check.sample_keys
    }
    print(f"with faults: {len(slots & found)} of {len(slots)} found, {len(found - slots)} false alarms")


async def cost(dsn: str, connection: asyncpg.Connection, rounds: int) -> None:
    """Time against one sequential count(*) of every table; the two take turns."""
    await connection.execute("SET max_parallel_workers_per_gather = 0")
    tables = [
        row[0]
        for row in await connection.fetch(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'public'::regnamespace"
        )
    ]
    ratios = []
    for _ in range(rounds):
        began = time.perf_counter()
        for table in tables:
            await connection.fetchval(f"SELECT count(*) FROM {table}")
        counted = time.perf_counter() - began
        seconds = (await validated(dsn)).seconds
        ratios.append(seconds / counted)
        print(f"  count(*) {counted:.2f} s, validation {seconds:.2f} s, ratio {ratios[-1]:.2f}")
    print(f"  median ratio {statistics.median(ratios):.2f}, best {min(ratios):.2f}")


async def main(users: int, seed: int, rounds: int) -> None:
    with EmbeddedServer(settings={"max_wal_size": "4GB"}) as server:
        admin = await asyncpg.connect(server.dsn)
        for faults in (False, True):
            name = "faulty" if faults else "clean"
            await admin.execute(f"CREATE DATABASE {name}")
            dsn = server.dsn.replace("/postgres?", f"/{name}?")
            await load_sample(dsn, users=users, faults=faults, seed=seed)
            connection = await asyncpg.connect(dsn)
            if faults:
                await faulty(dsn, connection)
                await connection.close()
                continue
            report = await validated(dsn)
            print(
                f"{users:,} users, seed {seed}: {len(report.checks)} checks,"
                f" {sum(table.rows for table in report.tables):,} rows; "
                f"without faults {sum(check.violations for check in report.checks)} false alarms"
            )
            await cost(dsn, connection, rounds)
            scene = await Scene.load(connection, Settings(database_url=dsn), datetime.now(UTC))
            judge_after = await plant(connection, scene, Numbers(random.Random(seed)))
            judge(await validated(dsn), judge_after)
            await connection.close()
        await admin.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    anyio.run(main, arguments.users, arguments.seed, arguments.rounds)

"""Merging pairs of users, live, with everything that refers to them, undo and archive.

    python benchmarks/bench_merge.py --pairs 100000 --workers 2 --rival

Every second user of the sample gets the address of the one before in other case, so that all are pairs.
Prints merged users/s, of the whole run (with its backup, validation before and after, and proof) and of the
step that merges, rows that were touched, WAL and our peak memory; then un-merges, and compares.
`--rival` then merges the same pairs as by hand: one transaction of set-based SQL, which knows the schema,
keeps nothing to go back to, has no regard for records on hold, and locks everything until it is through.
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
from taaxdog_datamig.events import StepFinished

#: Buffers as on a server that was set up for its data: the default is for the smallest machines.
SETTINGS = {"max_wal_size": "4GB", "shared_buffers": "1GB"}
#: Makes pairs of all users, in the order of their keys, which is no order at all.
PAIRS = """
UPDATE users u SET email = CASE n % 2 WHEN 1 THEN format('pair%s@example.com', n)
    ELSE format('Pair%s@Example.com', n - 1) END
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM users) AS s WHERE s.id = u.id
"""
SUMS = "SELECT sum(hashtextextended(t::text, 0)::numeric)::text FROM {} AS t"
TABLES = ("users", "basiq_users", "subscriptions", "tax_returns", "privacy_consents", "sessions", "goals")


#: By hand: who goes into whom; then what cannot be there twice, what it takes along, and what users lack.
RIVAL = """
CREATE TEMP TABLE pairs ON COMMIT DROP AS SELECT * FROM (SELECT id AS loser, first_value(id) OVER (
    PARTITION BY lower(email) ORDER BY "emailVerified" IS NULL, "lastLoginAt" DESC NULLS LAST, "createdAt", id
) AS winner FROM users) AS s WHERE loser <> winner;
CREATE UNIQUE INDEX ON pairs (loser);
ANALYZE pairs;
CREATE TEMP TABLE banks ON COMMIT DROP AS SELECT l.id AS loser, w.id AS winner FROM pairs
    JOIN basiq_users l ON l.user_id = loser JOIN basiq_users w ON w.user_id = winner;
UPDATE bank_accounts SET basiq_user_id = winner FROM banks WHERE basiq_user_id = loser;
UPDATE bank_connections SET basiq_user_id = winner FROM banks WHERE basiq_user_id = loser;
DELETE FROM basiq_users USING banks WHERE id = loser;
DELETE FROM subscriptions l USING pairs, subscriptions w WHERE l."userId" = loser AND w."userId" = winner;
DELETE FROM tax_returns l USING pairs, tax_returns w
    WHERE l."userId" = loser AND w."userId" = winner AND l.year = w.year;
DELETE FROM privacy_consents l USING pairs, privacy_consents w WHERE l."userId" = loser
    AND w."userId" = winner AND (l."consentType", l."consentVersion") = (w."consentType", w."consentVersion");
UPDATE users w SET phone = coalesce(w.phone, l.phone), image = coalesce(w.image, l.image),
    abn = coalesce(w.abn, l.abn), "businessName" = coalesce(w."businessName", l."businessName"),
    tfn = coalesce(w.tfn, l.tfn) FROM pairs JOIN users l ON l.id = loser WHERE w.id = winner
    AND (w.phone, w.image, w.abn, w."businessName", w.tfn) IS DISTINCT FROM
        (coalesce(w.phone, l.phone), coalesce(w.image, l.image), coalesce(w.abn, l.abn),
         coalesce(w."businessName", l."businessName"), coalesce(w.tfn, l.tfn));
"""
#: An UPDATE for each foreign key to users.
REPOINT = """
SELECT format('UPDATE %s SET %2$I = winner FROM pairs WHERE %2$I = loser', conrelid::regclass, attname)
FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
WHERE contype = 'f' AND confrelid = 'users'::regclass
"""


async def by_hand(connection: asyncpg.Connection) -> int:
    async with connection.transaction():
        await connection.execute(RIVAL)
        for row in await connection.fetch(REPOINT):
            await connection.execute(row[0])
        return int((await connection.execute("DELETE FROM users USING pairs WHERE id = loser")).split()[1])


async def sums(connection: asyncpg.Connection) -> list[str]:
    return [await connection.fetchval(SUMS.format(table)) for table in TABLES]


async def main(pairs: int, workers: int, *, rival: bool) -> None:
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(settings=SETTINGS) as server:
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
            steps: dict[str, float] = {}
            runner.events.subscribe(
                lambda event: (
                    steps.update({event.step: event.seconds}) if isinstance(event, StepFinished) else None
                )
            )
            began = time.monotonic()
            report = await runner.run("merge-duplicates", RunOptions(workers=workers))
            seconds = time.monotonic() - began
            merging = steps["execute"]
            began = time.monotonic()
            back = await runner.rollback("merge-duplicates")
            undone = time.monotonic() - began
            same = before == await sums(connection)
            if rival:
                await connection.execute("VACUUM ANALYZE")
                await connection.execute("CHECKPOINT")
                began = time.monotonic()
                merged = await by_hand(connection)
                spent = time.monotonic() - began
                print(f"by hand, {merged:,} in {spent:.1f} s: {merged / spent:,.0f} a second, for good")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 << 20 if sys.platform == "darwin" else 1 << 10
    )
    for name, spent in (("the whole run", seconds), ("its merging", merging)):
        rate = report.changed_rows / spent
        print(f"{report.changed_rows:,} users merged, {name} {spent:.1f} s: {rate:,.0f} a second")
    print("steps, seconds:", ", ".join(f"{name} {spent:.1f}" for name, spent in steps.items()))
    print(f"{report.left_rows:,} left, since a record on hold would have had to give way")
    archived = sum(report.deleted_rows.values())
    print(f"{report.chunks} chunks, {archived:,} rows archived, {report.wal_bytes / 1e6:,.0f} MB of WAL")
    print(f"un-merged in {undone:.1f} s ({back.restored_rows:,} users), every checksum as before: {same}")
    print(f"our peak memory {peak:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rival", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.pairs, arguments.workers, rival=arguments.rival))

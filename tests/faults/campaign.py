"""The main job under fire: the command line is killed again and again while the application goes on writing.

The writers note what they wrote once its commit was acknowledged, and whether the row was sealed when they
came to it. So they know, without the ledger, what every value must be in the end, how often the run has
sealed each row, and which rows a rollback has to leave to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.crypto import BlobSealer, Keyring
from taaxdog_datamig.engine.images import context_of, open_image
from taaxdog_datamig.engine.start import open_data_key
from taaxdog_datamig.engine.undo import LISTED
from taaxdog_datamig.ledger import Ledger
from taaxdog_datamig.settings import Settings

KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

#: Published test values: nobody's numbers.
TFNS = ("123456782", "876543210", "648188480", "648188499", "648188519", "37118629", "85655755")
#: Set aside for fiction by the ACMA.
MOBILES = ("0491570006", "0491570156", "0491570157", "0491570158", "0491570159", "0491570110")

#: Sensitive columns by table, as the profile and the schema have them.
SENSITIVE = {
    "users": ("tfn", "taxFileNumber", "twoFactorSecret"),
    "basiq_users": ("mobile",),
    "bank_accounts": ("account_number", "bsb"),
}
#: Passed while the application writes, and after it has stopped.
UNDER_FIRE = failpoints.NAMES[: failpoints.NAMES.index("after-sweep") + 1]
AT_THE_END = ("before-proof", "after-proof", "after-record")
UNDOING = ("rollback-begin", "rollback-before-commit", "rollback-after-commit", "rollback-before-ddl")

Key = tuple[str, str]
Values = tuple[str | None, ...]


def is_token(value: str | None) -> bool:
    return value is not None and value.startswith("encrypted:")


def chosen(table: str) -> str:
    return ", ".join(f'"{column}"' for column in SENSITIVE[table])


@attrs.define
class Writers:
    """The application."""

    dsn: str
    chooser: random.Random
    #: What each row must hold, by table and key; rows that are gone are left out.
    expected: dict[Key, Values]
    #: What the application left in each row: plaintext, or a token that it put back.
    left: dict[Key, Values]
    #: How often each row was overwritten or deleted after the run had sealed it.
    unsealed: Counter[Key] = attrs.field(factory=Counter)
    #: Rows that were written to at all.
    touched: set[Key] = attrs.field(factory=set)
    commits: int = 0
    failures: Counter[str] = attrs.field(factory=Counter)
    #: The longest time that a write of a row which no writer had locked took, seconds.
    longest: float = 0.0
    stopping: bool = False
    _keys: dict[str, list[str]] = attrs.field(factory=dict)
    _inserted: list[str] = attrs.field(factory=list)
    _numbers: count[int] = attrs.field(factory=count)

    @classmethod
    async def reading(cls, dsn: str, chooser: random.Random) -> Writers:
        """With everything as it is before the run."""
        expected: dict[Key, Values] = {}
        async with connected(dsn) as connection:
            for table in SENSITIVE:
                for row in await connection.fetch(f'SELECT id::text, {chosen(table)} FROM "{table}"'):
                    expected[table, row[0]] = tuple(row)[1:]
        writers = cls(dsn, chooser, expected, dict(expected))
        for table, key in expected:
            writers._keys.setdefault(table, []).append(key)
        return writers

    async def work(self, pause: float) -> None:
        """One client of the database: short transactions, and now and then a long one."""
        async with connected(self.dsn) as connection:
            while not self.stopping:
                what = self.chooser.choices(
                    (self.rewrite, self.insert, self.delete, self.login), (12, 2, 2, 4)
                )[0]
                try:
                    await what(connection)
                except asyncpg.PostgresError as error:
                    self.failures[type(error).__name__] += 1
                await asyncio.sleep(self.chooser.uniform(0, 2 * pause))

    async def hold(self) -> None:
        """A client that keeps a row locked for a second or two before it writes it."""
        async with connected(self.dsn) as connection:
            while not self.stopping:
                try:
                    await self.rewrite(connection, "users", self.chooser.uniform(1, 2))
                except asyncpg.PostgresError as error:
                    self.failures[type(error).__name__] += 1

    async def rewrite(
        self, connection: asyncpg.Connection, table: str | None = None, hold: float = 0.0
    ) -> None:
        """Write plaintext over whatever a row holds."""
        table = table or self.chooser.choices(tuple(SENSITIVE), (6, 1, 1))[0]
        key = self.chooser.choice(self._keys[table])
        number, kind = next(self._numbers), "text" if table == "users" else "uuid"
        async with connection.transaction():
            row = await connection.fetchrow(
                f'SELECT {chosen(table)} FROM "{table}" WHERE id = $1::{kind} FOR UPDATE', key
            )
            if row is None:
                return
            await asyncio.sleep(hold)
            values = dict(row)
            if table == "users":
                values |= {"tfn": self.chooser.choice(TFNS), "twoFactorSecret": f"WRITTEN{number}"}
            elif table == "basiq_users":
                values |= {"mobile": self.chooser.choice(MOBILES)}
            else:
                values |= {"account_number": f"WRITTEN{number}"}
            sets = ", ".join(f'"{column}" = ${i}' for i, column in enumerate(values, 2))
            await connection.execute(
                f'UPDATE "{table}" SET {sets} WHERE id = $1::{kind}', key, *values.values()
            )
        self._wrote(table, key, tuple(row), values)

    def _wrote(self, table: str, key: str, found: Values, written: Mapping[str, Any]) -> None:
        """Called when the commit was acknowledged, before anything else is awaited."""
        self.commits += 1
        self.touched.add((table, key))
        self.unsealed[table, key] += found != self.left[table, key]
        self.left[table, key] = tuple(written.values())
        before = self.expected[table, key]
        # What it put back as it had found it means what it meant.
        self.expected[table, key] = tuple(
            before[i] if is_token(value) else value for i, value in enumerate(written.values())
        )

    async def insert(self, connection: asyncpg.Connection) -> None:
        """A new user."""
        number = next(self._numbers)
        key = f"written-{number}"
        values = (self.chooser.choice(TFNS), None, f"WRITTEN{number}")
        await connection.execute(
            'INSERT INTO users (id, email, name, "updatedAt", tfn, "taxFileNumber", "twoFactorSecret")'
            " VALUES ($1, $2, 'Written', now()::timestamp, $3, $4, $5)",
            key,
            f"{key}@example.com",
            *values,
        )
        self.commits += 1
        self.touched.add(("users", key))
        self.expected["users", key] = self.left["users", key] = values
        self._keys["users"].append(key)
        self._inserted.append(key)

    async def delete(self, connection: asyncpg.Connection) -> None:
        """One of the new users goes again, sealed or not."""
        if len(self._inserted) < 3:
            return
        key = self._inserted.pop(self.chooser.randrange(len(self._inserted)))
        row = await connection.fetchrow(f"DELETE FROM users WHERE id = $1 RETURNING {chosen('users')}", key)
        assert row is not None
        self.commits += 1
        self.unsealed["users", key] += tuple(row) != self.left["users", key]
        del self.expected["users", key]

    async def login(self, connection: asyncpg.Connection) -> None:
        """Write a column that is none of the run's business."""
        key = self.chooser.choice(self._keys["users"])
        began = time.monotonic()
        await connection.execute('UPDATE users SET "lastLoginAt" = now()::timestamp WHERE id = $1', key)
        self.longest = max(self.longest, time.monotonic() - began)
        self.commits += 1
        self.touched.add(("users", key))


@contextlib.asynccontextmanager
async def connected(dsn: str):
    # No cached statements: the application survives a change of column types however it does that.
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        yield connection
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def gate(writers: Writers):
    """Keep one row locked, that no writer comes to, for as long as the block lasts: no run can end before."""
    async with connected(writers.dsn) as connection, connection.transaction():
        key = await connection.fetchval(
            "SELECT id FROM users WHERE tfn <> '' ORDER BY id DESC LIMIT 1 FOR UPDATE"
        )
        writers._keys["users"].remove(key)
        yield


@attrs.define(kw_only=True)
class CommandLine:
    """`datamig`, as processes."""

    dsn: str
    folder: Path
    chooser: random.Random
    options: tuple[str, ...] = ()
    kills: int = 0
    died_at: list[str] = attrs.field(factory=list)
    ended: Counter[int] = attrs.field(factory=Counter)

    async def start(self, *words: str, failpoint: str = "") -> asyncio.subprocess.Process:
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FIELD_ENCRYPTION", "DATAMIG_"))
        }
        environ |= {
            "DATABASE_URL": self.dsn,
            "FIELD_ENCRYPTION_KEY": KEY,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        }
        if failpoint:
            environ[failpoints.VARIABLE] = failpoint
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "taaxdog_datamig",
            *words,
            "--yes",
            "--json",
            cwd=self.folder,
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def undisturbed(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, document and messages of a call that nobody kills."""
        process = await self.start(*words)
        out, err = await process.communicate()
        return process.returncode, orjson.loads(out or b"{}"), err.decode()

    async def killed(self, *words: str, after: float = 0.0, failpoint: str = "", limit: float = 60) -> bool:
        """Start a call, and kill it: at a failpoint, or some seconds after it has got to work."""
        process = await self.start(*words, failpoint=failpoint)
        end = asyncio.create_task(process.communicate())
        if failpoint:
            await asyncio.wait([end], timeout=limit)
        else:
            await self._until_at_work(process, end)
            await asyncio.wait([end], timeout=after)
        if process.returncode is None:
            process.kill()
        _, messages = await end
        # A rollback may be over, with conflicts or by an earlier call, before it is killed.
        over = {0, 4, 5} if words[0] == "rollback" else {0}
        assert process.returncode in {-signal.SIGKILL, *over}, f"{words} ended by itself: {messages.decode()}"
        self.ended[process.returncode] += 1
        died = process.returncode == -signal.SIGKILL
        self.kills += died
        if died and failpoint:
            self.died_at.append(failpoint)
        return died

    async def _until_at_work(self, process: asyncio.subprocess.Process, end: asyncio.Task[Any]) -> None:
        async with connected(self.dsn) as connection:
            while not end.done():
                if await connection.fetchval("SELECT to_regclass('datamig.runs')"):
                    owners = await connection.fetch("SELECT owner FROM datamig.runs WHERE owner IS NOT NULL")
                    if any(row[0].endswith(f":{process.pid}") for row in owners):
                        return
                await asyncio.wait([end], timeout=0.02)


async def column_types(dsn: str) -> list[tuple[str, ...]]:
    async with connected(dsn) as connection:
        return [
            tuple(row)
            for row in await connection.fetch(
                "SELECT attrelid::regclass::text, attname::text, format_type(atttypid, atttypmod)"
                " FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped"
                " AND attrelid = ANY ($1::text[]::regclass[]) ORDER BY 1, 2",
                list(SENSITIVE),
            )
        ]


async def row_hashes(dsn: str) -> dict[str, Any]:
    """A hash of each row of the sensitive tables, and one for each other table as a whole."""
    result: dict[str, Any] = {}
    async with connected(dsn) as connection:
        for (table,) in await connection.fetch(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        ):
            row = f'hashtextextended(t::text, 0) FROM "{table}" AS t'
            if table in SENSITIVE:
                result[table] = dict(await connection.fetch(f"SELECT id::text, {row}"))
            else:
                row = row.replace(" FROM", "::numeric) FROM", 1)
                result[table] = tuple(await connection.fetchrow(f"SELECT count(*), sum({row}"))
    return result


def untouched(hashes: Mapping[str, Any], touched: set[Key]) -> dict[str, Any]:
    """Without the rows of the sensitive tables that the application wrote."""
    return {
        table: {key: value for key, value in found.items() if (table, key) not in touched}
        if table in SENSITIVE
        else found
        for table, found in hashes.items()
    }


async def stored(dsn: str) -> dict[Key, Values]:
    async with connected(dsn) as connection:
        return {
            (table, row[0]): tuple(row)[1:]
            for table in SENSITIVE
            for row in await connection.fetch(f'SELECT id::text, {chosen(table)} FROM "{table}"')
        }


async def assert_sealed(writers: Writers) -> None:
    """Every value opens to what the application or the generator wrote last; none is sealed twice."""
    keyring = Keyring.from_settings(Settings(field_encryption_key=KEY))
    assert keyring is not None
    ciphers = {(t, c): keyring.field(t, c) for t, columns in SENSITIVE.items() for c in columns}
    found = await stored(writers.dsn)
    assert found.keys() == writers.expected.keys()
    for (table, key), values in found.items():
        for column, value, wanted in zip(SENSITIVE[table], values, writers.expected[table, key], strict=True):
            if not wanted:
                assert value == wanted
                continue
            cipher = ciphers[table, column]
            assert value, f"{table} {key} {column} is gone"
            assert value.startswith("encrypted:v1:"), f"{table} {key} {column} is plain"
            opened = cipher.open(value, (key,))
            assert not opened.startswith("encrypted:"), f"{table} {key} {column} was sealed twice"
            assert opened == wanted, f"{table} {key} {column} is not what was written last"


async def assert_counted(writers: Writers) -> int:
    """The ledger has one before-image of each seal there was, and its counts agree."""
    ledger = Ledger.of()
    images: Counter[Key] = Counter()
    async with asyncpg.create_pool(writers.dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        (run,) = await ledger.runs.find(connection)
        assert run["status"] == "succeeded"
        keyring = Keyring.from_settings(Settings(field_encryption_key=KEY))
        data_key, sealed = open_data_key(run, keyring)
        assert sealed
        opener = BlobSealer(data_key)
        async with connection.transaction():
            async for chunk in connection.cursor(
                "SELECT c.target, c.relation, c.changed, b.image FROM datamig.chunks c"
                " LEFT JOIN datamig.before_images b ON b.chunk_id = c.id"
            ):
                keys = []
                if chunk["image"] is not None:
                    (effect,) = open_image(chunk["image"], opener, context_of(run["id"], chunk["target"]))
                    keys = effect.keys
                assert chunk["changed"] == len(keys)
                images.update((chunk["relation"].rpartition(".")[2].strip('"'), key) for (key,) in keys)
        assert await ledger.audit.verify(connection) is None
    wanted = Counter({key: times for key, times in writers.unsealed.items() if times})
    wanted.update(key for key, values in writers.expected.items() if any(values))
    differing = [key for key in images.keys() | wanted.keys() if images[key] != wanted[key]]
    assert not differing, f"{len(differing)} rows were not sealed once for each time: {differing[:5]}"
    assert run["changed"] == images.total()
    return run["changed"]


async def conflicts_in(dsn: str) -> set[Key]:
    async with connected(dsn) as connection:
        rows = await connection.fetch("SELECT tablename, key[1] FROM datamig.conflicts")
    return {(row[0], row[1]) for row in rows}


@attrs.frozen(kw_only=True)
class Plan:
    """How hard a campaign is."""

    kills: int
    #: A random kill comes at the most so long after the run has begun to work, seconds.
    spread: float
    writers: int
    #: Between two transactions of a writer, seconds.
    pause: float
    failpoints: bool
    undo_kills: int
    options: tuple[str, ...] = ()
    seed: int = 0


async def campaign(dsn: str, folder: Path, plan: Plan) -> dict[str, Any]:
    """Fight it; returns the figures."""
    began = time.monotonic()
    chooser = random.Random(plan.seed)
    writers = await Writers.reading(dsn, chooser)
    types = await column_types(dsn)
    before = await row_hashes(dsn)
    command = CommandLine(dsn=dsn, folder=folder, chooser=chooser)
    run = ("run", "encrypt-user-data", *plan.options)
    points = list(UNDER_FIRE) if plan.failpoints else []

    async def fire() -> None:
        while command.kills - len(command.died_at) < plan.kills or points:
            if points and chooser.random() < 0.5:
                point = points.pop(0)
                await command.killed(*run, failpoint=point, limit=90)
            else:
                await command.killed(*run, after=chooser.uniform(0, plan.spread))
        writers.stopping = True

    async with gate(writers):
        await asyncio.gather(fire(), writers.hold(), *(writers.work(plan.pause) for _ in range(plan.writers)))
    for point in AT_THE_END if plan.failpoints else ():
        await command.killed(*run, failpoint=point)
    code, document, messages = await command.undisturbed(*run)
    assert code == 0, f"{document.get('error')} {messages}"
    assert document["status"] in {"succeeded", "already_run"}
    await assert_sealed(writers)
    changed = await assert_counted(writers)
    sealed_at = time.monotonic()

    rollback = ("rollback", "encrypt-user-data")
    for point in UNDOING if plan.failpoints else ():
        await command.killed(*rollback, failpoint=point)
    for _ in range(plan.undo_kills):
        await command.killed(*rollback, after=chooser.uniform(0, plan.spread / 4))
    code, document, messages = await command.undisturbed(*rollback)
    overwritten = {key for key, times in writers.unsealed.items() if times}
    assert code in {5 if overwritten else 0, 4}, messages  # 4: it was over before the last kill
    if code != 4:
        listed = {(t, key) for t, keys in document["conflict_keys"].items() for key in keys}
        # The report lists so many; the ledger has them all.
        assert listed <= overwritten
        assert len(listed) == min(len(overwritten), LISTED)
    assert await conflicts_in(dsn) == overwritten
    found = await stored(dsn)
    assert found.keys() == writers.expected.keys()
    # A row that the application wrote back with one column still sealed comes back as it wrote it.
    wrong = [key for key, values in found.items() if values != writers.left[key]]
    assert not wrong, f"{len(wrong)} rows do not hold what was there: {wrong[:5]}"
    # Where the application put a token back beside what it wrote, the columns have to stay wide.
    wide = {table for (table, _), values in writers.left.items() if any(map(is_token, values))}
    assert [kind for kind in await column_types(dsn) if kind[0] not in wide] == [
        kind for kind in types if kind[0] not in wide
    ]
    # Byte for byte, all columns of all tables.
    assert untouched(await row_hashes(dsn), writers.touched) == untouched(before, writers.touched)
    return {
        "kills": command.kills,
        "died_at": command.died_at,
        "ended": dict(command.ended),
        "commits": writers.commits,
        "rewritten_after_seal": sum(writers.unsealed.values()),
        "conflicts": len(overwritten),
        "changed": changed,
        "failures": dict(writers.failures),
        "stayed_wide": sorted(wide),
        "longest_write": round(writers.longest, 3),
        "seconds": round(time.monotonic() - began, 1),
        "seconds_until_sealed": round(sealed_at - began, 1),
    }

"""One contender of bench_engine.py, in a process of its own: seals `users.tfn`; tells rows, seconds, memory.

    python benchmarks/rivals/updates.py NAME DSN SECONDS [--rollback]

All but the first, which cannot, seal each value with the same cipher, and read what they change. A contender
that is not through after SECONDS stops at its next commit; its rate is that of what it has done. Needs the
extra `bench`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from taaxdog_datamig import Database, Keyring, Runner, RunOptions, Settings
from taaxdog_datamig.crypto import FieldCipher, MasterKey
from taaxdog_datamig.events import ChunkDone, StepFinished

KEY = bytes(range(32))
CIPHER: FieldCipher = Keyring.of(MasterKey("bench", KEY)).field("users", "tfn")
#: Rows a transaction, where a contender has no size of its own.
MANY, CHUNK = 50_000, 5_000
READ = "SELECT id, tfn FROM users WHERE tfn <> ''"
#: A token's length, without sealing: the server cannot.
ONE = "UPDATE users SET tfn = 'encrypted:v1:bench:' || repeat(md5(id), 2) WHERE tfn <> ''"
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
Done = dict[str, Any]


def sealed(row: Any) -> tuple[str, str]:
    """The new value and the key of a row."""
    return CIPHER.seal(row[1], (row[0],)), row[0]


class Clock:
    """Time since it was made, and whether the contender's is over."""

    def __init__(self, limit: float) -> None:
        self.began, self.limit = time.monotonic(), limit

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    @property
    def over(self) -> bool:
        return self.seconds > self.limit


async def batches(dsn: str, size: int) -> AsyncIterator[list[tuple[str, str]]]:
    """Rows to change, sealed, over a connection of their own."""
    reader = await asyncpg.connect(dsn)
    async with reader.transaction(readonly=True):
        cursor = await reader.cursor(READ)
        while rows := await cursor.fetch(size):
            yield [sealed(row) for row in rows]
    await reader.close()


async def one_update(dsn: str, _limit: float) -> Done:
    connection = await asyncpg.connect(dsn)
    clock = Clock(0)
    tag = await connection.execute(ONE)
    return {"rows": int(tag.split()[1]), "seconds": clock.seconds}


async def row_by_row(dsn: str, limit: float) -> Done:
    connection, clock, rows = await asyncpg.connect(dsn), Clock(limit), 0
    update = await connection.prepare("UPDATE users SET tfn = $1 WHERE id = $2")
    async for batch in batches(dsn, 500):
        for new, key in batch:
            await update.fetch(new, key)
        rows += len(batch)
        if clock.over:
            break
    return {"rows": rows, "seconds": clock.seconds}


async def asyncpg_many(dsn: str, limit: float) -> Done:
    connection, clock, rows = await asyncpg.connect(dsn), Clock(limit), 0
    async for batch in batches(dsn, MANY):
        async with connection.transaction():
            await connection.executemany("UPDATE users SET tfn = $1 WHERE id = $2", batch)
        rows += len(batch)
        if clock.over:
            break
    return {"rows": rows, "seconds": clock.seconds}


async def key_order(dsn: str, limit: float) -> Done:
    """Chunks in key order, each one statement and one commit: how careful people write it."""
    connection, clock, rows, last = await asyncpg.connect(dsn), Clock(limit), 0, ""
    while not clock.over:
        found = await connection.fetch(
            "SELECT id, tfn FROM users WHERE id > $1 AND tfn <> '' ORDER BY id LIMIT $2", last, CHUNK
        )
        if not found:
            break
        new, keys = zip(*map(sealed, found), strict=True)
        await connection.execute(
            "UPDATE users AS u SET tfn = s.new FROM unnest($1::text[], $2::text[]) AS s(new, id)"
            " WHERE u.id = s.id",
            new,
            keys,
        )
        rows, last = rows + len(found), found[-1][0]
    return {"rows": rows, "seconds": clock.seconds}


def blocks(dsn: str, size: int) -> Iterator[list[tuple[str, str]]]:
    """As `batches`, for contenders that are not async."""
    import psycopg

    with psycopg.connect(dsn) as reader, reader.cursor("read") as cursor:
        cursor.itersize = size
        cursor.execute(READ)
        rows = iter(cursor)
        while batch := [sealed(row) for row in itertools.islice(rows, size)]:
            yield batch


def psycopg_many(dsn: str, limit: float) -> Done:
    """psycopg 3 sends executemany as a pipeline."""
    import psycopg

    rows = 0
    with psycopg.connect(dsn) as connection:
        clock = Clock(limit)
        for batch in blocks(dsn, MANY):
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany("UPDATE users SET tfn = %s WHERE id = %s", batch)
            rows += len(batch)
            if clock.over:
                break
        return {"rows": rows, "seconds": clock.seconds}


def sqlalchemy_bulk(dsn: str, limit: float) -> Done:
    from sqlalchemy import String, create_engine, update
    from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id = mapped_column(String, primary_key=True)
        tfn = mapped_column(String)

    engine, rows = create_engine("postgresql+psycopg://", creator=lambda: _psycopg(dsn)), 0
    clock = Clock(limit)
    with Session(engine) as session:
        for batch in blocks(dsn, CHUNK):
            session.execute(update(User), [{"id": key, "tfn": new} for new, key in batch])
            session.commit()
            rows += len(batch)
            if clock.over:
                break
    return {"rows": rows, "seconds": clock.seconds}


def _psycopg(dsn: str) -> Any:
    import psycopg

    return psycopg.connect(dsn)


def django_bulk(dsn: str, limit: float) -> Done:
    import django
    from django.conf import settings
    from django.db import models

    url = urlsplit(dsn)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "HOST": url.hostname or parse_qs(url.query)["host"][0],
                "PORT": url.port or parse_qs(url.query).get("port", [""])[0],
                "USER": unquote(url.username or ""),
                "PASSWORD": unquote(url.password or ""),
                "NAME": url.path.lstrip("/"),
            }
        }
    )
    django.setup()

    class User(models.Model):
        id = models.TextField(primary_key=True)
        tfn = models.TextField()

        class Meta:
            app_label = "bench"
            db_table = "users"

    rows, clock = 0, Clock(limit)
    for batch in blocks(dsn, CHUNK):
        users = [User(id=key, tfn=new) for new, key in batch]
        User.objects.bulk_update(users, ["tfn"], batch_size=1000)
        rows += len(batch)
        if clock.over:
            break
    return {"rows": rows, "seconds": clock.seconds}


async def ours(dsn: str, workers: int, *, force: bool = False) -> Done:
    """A whole run: seconds are those of the step that changes rows, `run` those of all steps.

    `writing` is the time from the beginning of the first chunk to the end of the last.

    With `--rollback` the one that was made before is rolled back.
    """
    settings = Settings(
        database_url=dsn, field_encryption_key=KEY.hex(), profile=ONE_COLUMN, backup_before_run=False
    )
    steps: dict[str, float] = {}
    rows, begins, ends = 0, math.inf, 0.0

    def note(event: object) -> None:
        nonlocal rows, begins, ends
        if isinstance(event, StepFinished):
            steps[event.step] = event.seconds
        elif isinstance(event, ChunkDone):
            rows += event.changed
            ends = time.monotonic()
            begins = min(begins, ends - event.seconds)

    async with Database.connect(settings=settings) as db:
        runner = Runner(db)
        runner.events.subscribe(note)
        clock = Clock(0)
        if "--rollback" in sys.argv:
            await runner.rollback("encrypt-user-data")
            return {"rollback": clock.seconds}
        await runner.run("encrypt-user-data", RunOptions(workers=workers, force=force))
        whole = clock.seconds
    return {"rows": rows, "seconds": steps["execute"], "writing": max(ends - begins, 0.0), "run": whole}


async def bare(dsn: str, workers: int) -> Done:
    """As `ours`, without before-images, digests, chunk records and audit entries: to see what those cost."""
    from taaxdog_datamig.engine.apply import Mode, apply, session_sql
    from taaxdog_datamig.engine.writer import ChunkWriter, Committed, Written
    from taaxdog_datamig.pg.transactions import transaction

    async def update(
        self: Any, connection: Any, relation: str, items: Any, refusals: Any, _: Mode
    ) -> Written:
        shape = self.job.shapes[self.target].at(relation)
        applied = await apply(connection, shape, items, Mode(), self.lane.statement)
        size = sum(len(text) for item in items for text in (*item.old, *item.new))
        return Written(changed=len(applied.stored), size=size, refusals=refusals)

    async def once(self: Any, _token: object, _relation: str, work: Any, mode: Mode) -> Committed:
        started, settings = time.monotonic(), self.job.db.settings
        async with self.lane.connect() as connection, transaction(connection):
            await connection.execute(session_sql(settings.lock_timeout, settings.chunk_seconds))
            written = await work(connection, mode)
        return Committed(changed=written.changed, seconds=time.monotonic() - started, size=written.size)

    for name, function in (("update", update), ("_transaction", once)):
        setattr(ChunkWriter, name, function)
    return await ours(dsn, workers)


CONTENDERS: dict[str, Callable[[str, float], Done | Coroutine[Any, Any, Done]]] = {
    "one UPDATE": one_update,
    "row by row": row_by_row,
    "asyncpg executemany": asyncpg_many,
    "psycopg executemany": psycopg_many,
    "SQLAlchemy bulk update": sqlalchemy_bulk,
    "Django bulk_update": django_bulk,
    "chunks in key order": key_order,
    "datamig, 1 worker": lambda dsn, _: ours(dsn, 1),
    "datamig, 2 workers": lambda dsn, _: ours(dsn, 2),
    "1 worker, without undo": lambda dsn, _: bare(dsn, 1),
    "2 workers, without undo": lambda dsn, _: bare(dsn, 2),
}


def main() -> None:
    """Run one contender."""
    name, dsn, limit = sys.argv[1:4]
    os.environ.pop("DATABASE_URL", None)
    result = CONTENDERS[name](dsn, float(limit))
    done = asyncio.run(result) if asyncio.iscoroutine(result) else result
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(json.dumps({**done, "peak": peak * (1 if sys.platform == "darwin" else 1024)}))


if __name__ == "__main__":
    main()

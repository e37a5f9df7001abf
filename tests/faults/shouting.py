"""A small table with everything the engine treats differently, and a migration over it.

`words` has a bigint key, a narrow column that is widened, rows that need the migration, rows that only the
inspection finds and the transform refuses, rows that the predicate finds and that need nothing, and rows
that have nothing to do with it. The transform is not idempotent: a row changed twice shows.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

import asyncpg
import attrs

from taaxdog_datamig import Changes, ColumnMigration, Database, Reject, Row, Runner, Skip, Target
from taaxdog_datamig.crypto import BlobSealer
from taaxdog_datamig.engine.images import context_of, open_image
from taaxdog_datamig.engine.start import open_data_key
from taaxdog_datamig.ledger import Ledger
from taaxdog_datamig.migration import Ddl, Outcome, Registry
from taaxdog_datamig.settings import Settings

ROWS = 60
TABLE = """
CREATE TABLE words (id bigint PRIMARY KEY, word varchar(10), seen int NOT NULL DEFAULT 0);
CREATE INDEX ON words (seen);
"""


def word(number: int) -> str | None:
    """What row `number` holds before."""
    if number % 10 == 0:
        return None
    if number % 10 == 1:
        return f"?{number}"  # refused by the inspection: looks done, and is not
    if number % 10 == 2:
        return f"{number}#"  # pending, and needs nothing
    return f"word{number:05}"


def shouted(text: str | None) -> str | None:
    return f"{text.upper()}, {len(text)}!" if text and text.startswith("word") else text


WIDEN = Ddl(
    do="ALTER TABLE words ALTER COLUMN word TYPE text",
    undo="ALTER TABLE words ALTER COLUMN word TYPE varchar(10)",
)


class Shout(ColumnMigration):
    """Puts words in capitals, with their length: longer than the column was."""

    name: ClassVar[str] = "shout"
    version: ClassVar[str] = "1"
    description: ClassVar[str] = "Shout words."
    table: ClassVar[str] = "words"
    columns: ClassVar[tuple[str, ...]] = ("word",)
    pending: ClassVar[str] = "word NOT LIKE '%!' AND word NOT LIKE '?%'"

    async def targets(self) -> Sequence[Target]:
        (target,) = await super().targets()
        (column,) = target.shape.columns
        target = attrs.evolve(target, inspect="word LIKE '?%'")
        if column.type == "text":
            return [target]
        shape = attrs.evolve(target.shape, columns=(attrs.evolve(column, type="text"),))
        return [attrs.evolve(target, shape=shape, ddl=(WIDEN,))]

    def transform(self, row: Row) -> Outcome:
        text = row["word"]
        if text.startswith("?"):
            return Reject("question", "word begins with a question mark")
        if text.endswith("#"):
            return Skip()
        return Changes(word=shouted(text))


class Sign(Shout):
    """Unsafe: what becomes of a row depends on the process, as it would on the clock."""

    name: ClassVar[str] = "sign"

    def transform(self, row: Row) -> Outcome:
        outcome = super().transform(row)
        return Changes(word=f"{os.getpid()}!") if isinstance(outcome, Changes) else outcome


class Tally(Shout):
    """Unsafe: writes outside the chunk's transaction, through a connection of its own."""

    name: ClassVar[str] = "tally"

    async def targets(self) -> Sequence[Target]:
        targets = await super().targets()
        if not self.context.dry_run:
            async with self.context.db.acquire() as connection:
                await connection.execute("UPDATE words SET seen = seen + 1 WHERE id = 3")
        return targets


async def fill(dsn: str) -> None:
    """The table, in an empty database."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(TABLE)
        await connection.executemany(
            "INSERT INTO words (id, word) VALUES ($1, $2)", [(i, word(i)) for i in range(ROWS)]
        )
    finally:
        await connection.close()


def runner_on(db: Database) -> Runner:
    return Runner(db, registry=Registry({"shout": Shout}))


def settings_for(dsn: str, **changed: object) -> Settings:
    return Settings(database_url=dsn, **{"backup_before_run": False} | changed)


async def fetch(dsn: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query, *arguments)
    finally:
        await connection.close()


async def assert_shouted(dsn: str, *, rows: int = ROWS) -> None:
    """Every row is as the migration should have left it, and the ledger tells the truth about it."""
    found = dict(await fetch(dsn, "SELECT id, word FROM words"))
    assert found == {i: shouted(word(i)) for i in range(rows)}
    await assert_ledger(dsn, "succeeded")
    quarantined = await fetch(dsn, "SELECT key[1]::bigint FROM datamig.quarantine")
    assert sorted(row[0] for row in quarantined) == [i for i in range(rows) if i % 10 == 1]


async def assert_original(dsn: str, *, rows: int = ROWS) -> None:
    """A rollback gave everything back, the column's type included."""
    assert dict(await fetch(dsn, "SELECT id, word FROM words")) == {i: word(i) for i in range(rows)}
    (kind,) = await fetch(
        dsn,
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'words'::regclass AND attname = 'word'",
    )
    assert kind[0] == "character varying(10)"
    await assert_ledger(dsn, "rolled_back")


async def assert_ledger(dsn: str, status: str) -> dict[str, int]:
    """One run of that status; each change counted once, and every before-image opens. Images by key."""
    ledger = Ledger.of()
    connection = await asyncpg.connect(dsn)
    try:
        (run,) = await ledger.runs.find(connection)
        assert run["status"] == status
        assert run["owner"] is None
        data_key, sealed = open_data_key(run, None)
        sealer = BlobSealer(data_key if sealed else None)
        images: dict[str, int] = {}
        for chunk in await connection.fetch(
            "SELECT c.id, c.target, c.changed, b.image FROM datamig.chunks c"
            " LEFT JOIN datamig.before_images b ON b.chunk_id = c.id ORDER BY c.id"
        ):
            keys = []
            if chunk["image"] is not None:
                (effect,) = open_image(chunk["image"], sealer, context_of(run["id"], chunk["target"]))
                keys = effect.keys
            assert chunk["changed"] == len(keys)
            for (key,) in keys:
                images[key] = images.get(key, 0) + 1
        assert run["changed"] == sum(images.values())
        assert await ledger.audit.verify(connection) is None
    finally:
        await connection.close()
    return images

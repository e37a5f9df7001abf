"""A rollback with several workers ends as one that takes chunk after chunk, newest first (promise P3)."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar

import asyncpg

from taaxdog_datamig import Changes, ColumnMigration, Database, Row, Runner, RunOptions, Settings
from taaxdog_datamig.events import ChunkDone, Event
from taaxdog_datamig.migration import Registry

ROWS = 12
TABLE = """
CREATE TABLE codes (id bigint PRIMARY KEY, code text, place int UNIQUE, moved bool NOT NULL DEFAULT false);
INSERT INTO codes SELECT n, 'code ' || n, n FROM generate_series(1, $ROWS) AS n
""".replace("$ROWS", str(ROWS))


class Capitals(ColumnMigration):
    """Several spellings become the same."""

    name: ClassVar[str] = "capitals"
    version: ClassVar[str] = "1"
    description: ClassVar[str] = "Capitals."
    table: ClassVar[str] = "codes"
    columns: ClassVar[tuple[str, ...]] = ("code",)
    pending: ClassVar[str] = "code <> upper(code)"

    def transform(self, row: Row) -> Changes:
        return Changes(code=row["code"].upper())


class MoveUp(ColumnMigration):
    """Each row takes the place that the one before has left."""

    name: ClassVar[str] = "move-up"
    version: ClassVar[str] = "1"
    description: ClassVar[str] = "Move up."
    table: ClassVar[str] = "codes"
    columns: ClassVar[tuple[str, ...]] = ("place", "moved")
    pending: ClassVar[str] = "NOT moved"

    def transform(self, row: Row) -> Changes:
        return Changes(place=row["place"] - 1, moved=True)


async def test_rows_that_depend_on_each_other_are_given_back_newest_first(database: str):
    settings = Settings(database_url=database, backup_before_run=False)
    registry = Registry({"capitals": Capitals, "move-up": MoveUp})
    application = await asyncpg.connect(database)
    await application.execute(TABLE)

    async def holds() -> list[tuple[object, ...]]:
        return [tuple(row) for row in await application.fetch("SELECT * FROM codes ORDER BY id")]

    before = await holds()
    async with Database.connect(settings=settings) as db:
        runner = Runner(db, registry=registry)
        await runner.run("move-up", RunOptions(batch_size=1))
        # As by a run with three workers: for the way there the rows must come in the order of their places.
        await application.execute("""UPDATE datamig.runs SET options = options || '{"workers": 3}'""")
        report = await runner.rollback("move-up")
        assert (report.restored_rows, report.conflicts) == (ROWS, 0)
        assert await holds() == before

        # In the order of their keys again.
        await application.execute("DROP TABLE codes;" + TABLE)
        # Row 1 is changed, written by the application, and changed to the same text again, after the last.
        written = threading.Event()

        async def write() -> None:
            connection = await asyncpg.connect(database)
            for row in (ROWS, 1):
                await connection.execute("UPDATE codes SET code = 'Code ' || id WHERE id = $1", row)
            await connection.close()

        def interfere(event: Event) -> None:
            if isinstance(event, ChunkDone) and not written.is_set():
                thread = threading.Thread(target=asyncio.run, args=(write(),))
                thread.start()
                thread.join()
                written.set()

        runner.events.subscribe(interfere)
        report = await runner.run("capitals", RunOptions(batch_size=2, workers=3))
        assert report.chunks == ROWS // 2 + 1
    async with Database.connect(settings=settings) as db, db.acquire() as other:
        lock = other.transaction()
        await lock.start()
        await other.execute("SELECT FROM codes WHERE id = $1 FOR UPDATE", ROWS)
        rollback = asyncio.create_task(Runner(db, registry=registry).rollback("capitals"))
        await asyncio.sleep(0.5)
        await lock.rollback()
        report = await rollback
    after = await holds()
    await application.close()
    assert [row[1] for row in after] == ["Code 1", *[row[1] for row in before[1:-1]], f"Code {ROWS}"]
    assert report.conflict_keys == {"codes": ["1"]}, "what the run had found there first is gone"

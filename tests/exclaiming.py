"""Imperative migrations that no change is harmless to repeat in: what happens twice shows."""

from __future__ import annotations

from typing import ClassVar

import asyncpg

from taaxdog_datamig import Connection, Migration, Record
from taaxdog_datamig.migration import Argument

ROWS = 60
THINGS = f"""
CREATE TABLE things (id int PRIMARY KEY, v text NOT NULL, n int NOT NULL DEFAULT 0);
CREATE TABLE tally (id int PRIMARY KEY, total int NOT NULL);
INSERT INTO things SELECT i, 'thing ' || i FROM generate_series(1, {ROWS}) AS i;
INSERT INTO tally VALUES (1, 0);
"""


async def fill(dsn: str) -> None:
    """The tables, in an empty database."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(THINGS)
    finally:
        await connection.close()


class Exclaim(Migration):
    """Two calls: one over ids, one over a pending query."""

    name = "exclaim"
    version = "1.0.0"
    description = "Exclaim each thing, and count."
    tables = ("things", "tally")
    arguments: ClassVar = {"sign": Argument(help="What is put behind.", default="!", choices=("!", "?"))}

    async def estimate_affected_records(self) -> int:
        async with self.context.db.acquire() as connection:
            return await connection.fetchval("SELECT count(*) FROM things") * 2

    async def up(self) -> None:
        self.log("exclaiming")
        await self.process_batch(range(1, ROWS + 1), self.exclaim)
        changed = await self.process_batch(
            "SELECT id FROM things WHERE n = $1", self.count, arguments=[0], batch_size=7
        )
        assert changed == ROWS

    async def exclaim(self, connection: Connection, batch: list[int]) -> int:
        sign = self.context.arguments["sign"]
        rows = await connection.fetch(
            "UPDATE things SET v = v || $2 WHERE id = ANY ($1::int[]) RETURNING id", batch, sign
        )
        self.store_rollback({"exclaimed": [row["id"] for row in rows]})
        return len(rows)

    async def count(self, connection: Connection, batch: list[Record]) -> None:
        await connection.execute(
            "UPDATE things SET n = n + 1 WHERE id = ANY ($1::int[])", [row["id"] for row in batch]
        )
        await connection.execute("UPDATE tally SET total = total + $1", len(batch))
        for row in batch:
            self.store_rollback({"counted": row["id"]})

    async def down(self) -> None:
        await self.process_batch(self.rollback_data(), self.give_back, batch_size=3)

    async def give_back(self, connection: Connection, batch: list[dict[str, object]]) -> None:
        for data in batch:
            if "counted" in data:
                await connection.execute("UPDATE things SET n = n - 1 WHERE id = $1", data["counted"])
                await connection.execute("UPDATE tally SET total = total - 1")
            else:
                await connection.execute(
                    "UPDATE things SET v = left(v, -1) WHERE id = ANY ($1::int[])", data["exclaimed"]
                )

"""An application that writes while a migration runs: what it wrote last is there in the end."""

from __future__ import annotations

import asyncio
import contextlib
import random

import asyncpg

from taaxdog_datamig import RunOptions
from tests.sample import engine, rows

#: Errors that an application has to live with beside anybody else's transactions.
PASSING = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError)


class Application:
    """Writes marks into a text column of some tables, row by row, at random."""

    def __init__(self, dsn, columns, seed=0):
        self.dsn = dsn
        #: table -> (key column, text column), as SQL names.
        self.columns = columns
        self.chooser = random.Random(seed)
        self.keys = {}
        #: (table, key) -> the mark that was committed last.
        self.written = {}
        self.longest = 0.0
        self.commits = 0

    @contextlib.asynccontextmanager
    async def writing(self):
        for table, (key, _) in self.columns.items():
            self.keys[table] = [row[0] for row in await rows(self.dsn, f"SELECT {key}::text FROM {table}")]
        connection = await asyncpg.connect(self.dsn)
        task = asyncio.create_task(self._write(connection))
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await connection.close()

    async def _write(self, connection):
        loop = asyncio.get_running_loop()
        while True:
            table = self.chooser.choice(list(self.columns))
            key, column = self.columns[table]
            chosen = self.chooser.choice(self.keys[table])
            mark = f"written {self.commits}"
            began = loop.time()
            # Shielded: a write that was cancelled on its way may have been committed.
            write = connection.execute(
                f"UPDATE {table} SET {column} = $2 WHERE {key}::text = $1", chosen, mark
            )
            task = asyncio.ensure_future(write)
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if await task != "UPDATE 0":
                    self.written[table, chosen] = mark
                raise
            except PASSING:
                continue
            self.longest = max(self.longest, loop.time() - began)
            if task.result() != "UPDATE 0":
                self.written[table, chosen] = mark
                self.commits += 1
            await asyncio.sleep(0.001)

    async def lost(self):
        """What was written and is not there: (table, key) of rows with another mark, and of rows gone."""
        other, gone = [], []
        for table, (key, column) in self.columns.items():
            found = dict(await rows(self.dsn, f"SELECT {key}::text, {column}::text FROM {table}"))
            for (name, row), mark in self.written.items():
                if name == table and row not in found:
                    gone.append((table, row))
                elif name == table and found[row] != mark:
                    other.append((table, row))
        return other, gone


async def run_beside(dsn, name, columns, *, deletes=False, rolled_back=True, options=None, **settings):
    """Run a migration, and roll it back, while an application writes to the same tables.

    Nothing that the application wrote is overwritten or lost: after the run it is there, or its row was
    deleted as it should; after the rollback, all of it is there.
    """
    application = Application(dsn, columns)
    async with engine(dsn, **settings) as runner:
        async with application.writing():
            await asyncio.sleep(0.05)
            report = await runner.run(name, RunOptions(batch_size=40, **(options or {})))
            assert report.status == "succeeded"
        other, gone = await application.lost()
        assert other == []
        assert deletes or gone == []
        assert application.commits > 0
        if rolled_back:
            async with application.writing():
                await runner.rollback(report.run_id)
            assert await application.lost() == ([], [])
    return report, application

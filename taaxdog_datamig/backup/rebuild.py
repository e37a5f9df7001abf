"""Restoring into a database that has none of the tables: the schema, the rows, what follows from rows.

Each part is committed with its mark in schema `datamig_restore`, which lives as long as the restore is not
done: after a kill, the same restore goes on with the parts that have no mark.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup import tools
from taaxdog_datamig.backup.definitions import Definitions
from taaxdog_datamig.backup.large_objects import restore_large_objects
from taaxdog_datamig.backup.loading import copy_part
from taaxdog_datamig.backup.sequences import move_past_rows, set_as_backed_up
from taaxdog_datamig.errors import BackupError, DatabaseError, RefusedError
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.quoting import qualified
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.sql import queries
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.loading import OpenBackup
    from taaxdog_datamig.backup.manifest import BackedUpTable
    from taaxdog_datamig.pg.database import Database

_SQL = queries(__package__, "restore.sql")
_MARKS = """
CREATE SCHEMA datamig_restore;
CREATE TABLE datamig_restore.restore (
    backup text NOT NULL, tables text[] NOT NULL,
    bare bool NOT NULL DEFAULT false, rows_done bool NOT NULL DEFAULT false);
CREATE TABLE datamig_restore.parts (name text PRIMARY KEY, rows bigint NOT NULL);
"""
_SETTLED = "SET LOCAL synchronous_commit = off; SET LOCAL statement_timeout = 0"
_HALF = "The database is half restored: start the same restore again, it goes on where it stopped"


@attrs.frozen
class _Piece:
    table: BackedUpTable
    part: str
    size: int


async def under_way(connection: PoolConnectionProxy[Any]) -> asyncpg.Record | None:
    """The restore that was begun here and is not done: `backup`, `tables`, `bare`, `rows_done`."""
    if await connection.fetchval("SELECT to_regclass('datamig_restore.restore') IS NULL"):
        return None
    return await connection.fetchrow("SELECT * FROM datamig_restore.restore")


@attrs.define
class Rebuild:
    """A restore into an empty database."""

    db: Database
    backup: OpenBackup
    tables: Sequence[BackedUpTable]
    jobs: int
    inserted: Counter[str] = attrs.field(factory=Counter, init=False)
    resumed: int = attrs.field(default=0, init=False)
    warnings: list[str] = attrs.field(factory=list, init=False)

    async def run(self) -> None:
        """Do it, or go on with it.

        Raises:
            RefusedError: another restore is under way here, or there is no schema or program for it.
            BackupError: a part is damaged, or the schema cannot be made. What is done stays, and is not
                done again.
        """
        async with Definitions.of(self.db, self.backup) as definitions:
            await self._begin(definitions)
            async with _half_restored():
                failpoints.hit("restore-schema")
                await self._load()
                await self._follow(definitions)
                async with self.db.acquire() as connection:
                    await connection.execute("DROP SCHEMA datamig_restore CASCADE")

    async def _begin(self, definitions: Definitions) -> None:
        labels = [table.label for table in self.tables]
        async with self.db.acquire() as connection:
            begun = await under_way(connection)
            if begun is None:
                async with transaction(connection):
                    await connection.execute(_MARKS)
                    await connection.execute(
                        "INSERT INTO datamig_restore.restore VALUES ($1, $2)", self.backup.manifest.id, labels
                    )
            elif (begun["backup"], begun["tables"]) != (self.backup.manifest.id, labels):
                raise RefusedError(
                    f"a restore of backup {begun['backup']} was begun in this database and is not done",
                    "Start that one again, with the same tables, or begin with a new database",
                )
            else:
                definitions.bare = begun["bare"]
                await connection.execute(_SQL["end_left"], tools.RESTORING)
            if not await present(connection, self.backup.manifest.tables):
                await self._make(connection, definitions)
        if definitions.bare:
            self.warnings.append(
                "owners and privileges were left out, since a role that they name does not exist here"
            )

    async def _make(self, connection: PoolConnectionProxy[Any], definitions: Definitions) -> None:
        try:
            if not await definitions.before_rows():
                definitions.bare = True
                # First: whoever goes on with it must know.
                await connection.execute("UPDATE datamig_restore.restore SET bare = true")
                await definitions.before_rows()
        except BackupError as error:
            # All or nothing; which of it may not be known, where the answer to its commit was lost.
            await connection.execute(_SQL["end_left"], tools.RESTORING)
            if await present(connection, self.backup.manifest.tables):
                raise BackupError(error.what, _HALF) from None
            await connection.execute("DROP SCHEMA datamig_restore CASCADE")
            raise

    async def _load(self) -> None:
        async with self.db.acquire() as connection:
            done = dict(await connection.fetch("SELECT name, rows FROM datamig_restore.parts"))
        self.resumed = len(done)
        pieces = [
            _Piece(table, part, self.backup.manifest.parts[part].plain_size)
            for table in self.tables
            for part in table.parts
        ]
        for piece in pieces:
            self.inserted[piece.table.label] += done.get(piece.part, 0)
        pieces = sorted((p for p in pieces if p.part not in done), key=lambda piece: piece.size, reverse=True)

        async def work() -> None:
            async with self.db.acquire() as connection:
                while pieces:
                    await self._part(connection, pieces.pop(0))

        with only_error():
            async with anyio.create_task_group() as group:
                for _ in range(min(self.jobs, len(pieces))):
                    group.start_soon(work)

    async def _part(self, connection: PoolConnectionProxy[Any], piece: _Piece) -> None:
        table = piece.table
        how = await connection.fetchrow(_SQL["loading"], table.schema, table.name)
        if how is None:
            raise BackupError(
                f"the schema of backup {self.backup.manifest.id} has no table {table.label}",
                "Use another backup",
            )
        into = (table.schema, table.name) if how["root"] is None else (how["root_schema"], how["root"])
        alone = len(table.parts) == 1 and how["own"] and how["root"] is None
        async with transaction(connection):
            await connection.execute(_SETTLED)
            if alone:
                # What makes FREEZE possible. It is empty: nobody else knows it yet.
                await connection.execute(f"TRUNCATE ONLY {qualified(*into)}")
            rows = await copy_part(connection, self.backup, table, piece.part, into, freeze=alone)
            await connection.execute("INSERT INTO datamig_restore.parts VALUES ($1, $2)", piece.part, rows)
        self.inserted[table.label] += rows
        failpoints.hit("restore-part")

    async def _follow(self, definitions: Definitions) -> None:
        manifest = self.backup.manifest
        complete = manifest.complete and len(self.tables) == len(manifest.tables)
        async with self.db.acquire() as connection:
            if len(self.tables) == len(manifest.tables):
                async with transaction(connection):
                    await restore_large_objects(connection, self.backup, bare=definitions.bare)
            await set_as_backed_up(connection, manifest.sequences)
            await move_past_rows(connection)
            again = await connection.fetchval(
                "UPDATE datamig_restore.restore AS n SET rows_done = true FROM datamig_restore.restore AS o"
                " RETURNING o.rows_done"
            )
            if again:
                roots = list({table.root for table in manifest.tables if table.root is not None})
                for drop in await connection.fetch(_SQL["whole_indexes"], roots):
                    await connection.execute(drop["sql"])
        failpoints.hit("restore-rows")
        left = await definitions.after_rows(self.jobs, again=again, complete=complete)
        self.warnings += [
            f"foreign key {name} was left out: rows it refers to were not restored" for name in left
        ]
        failpoints.hit("restore-indexes")
        async with self.db.acquire() as connection:
            await connection.execute("SET statement_timeout = 0")
            for view in await connection.fetch(_SQL["stale_views"]):
                if view["label"] in manifest.filled_views:
                    await connection.execute(f"REFRESH MATERIALIZED VIEW {view['quoted']}")


@contextlib.asynccontextmanager
async def _half_restored() -> AsyncIterator[None]:
    """Say, of whatever ends the block, that what is done stays."""
    try:
        async with server_errors("restoring the backup", when_lost="Wait until it is back"):
            yield
    except (BackupError, DatabaseError) as error:
        todo = f"{error.todo.rstrip('.')}. {_HALF}" if error.todo else _HALF
        raise type(error)(error.what, todo) from None


async def present(
    connection: PoolConnectionProxy[Any], tables: Sequence[BackedUpTable]
) -> set[tuple[str, str]]:
    """Schema and name of those of the tables that exist."""
    names = [table.schema for table in tables], [table.name for table in tables]
    return {tuple(row) for row in await connection.fetch(_SQL["present"], *names)}

"""Proof that a backup restores: it is restored into a database of its own, which is read and compared.

The rows are read by COPY, as they were when the backup was made: what comes out must be what is in the parts,
byte for byte; where a table's parts were loaded side by side, row for row in any order. The definitions are
dumped again and compared with the backup's, statement by statement; owners and privileges are not, since the
roles may not be there.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import anyio
from anyio import to_thread

from taaxdog_datamig.backup import tools
from taaxdog_datamig.backup.contents import sources
from taaxdog_datamig.backup.create import settle
from taaxdog_datamig.backup.definitions import Definitions
from taaxdog_datamig.backup.restore import restore
from taaxdog_datamig.backup.rowsums import RowSum
from taaxdog_datamig.errors import BackupError
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.contents import Source
    from taaxdog_datamig.backup.loading import OpenBackup
    from taaxdog_datamig.backup.manifest import BackedUpTable

_DUMP = ("--schema-only", "--format=custom", "--compress=0")
_SCRIPT = ("--no-owner", "--no-privileges", "--file=-")
#: How a script announces a statement.
_ENTRY = re.compile(r"^--\n-- (Name: .*)\n--\n", re.MULTILINE)
#: Lines that depend on the order, on the moment, or on chance.
_NOISE = re.compile(r"^(--|SET default_|\\(un)?restrict ).*\n|^\n", re.MULTILINE)
#: Differences that an error names.
_NAMED = 5


@server_errors("restoring the backup into a database of its own")
async def prove(server: Database, backup: OpenBackup, jobs: int = 2) -> bool:
    """Restore a backup into a new database, compare, and drop it.

    Args:
        server: a database of the server to use, as a role that may create databases.
        backup: the backup.
        jobs: parts loaded, and indexes built, at once.

    Returns:
        Whether definitions were compared, too: they are not where the server's version is another.

    Raises:
        RefusedError: it holds no schema, or there is no program for it.
        BackupError: it does not restore, or what was restored differs; the table or object is named.
        DatabaseError: the server could not be used.
    """
    async with _scratch(server) as db:
        await restore(db, backup, jobs=jobs)
        async with db.acquire() as connection, transaction(connection, snapshot=True):
            await settle(connection)
            await connection.execute("SET LOCAL synchronize_seqscans = off")
            here = {source.label: source for source in await sources(connection)}
            for name, tables in _together(backup).items():
                await _same_rows(
                    connection, backup, name, [(table, here.get(table.label)) for table in tables]
                )
        return await _same_definitions(db, backup)


@contextlib.asynccontextmanager
async def _scratch(server: Database) -> AsyncIterator[Database]:
    name = f"datamig_verify_{secrets.token_hex(4)}"
    async with server.acquire() as connection:
        await connection.execute(f"CREATE DATABASE {ident(name)} TEMPLATE template0")
    try:
        dsn = urlunsplit(urlsplit(server.dsn)._replace(path=f"/{name}"))
        async with Database.connect(dsn, settings=server.settings) as db:
            yield db
    finally:
        with anyio.CancelScope(shield=True):
            async with server.acquire() as connection:
                await connection.execute(f"DROP DATABASE IF EXISTS {ident(name)} WITH (FORCE)")


def _together(backup: OpenBackup) -> dict[str, list[BackedUpTable]]:
    """Tables by name; partitions as one: where a row goes may differ from database to database."""
    found: dict[str, list[BackedUpTable]] = defaultdict(list)
    for table in backup.manifest.tables:
        found[table.root or table.label].append(table)
    return found


async def _same_rows(
    connection: PoolConnectionProxy[Any],
    backup: OpenBackup,
    name: str,
    tables: Sequence[tuple[BackedUpTable, Source | None]],
) -> None:
    restored, kept = (RowSum(tables[0][0].format == "binary") for _ in range(2))
    for table, found in tables:
        if found is None:
            raise _differs(backup, f"there is no table {table.label} after its restore")
        if len(tables) == len(table.parts) == 1:
            there, here = hashlib.sha256(), hashlib.sha256()
            await _read(connection, table, found, there.update)
            await to_thread.run_sync(_feed, backup, table.parts[0], here.update)
            if there.digest() == here.digest():
                return
        await _read(connection, table, found, restored.begin())
        for part in table.parts:
            await to_thread.run_sync(_feed, backup, part, kept.begin())
    if (restored.rows, restored.total) != (kept.rows, kept.total):
        raise _differs(
            backup, f"{name} has other rows after its restore: {restored.rows}, and {kept.rows} in the backup"
        )


async def _read(
    connection: PoolConnectionProxy[Any], table: BackedUpTable, found: Source, feed: Callable[[bytes], object]
) -> None:
    columns = ", ".join(ident(column) for column in table.columns)
    query = f"SELECT {columns} FROM ONLY {found.quoted} {(found.condition or '').strip()}"

    async def take(data: bytes) -> None:
        feed(data)

    await connection.copy_from_query(
        query, output=take, format="binary" if table.format == "binary" else "text"
    )


def _feed(backup: OpenBackup, part: str, feed: Callable[[bytes], object]) -> None:
    for piece in backup.read(part):
        feed(piece)


async def _same_definitions(db: Database, backup: OpenBackup) -> bool:
    dump = await to_thread.run_sync(tools.find, "pg_dump", db.server.version)
    made_by = backup.manifest.pg_dump_version or ""
    if dump is None or made_by.split(".")[0] != str(dump.major):
        return False
    async with Definitions.of(db, backup) as definitions:
        again = definitions.path.with_name("again.dump")
        await tools.run(dump, [*_DUMP, f"--file={again}"], db.dsn)
        was, now = [
            _statements(await tools.run(definitions.tool, [*_SCRIPT, str(path)], db.dsn))
            for path in (definitions.path, again)
        ]
    if different := sorted({name for name, _ in (was - now) + (now - was)}):
        named = " | ".join(different[:_NAMED])
        raise _differs(backup, f"{len(different)} definitions differ after its restore: {named}")
    return True


def _statements(script: bytes) -> Counter[tuple[str, str]]:
    """Each statement of a script with the name of what it makes."""
    _, *pairs = _ENTRY.split(script.decode())
    return Counter(
        (name, _NOISE.sub("", sql).strip()) for name, sql in zip(pairs[::2], pairs[1::2], strict=True)
    )


def _differs(backup: OpenBackup, what: str) -> BackupError:
    return BackupError(f"backup {backup.manifest.id}: {what}", "Do not rely on it: make another")

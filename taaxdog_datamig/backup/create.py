"""Making a backup: one snapshot, several connections, parts as they come, the manifest last."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
from anyio import to_thread

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup import choosing, contents, lint, manifest, tools
from taaxdog_datamig.backup.contents import Source
from taaxdog_datamig.backup.copying import Copying, Writing
from taaxdog_datamig.backup.manifest import BackedUpLargeObjects, BackedUpSequence, BackedUpTable, Manifest
from taaxdog_datamig.crypto import new_data_key
from taaxdog_datamig.errors import BackupError
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.retry import server_errors
from taaxdog_datamig.pg.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.copying import Parts
    from taaxdog_datamig.backup.parts import Part
    from taaxdog_datamig.backup.stores import Store
    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.pg.database import Database

#: How long it is waited for somebody who alters a table, milliseconds.
_LOCK_PATIENCE = 10_000
#: What would end a long read or wait too long, and the path: text forms leave out schemas that are on it.
_SETTLED = (
    f"SET LOCAL lock_timeout = {_LOCK_PATIENCE}; SET LOCAL statement_timeout = 0; SET LOCAL search_path = ''"
)
SCHEMA_PART = "schema.dump.zst"


@contextlib.asynccontextmanager
async def _locked_out() -> AsyncIterator[None]:
    try:
        yield
    except asyncpg.LockNotAvailableError:
        raise BackupError(
            "a table is being altered, dropped or truncated by another session, which was waited for",
            "Start again when that is done; pg_stat_activity shows who waits or holds a lock",
        ) from None


@server_errors("backing up")
@_locked_out()
async def create(
    db: Database,
    store: Store,
    keyring: Keyring | None,
    wishes: choosing.Wishes,
    progress: Callable[[str, int], None] = lambda _label, _rows: None,
) -> Manifest:
    """Make a backup.

    Args:
        db: the database; a standby will do.
        store: where it goes.
        keyring: seals it, where there is one and it is wanted.
        wishes: what kind.
        progress: is told of each part that is done: its table and rows.

    Raises:
        BackupError: it cannot be written, or a table cannot be read whole.
        DatabaseError: the server went away.
    """
    created_at = datetime.now(UTC)
    backup = f"{created_at:%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}"
    key = new_data_key() if keyring is not None and wishes.encrypt else None
    kid, wrapped = (None, None) if key is None or keyring is None else keyring.wrap(key, f"backup|{backup}")
    async with Snapshot.take(db, settle) as snapshot:
        about = await contents.moment(snapshot.connection)
        found = await choosing.choose(snapshot.connection, wishes, standby=db.server.in_recovery)
        await contents.hold(snapshot.connection, found.tables)
        failpoints.hit("create-snapshot")
        writing = Writing(store=store, backup=backup, key=key, level=wishes.level)
        copying = Copying(snapshot=snapshot, held=found.tables, writing=writing, progress=progress)
        dumped: list[Part] = []
        with only_error():
            async with anyio.create_task_group() as group:
                group.start_soon(copying.run, found.sources, wishes.jobs)
                # Beside the rows: programs take their time to tell their version, too.
                # A pooler gives it another session than the snapshot's.
                wanted = wishes.schema and not db.pooled
                schema = await to_thread.run_sync(_program, db.server.version) if wanted else None
                if schema is not None:
                    dumped.append(await _schema(db, snapshot, schema, writing))
        said = await lint.warnings(
            snapshot.connection,
            found.tables,
            complete=found.complete,
            with_schema=schema is not None,
            sealed=key is not None,
            large_objects=found.objects_left_out,
        )
    parts = copying.parts
    failpoints.hit("create-parts")
    async with db.acquire() as connection:
        # After the snapshot, since sequences do not roll back: never behind a row that is in the backup.
        states = [await contents.state(connection, sequence) for sequence in found.sequences]
    made = Manifest(
        id=backup,
        name=wishes.name,
        created_at=created_at,
        finished_at=datetime.now(UTC),
        database=db.server.database,
        pg_dump_version=schema.version if schema is not None else None,
        complete=found.complete,
        kid=kid,
        data_key=wrapped,
        tables=tuple(_table(source, parts[source.oid]) for source in found.tables),
        sequences=tuple(BackedUpSequence(**state) for state in states),
        schema_part=dumped[0].name if dumped else None,
        parts={part.name: part for part in (*dumped, *_all(parts))},
        warnings=(*found.warnings, *said),
        filled_views=tuple(found.filled_views),
        large_objects=_large_objects(found.large_objects, parts),
        **about,
    )
    await to_thread.run_sync(_write_manifest, store, made, keyring)
    return made


async def settle(connection: PoolConnectionProxy[Any]) -> None:
    """Settle what a transaction that reads rows depends on."""
    await connection.execute(_SETTLED)


def _program(version: int) -> tools.Tool | None:
    return tools.find("pg_dump", version)


async def _schema(db: Database, snapshot: Snapshot, tool: tools.Tool, writing: Writing) -> Part:
    words = ["--schema-only", "--format=custom", "--compress=0", f"--snapshot={snapshot.id}"]
    # The marks of a restore that is not done.
    words.append("--exclude-schema=datamig_restore")
    words.append(f"--lock-wait-timeout={_LOCK_PATIENCE}")
    dump = await tools.run(tool, words, db.dsn)

    def write() -> Part:
        with writing.part(SCHEMA_PART) as writer:
            writer.feed(dump)
            return writer.finish()

    return await to_thread.run_sync(write)


def _all(parts: Parts) -> Iterator[Part]:
    for numbered in parts.values():
        for number in sorted(numbered):
            yield numbered[number]


def _table(source: Source, parts: dict[int, Part]) -> BackedUpTable:
    ordered = [parts[number] for number in sorted(parts)]
    return BackedUpTable(
        schema=source.schema,
        name=source.name,
        columns=dict(source.columns),
        format="binary" if source.binary else "text",
        root=source.root,
        parts=tuple(part.name for part in ordered),
        rows=sum(part.rows for part in ordered),
        size=sum(part.plain_size for part in ordered),
    )


def _large_objects(found: contents.LargeObjects | None, parts: Parts) -> BackedUpLargeObjects | None:
    if found is None:
        return None
    listed, pages = (
        tuple(parts[source.oid][number].name for number in sorted(parts[source.oid]))
        for source in (found.list, found.pages)
    )
    return BackedUpLargeObjects(
        objects=found.objects, page_size=found.page_size, list_parts=listed, page_parts=pages
    )


def _write_manifest(store: Store, made: Manifest, keyring: Keyring | None) -> None:
    there = store.sizes(f"{made.id}/")
    for part in made.parts.values():
        if there.get(f"{made.id}/{part.name}") != part.size:
            raise BackupError(
                f"part {part.name} of backup {made.id} is no more in {store.address} as it was written",
                "Find out who takes files away there, then make the backup again",
            )
    data = made.encode(manifest.signer(made.kid, keyring))
    with store.writer(f"{made.id}/{manifest.NAME}") as write:
        write(data)
        failpoints.hit("create-manifest")

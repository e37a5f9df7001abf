"""Runs: their state, and the lease that lets one process at a time work on each."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import attrs
import orjson

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

UNFINISHED = ("running", "paused", "rolling_back")


def owner() -> str:
    """How this process signs a lease."""
    return f"{socket.gethostname()}:{os.getpid()}"


def owner_is_dead(signature: str | None) -> bool:
    """Whether a lease was signed by a process of this host that is no more.

    Its session may outlive it by the statement it was in; then the run is free in a moment.
    """
    host, _, pid = (signature or "").rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


@attrs.frozen(kw_only=True)
class NewRun:
    """What is known of a run when it begins."""

    id: uuid.UUID
    migration: str
    version: str
    fingerprint: str
    relations: Sequence[str]
    targets: Sequence[Mapping[str, Any]]
    options: Mapping[str, Any]
    estimated_rows: int
    actor: Mapping[str, str]
    kid: str | None
    data_key: bytes | None = attrs.field(repr=False)


@attrs.frozen
class Runs:
    """Table `runs` and its leases."""

    _sql: Mapping[str, str] = attrs.field(repr=False)

    async def lock(self, connection: PoolConnectionProxy[Any]) -> None:
        """Let one process at a time decide who works on what; until the caller's transaction ends."""
        await connection.execute(self._sql["lock_runs"])

    async def overlapping(
        self, connection: PoolConnectionProxy[Any], migration: str, relations: Sequence[str]
    ) -> list[uuid.UUID]:
        """Unfinished runs of this migration, first, or on one of these tables."""
        rows = await connection.fetch(self._sql["overlapping"], migration, list(relations))
        return [row["id"] for row in rows]

    async def add(self, connection: PoolConnectionProxy[Any], run: NewRun) -> None:
        """Record a new run."""
        await connection.execute(
            self._sql["insert_run"],
            run.id,
            run.migration,
            run.version,
            run.fingerprint,
            list(run.relations),
            orjson.dumps(list(run.targets)).decode(),
            orjson.dumps(run.options).decode(),
            run.estimated_rows,
            orjson.dumps(run.actor).decode(),
            run.kid,
            run.data_key,
        )

    async def take(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, seconds: float, *, pooled: bool = False
    ) -> int:
        """Take the lease and return its epoch; whoever held it before can commit nothing any more.

        `pooled`: the connection's session is not this process's own, and says nothing of its life.
        """
        epoch = await connection.fetchval(self._sql["bump_epoch"], run_id)
        await connection.execute(self._sql["own"], run_id, owner(), seconds, not pooled)
        return int(epoch)

    async def heartbeat(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        epoch: int,
        seconds: float,
        waiting: str | None,
        workers: tuple[int, int] | None = None,
        *,
        pooled: bool = False,
    ) -> asyncpg.Record | None:
        """Renew the lease; returns the run's `control`, or None when another process has taken the lease.

        `waiting` is why it waits, `workers` how many are at work, and of how many: for others to see.
        """
        return await connection.fetchrow(
            self._sql["heartbeat"], run_id, epoch, owner(), seconds, waiting, not pooled, workers
        )

    async def release(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, epoch: int) -> None:
        """Give the lease back, if we still hold it."""
        await connection.execute(self._sql["release"], run_id, epoch)

    async def guard(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, epoch: int, relation: str = ""
    ) -> asyncpg.Record | None:
        """Inside a chunk's transaction: None when the lease is lost.

        Else the run's `control`, and `hot`: where the count of heap-only updates of `relation` stands. With a
        relation it is a chunk that goes forward, for which the run must be running: a worker that an executor
        has lost sight of may come with it when the run is over, or being rolled back.
        """
        status = "running" if relation else None
        return await connection.fetchrow(self._sql["guard"], run_id, epoch, relation or "pg_class", status)

    async def open_chunk(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        epoch: int,
        relation: str = "",
        *,
        lock_timeout: float,
        statement_timeout: float,
    ) -> asyncpg.Record | None:
        """Begin a chunk: its transaction's settings, timeouts in seconds, and then as `guard`."""
        return await connection.fetchrow(
            self._sql["open_chunk"],
            run_id,
            epoch,
            relation or "pg_class",
            f"{lock_timeout * 1000:.0f}ms",
            f"{statement_timeout * 1000:.0f}ms",
            "running" if relation else None,
        )

    async def control(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID) -> str | None:
        """What was asked for from another terminal: "pause", "cancel" or None."""
        asked: str | None = await connection.fetchval(self._sql["control"], run_id)
        return asked

    async def find(
        self,
        connection: PoolConnectionProxy[Any],
        *,
        run_id: uuid.UUID | None = None,
        migration: str | None = None,
        status: Sequence[str] | None = None,
        limit: int = 20,
    ) -> list[asyncpg.Record]:
        """Runs, newest first."""
        statuses = list(status) if status is not None else None
        return await connection.fetch(self._sql["runs"], run_id, migration, statuses, limit)

    async def migrations(self, connection: PoolConnectionProxy[Any]) -> list[str]:
        """The migrations that have runs."""
        return [row["migration"] for row in await connection.fetch(self._sql["migrations"])]

    async def by_key(self, connection: PoolConnectionProxy[Any]) -> dict[str, int]:
        """Runs by the key under which their data key is wrapped."""
        return {row["kid"]: row["runs"] for row in await connection.fetch(self._sql["runs_by_key"])}

    async def wrapped(
        self, connection: PoolConnectionProxy[Any], primary: str
    ) -> list[tuple[uuid.UUID, str, bytes]]:
        """Runs whose data key is wrapped under another key than `primary`: id, key's id, data key. Locked."""
        return [tuple(row) for row in await connection.fetch(self._sql["wrapped"], primary)]

    async def rewrap(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, kid: str, data_key: bytes
    ) -> None:
        """Keep a run's data key as it is wrapped now."""
        await connection.execute(self._sql["rewrap"], run_id, kid, data_key)

    async def purgeable(
        self, connection: PoolConnectionProxy[Any], before: datetime, *, shred: bool
    ) -> list[asyncpg.Record]:
        """Runs that ended before then and have before-images; with `shred` also those with a data key."""
        return await connection.fetch(self._sql["purgeable"], before, shred)

    async def purge(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, *, shred: bool) -> None:
        """Delete a run's before-images; with `shred` its data key, too."""
        await connection.execute(self._sql["purge_images"], run_id)
        if shred:
            await connection.execute(self._sql["shred"], run_id)

    async def find_ids(self, connection: PoolConnectionProxy[Any], prefix: str) -> list[uuid.UUID]:
        """Up to two ids that begin with `prefix`."""
        rows = await connection.fetch(self._sql["find_ids"], prefix)
        return [row["id"] for row in rows]

    async def set_status(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, status: str, error: str | None = None
    ) -> None:
        """Change the status; clears a request that has been answered."""
        await connection.execute(self._sql["set_status"], run_id, status, error)

    async def reopen(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, status: str) -> None:
        """Set an unfinished status; the error of a run that is being rolled back is kept."""
        await connection.execute(self._sql["reopen"], run_id, status)

    async def retry(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID) -> None:
        """Set it running, to do refused rows again."""
        await connection.execute(self._sql["retry"], run_id)

    async def fence(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, epoch: int) -> int | None:
        """Wait for the open chunks of our own workers, and let none of them commit another.

        Returns the new epoch, or None when the lease under the old one is lost.
        """
        value: int | None = await connection.fetchval(self._sql["fence"], run_id, epoch)
        return value

    async def is_fenced(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, epoch: int) -> bool:
        """Whether it was this process that ended the epoch, by `fence`, to roll the run back."""
        return bool(await connection.fetchval(self._sql["is_fenced"], run_id, epoch, owner()))

    async def request(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, control: str | None
    ) -> None:
        """Ask whoever runs it to pause or cancel."""
        await connection.execute(self._sql["request"], run_id, control)

    async def set_ddl_done(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, *, done: bool
    ) -> None:
        """Record that the definitions were changed (or changed back), in that very transaction."""
        await connection.execute(self._sql["ddl_done"], run_id, done)

    async def set_affected(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, rows: int) -> None:
        """Record how many rows differ from before the run."""
        await connection.execute(self._sql["set_affected"], run_id, rows)

    async def finish(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, affected: int, report: bytes
    ) -> bool:
        """Record success; False when it was recorded before."""
        found = await connection.fetchval(self._sql["finish"], run_id, affected, report.decode())
        return found is not None

    async def set_backup(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, backup_id: str
    ) -> None:
        """Record the backup that was made before the run."""
        await connection.execute(self._sql["set_backup"], run_id, backup_id)

    async def backups_needed(self, connection: PoolConnectionProxy[Any]) -> frozenset[str]:
        """Ids of backups made before runs that can still be undone or gone on with."""
        rows = await connection.fetch(self._sql["backups_needed"])
        return frozenset(row["backup_id"] for row in rows)

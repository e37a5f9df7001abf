"""Finding the rows that differ on several sessions at once.

Each session stages a share of the backup's parts, and compares it with the tables on the snapshot of the
transaction that is to change them. Only what differs goes on into that transaction's own staging tables. Rows
that are newer than the backup are counted, not found: that is enough unless they are to be deleted.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig.backup.staging import differs, stage
from taaxdog_datamig.pg.groups import only_error
from taaxdog_datamig.pg.quoting import ident, literal
from taaxdog_datamig.pg.retry import DRIVER_ERRORS
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.loading import OpenBackup
    from taaxdog_datamig.backup.matching import Target
    from taaxdog_datamig.pg.database import Database

#: Pieces that may wait on their way from session to session.
_WAITING = 4
#: Sessions of the pool that a restore needs besides.
_OTHERS = 3
#: How long a session is given to drop its staging tables, seconds.
_PATIENCE = 5


@attrs.frozen(kw_only=True)
class Sieve:
    """Sessions that hold a share of the backup each."""

    targets: Sequence[Target]
    sessions: Sequence[PoolConnectionProxy[Any]]
    #: SQL: how long a lock is waited for.
    lock_timeout: str

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, db: Database, backup: OpenBackup, targets: Sequence[Target], jobs: int
    ) -> AsyncIterator[Sieve]:
        """Stage the backup's rows of these tables on so many sessions.

        Raises:
            BackupError: a part is damaged.
            RefusedError: rows do not fit the types that the columns have now.
        """
        shares = _shares(backup, targets, min(jobs, db.pool.get_max_size() - _OTHERS))
        async with contextlib.AsyncExitStack() as stack:
            sessions = [await stack.enter_async_context(_session(db)) for _ in shares]

            async def fill(session: PoolConnectionProxy[Any], share: Collection[str]) -> None:
                for target in targets:
                    await stage(session, backup, target, share)

            with only_error():
                async with anyio.create_task_group() as group:
                    for session, share in zip(sessions, shares, strict=True):
                        group.start_soon(fill, session, share)
            timeout = f"{db.settings.lock_timeout * 1000:.0f}ms"
            yield cls(targets=targets, sessions=sessions, lock_timeout=timeout)

    async def sift(self, connection: PoolConnectionProxy[Any]) -> None:
        """Put the rows that differ into the staging tables of the transaction open here, REPEATABLE READ."""
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        snapshot = await connection.fetchval("SELECT pg_export_snapshot()")
        taking = anyio.Lock()
        with only_error():
            async with anyio.create_task_group() as group:
                for session in self.sessions:
                    group.start_soon(self._sift, session, snapshot, connection, taking)
        for target in self.targets:
            await connection.execute(f"ANALYZE {target.stage}")

    async def _sift(
        self,
        session: PoolConnectionProxy[Any],
        snapshot: str,
        connection: PoolConnectionProxy[Any],
        taking: anyio.Lock,
    ) -> None:
        async with transaction(session):
            await session.execute(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
                f" SET TRANSACTION SNAPSHOT {literal(snapshot)}; SET LOCAL statement_timeout = 0;"
                f" SET LOCAL work_mem = '64MB'; SET LOCAL lock_timeout = {literal(self.lock_timeout)};"
                " SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            for target in self.targets:
                await session.execute(
                    f"CREATE TEMPORARY TABLE {ident(_sifted(target))} ON COMMIT DROP AS"
                    f" SELECT {', '.join(f's.{column.quoted}' for column in target.columns)}"
                    f" FROM {target.stage} AS s LEFT JOIN {target.source} AS t"
                    f" ON {target.keys_equal('s', 't')}"
                    f" WHERE t.ctid IS NULL OR {await differs(session, target)}"
                )
                async with taking:
                    await _move(session, connection, target)


def _sifted(target: Target) -> str:
    return f"datamig_sifted_{target.number}"


async def _move(
    session: PoolConnectionProxy[Any], connection: PoolConnectionProxy[Any], target: Target
) -> None:
    send, receive = anyio.create_memory_object_stream[bytes](_WAITING)
    columns = [column.name for column in target.columns]
    # Text, where a type has no binary form.
    form: Any = "text" if target.retyped or target.tables[0].format == "text" else "binary"

    async def read() -> None:
        async with send:
            await session.copy_from_table(_sifted(target), output=send.send, columns=columns, format=form)

    name = target.stage.rpartition(".")[2]
    async with anyio.create_task_group() as group, receive:
        group.start_soon(read)
        await connection.copy_to_table(name, source=receive, columns=columns, format=form)


def _shares(backup: OpenBackup, targets: Sequence[Target], jobs: int) -> list[set[str]]:
    """The parts of these tables, dealt out by size, the largest first."""
    sizes = {
        part: backup.manifest.parts[part].plain_size
        for target in targets
        for table in target.tables
        for part in table.parts
    }
    shares: list[set[str]] = [set() for _ in range(max(1, min(jobs, len(sizes))))]
    for part in sorted(sizes, key=lambda part: sizes[part], reverse=True):
        min(shares, key=lambda share: sum(sizes[name] for name in share)).add(part)
    return shares


@contextlib.asynccontextmanager
async def _session(db: Database) -> AsyncIterator[PoolConnectionProxy[Any]]:
    async with db.acquire() as session:
        try:
            # It may wait for the others.
            await session.execute("SET idle_session_timeout = 0")
            yield session
        finally:
            # It goes back to the pool.
            with anyio.move_on_after(_PATIENCE, shield=True), contextlib.suppress(*DRIVER_ERRORS):
                await session.execute("DISCARD TEMP")

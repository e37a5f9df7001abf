"""The audit trail: a chain of entries, each of which carries the hash of the one before."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import attrs
import orjson

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Mapping

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

_GENESIS = hashlib.sha256(b"datamig/audit/v1").digest()
_PAGE = 1000
#: Entries are numbered from 1; one that somebody put in front of them must be seen, too.
_BEFORE_ALL = -(1 << 63)


def package_version() -> str:
    """Version of this package; `0` in a tree that is not installed."""
    try:
        return version("taaxdog-datamig")
    except PackageNotFoundError:
        return "0"


def actor(role: str) -> dict[str, str]:
    """Who does it, and where: database role, operating-system user, host, process, package version."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without an account, as in containers
        user = str(os.getuid())
    return {
        "role": role,
        "os_user": user,
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "version": package_version(),
    }


def audited(entry: Mapping[str, Any]) -> str:
    """The text of an entry made now: counts, names and keys, never values."""
    return orjson.dumps({"at": datetime.now(UTC), **entry}, option=orjson.OPT_SORT_KEYS).decode()


@attrs.frozen
class Audit:
    """The trail of one ledger."""

    _sql: Mapping[str, str] = attrs.field(repr=False)

    async def append(
        self,
        connection: PoolConnectionProxy[Any],
        event: str,
        run_id: uuid.UUID | None,
        entry: Mapping[str, Any],
    ) -> None:
        """Add an entry; part of the caller's transaction.

        Args:
            connection: where the caller's transaction is open.
            event: what happened, such as `run-started` or `chunk`.
            run_id: the run it belongs to.
            entry: details: counts, names and keys, never values.
        """
        await connection.execute(self._sql["audit"], event, run_id, audited(entry))

    async def first(self, connection: PoolConnectionProxy[Any], event: str, run_id: uuid.UUID) -> str | None:
        """The first entry of a run about that, as JSON."""
        text: str | None = await connection.fetchval(self._sql["audit_first"], event, run_id)
        return text

    async def count(self, connection: PoolConnectionProxy[Any]) -> int:
        """How many entries there are."""
        return int(await connection.fetchval(self._sql["audit_count"]))

    async def entries(self, connection: PoolConnectionProxy[Any]) -> AsyncIterator[asyncpg.Record]:
        """Every entry, the oldest first."""
        seq = _BEFORE_ALL
        while rows := await connection.fetch(self._sql["audit_entries"], seq, _PAGE):
            for row in rows:
                yield row
            seq = rows[-1]["seq"]

    async def verify(self, connection: PoolConnectionProxy[Any]) -> int | None:
        """Walk the chain. Returns the number of the first entry that does not fit, or None."""
        seq, previous = 0, _GENESIS
        while True:
            rows = await connection.fetch(self._sql["audit_entries"], seq or _BEFORE_ALL, _PAGE)
            for row in rows:
                seq += 1
                body = f"{seq}\n{row['event']}\n{row['run_id'] or ''}\n{row['entry']}".encode()
                digest = hashlib.sha256(previous + body).digest()
                if row["seq"] != seq or row["previous"] != previous or row["hash"] != digest:
                    return seq
                previous = digest
            if rows:
                continue
            head = await connection.fetchrow(self._sql["audit_head"])
            if head is not None and (head["seq"], head["hash"]) == (seq, previous):
                return None
            # Somebody may have added an entry between the two questions; then it is there by now.
            if not await connection.fetch(self._sql["audit_entries"], seq or _BEFORE_ALL, 1):
                return seq + 1

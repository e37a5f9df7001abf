"""The ledger in schema `datamig`: the only truth about what runs have done.

Its functions take an open connection and never begin a transaction: the caller's one transaction covers
rows, before-images, checkpoint, counters and audit alike (promise P1).
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import attrs

from taaxdog_datamig.ledger.audit import Audit, actor, package_version
from taaxdog_datamig.ledger.install import install, install_temporary, installed_version
from taaxdog_datamig.ledger.runs import UNFINISHED, NewRun, Runs, owner_is_dead
from taaxdog_datamig.ledger.tasks import TaskEntry, Tasks
from taaxdog_datamig.ledger.work import ArchivePart, ChunkEntry, Claim, Key, Refusal, Work, outside_quarantine
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

__all__ = [
    "UNFINISHED",
    "ArchivePart",
    "Audit",
    "ChunkEntry",
    "Claim",
    "Key",
    "Ledger",
    "NewRun",
    "Refusal",
    "Runs",
    "TaskEntry",
    "Tasks",
    "Work",
    "actor",
    "install",
    "install_temporary",
    "installed_version",
    "outside_quarantine",
    "owner_is_dead",
    "package_version",
]


@attrs.frozen
class Ledger:
    """The rooms of the ledger, in schema `datamig` or, for a dry run, in `pg_temp`."""

    schema: Literal["datamig", "pg_temp"]
    runs: Runs
    work: Work
    audit: Audit
    tasks: Tasks
    _sql: MappingProxyType[str, str] = attrs.field(repr=False)

    @classmethod
    def of(cls, schema: Literal["datamig", "pg_temp"] = "datamig") -> Ledger:
        """The ledger in that schema."""
        sql = MappingProxyType(
            {name: text.replace("datamig.", f"{schema}.") for name, text in queries(__name__).items()}
        )
        return cls(schema, Runs(sql), Work(sql), Audit(sql), Tasks(sql), sql)

    async def canaries(self, connection: PoolConnectionProxy[Any]) -> dict[str, str]:
        """Key id to canary token, of every key that has been used on this database."""
        return {row["kid"]: row["canary"] for row in await connection.fetch(self._sql["canaries"])}

    async def add_canary(self, connection: PoolConnectionProxy[Any], kid: str, canary: str) -> None:
        """Record a key's canary at its first use."""
        await connection.execute(self._sql["add_canary"], kid, canary)

    async def drop_canary(self, connection: PoolConnectionProxy[Any], kid: str) -> None:
        """Forget a key that nothing here needs any more."""
        await connection.execute(self._sql["drop_canary"], kid)

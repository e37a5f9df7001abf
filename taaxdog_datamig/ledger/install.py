"""Creating the ledger, and bringing an older one up to date."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

import asyncpg

from taaxdog_datamig.errors import PreflightFailed, ServerRefused
from taaxdog_datamig.pg.ddl import alter

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.settings import Settings

#: Files that bring the ledger from version n to n + 1, in order; the first creates it.
UPGRADES = ("schema.sql", "upgrade_2.sql", "upgrade_3.sql", "upgrade_4.sql", "upgrade_5.sql", "upgrade_6.sql")

#: Any number of our own: makes two processes that install at once take turns.
_LOCK = 0x7AA8_D061


async def installed_version(connection: PoolConnectionProxy[Any]) -> int:
    """Version of the ledger in this database; 0 when there is none.

    Raises:
        ServerRefused: there is one, and the role may not use it.
    """
    try:
        if await connection.fetchval("SELECT to_regclass('datamig.meta') IS NULL"):
            return 0
        return int(await connection.fetchval("SELECT max(version) FROM datamig.meta"))
    except asyncpg.InsufficientPrivilegeError as error:
        raise ServerRefused(
            f"the role may not use the ledger, schema datamig ({error.sqlstate})",
            "Connect as the role that created it, or as a member of that role",
        ) from None


def scripts(schema: str, start: int = 0) -> list[str]:
    """The statements that bring a ledger from version `start` to the newest."""
    files = resources.files(__package__)
    return [(files / name).read_text("utf-8").replace("datamig.", f"{schema}.") for name in UPGRADES[start:]]


async def install(connection: PoolConnectionProxy[Any], settings: Settings, events: EventBus) -> None:
    """Create or upgrade schema `datamig`, in one transaction under `lock_timeout`.

    Raises:
        PreflightFailed: no privilege to create the schema.
        ServerRefused: a newer version of this package was here, or the lock was not to be had.
    """
    version = await installed_version(connection)
    if version == len(UPGRADES):
        return
    if version > len(UPGRADES):
        raise ServerRefused(
            f"schema datamig has version {version}, this package knows {len(UPGRADES)}",
            "Upgrade taaxdog_datamig; an older version must not write a newer ledger",
        )

    async def upgrade() -> None:
        # Asked again under the lock: another process may have done it meanwhile.
        now = await installed_version(connection)
        for script in scripts("datamig", now):
            await connection.execute(script)

    if not version and not await connection.fetchval(
        "SELECT has_database_privilege(current_database(), 'CREATE')"
    ):
        raise PreflightFailed(
            "the role may not create schema datamig, in which runs are recorded",
            "GRANT CREATE ON DATABASE to it, or have an owner run any migration once",
        )
    prepare = [f"SELECT pg_advisory_xact_lock({_LOCK})", "CREATE SCHEMA IF NOT EXISTS datamig"]
    doing = "creating schema datamig" if not version else "bringing schema datamig up to date"
    await alter(connection, prepare, settings, events, also=upgrade, doing=doing)


async def install_temporary(connection: PoolConnectionProxy[Any]) -> None:
    """Create a ledger that lives in this session only, for a dry run."""
    for script in scripts("pg_temp"):
        await connection.execute(script)

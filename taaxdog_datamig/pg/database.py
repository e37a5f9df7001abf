"""The door to PostgreSQL: a pool whose sessions are all set up alike."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import attrs

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.pg.address import POOLER_HINT, unavailable, where
from taaxdog_datamig.pg.quoting import ident, literal
from taaxdog_datamig.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from asyncpg.pool import PoolConnectionProxy

#: Oldest server the engine is meant for: TID range scans came with 14.
MINIMUM_SERVER = 14

#: Pinned for every session, so that a value's text form is the same wherever it is read again: the
#: compare-and-set and the before-images depend on it. `row_security=off` turns a policy that would
#: silently hide rows into an error. JIT costs more than it gains on chunk-sized statements.
SESSION = {
    "application_name": "taaxdog_datamig",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "row_security": "off",
    "jit": "off",
    "idle_in_transaction_session_timeout": "1min",
    "default_transaction_isolation": "read committed",
    # Chunks turn it off for themselves; what says that they are done must outlast a crash.
    "synchronous_commit": "on",
}

#: Prepared statements that a session keeps: the driver's own default.
_STATEMENTS = 100
#: What PgBouncer passes on to the server by itself. All else of SESSION is refused, or silently left out.
_PASSED_ON = ("application_name", "timezone", "datestyle")


@attrs.frozen(kw_only=True)
class Server:
    """What is on the other end."""

    version: int
    database: str
    role: str
    superuser: bool
    in_recovery: bool
    read_only: bool


@attrs.define
class Database:
    """A pool of connections to one database. Open it with `Database.connect`."""

    pool: asyncpg.Pool[Any] = attrs.field(repr=False)
    settings: Settings
    server: Server
    dsn: str = attrs.field(repr=False)

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls,
        dsn: str | None = None,
        *,
        settings: Settings | None = None,
        max_connections: int = 24,
    ) -> AsyncIterator[Database]:
        """Connect, and close everything at the end.

        Args:
            dsn: a postgresql:// URL; the settings' `database_url` by default.
            settings: resolved settings; from the environment by default.
            max_connections: upper limit of the pool.

        Raises:
            SettingsError: no URL, or one that does not parse; or sessions are not as they are pinned.
            DatabaseUnavailable: no server there, or it does not let us in.
        """
        settings = settings or Settings.load()
        dsn = dsn or settings.database_url
        if not dsn:
            raise SettingsError(
                "no database is named",
                "Set DATABASE_URL=postgresql://user@host/name, or give --database URL",
            )
        pooled = settings.pooler == "transaction"
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=max_connections,
                server_settings={name: SESSION[name] for name in _PASSED_ON} if pooled else SESSION,
                timeout=20,
                # The next transaction may be in another session, which knows nothing of this one.
                statement_cache_size=0 if pooled else _STATEMENTS,
                reset=_leave if pooled else None,
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
            raise unavailable(error, dsn) from None
        try:
            row = await pool.fetchrow(
                "SELECT current_setting('server_version_num')::int / 10000 AS version,"
                " current_database() AS database, current_user::text AS role,"
                " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,"
                " pg_is_in_recovery() AS in_recovery,"
                " current_setting('default_transaction_read_only')::bool AS read_only"
            )
            assert row is not None
            await _check_pinned(pool, row["role"], pooled=pooled)
            yield cls(pool, settings, Server(**row), dsn)
        finally:
            # Shielded: a cancelled run, too, gives its sessions back, so that the server sees them end now.
            with anyio.move_on_after(5, shield=True) as patience:
                await pool.close()
            if patience.cancelled_caught:
                pool.terminate()

    @property
    def pooled(self) -> bool:
        """Whether only a transaction is sure to be one session: see the setting `pooler`."""
        return self.settings.pooler == "transaction"

    @property
    def address(self) -> str:
        """Where the server is, as host:port or a socket's folder with it, without anything secret."""
        return where(self.dsn).removesuffix(f"/{self.server.database}")

    def acquire(self) -> AbstractAsyncContextManager[PoolConnectionProxy[Any]]:
        """Borrow a connection."""
        return self.pool.acquire(timeout=20)


async def _leave(_: asyncpg.Connection[Any]) -> None:
    """Nothing of ours outlives a transaction, and a reset would be of somebody else's session."""


async def _check_pinned(pool: asyncpg.Pool[Any], role: str, *, pooled: bool) -> None:
    """Whether the session is as it is pinned: a pooler may have left that out.

    Raises:
        SettingsError: it is not; with the statements that make it so.
    """
    rows = await pool.fetch("SELECT name, current_setting(name) FROM unnest($1::text[]) AS name", [*SESSION])
    wrong = {name: SESSION[name] for name, value in rows if value.lower() != SESSION[name].lower()}
    if wrong and not pooled:
        raise SettingsError(
            f"the session is not as it was asked for ({', '.join(wrong)}): a pooler seems to be between",
            POOLER_HINT,
        )
    if wrong:
        statements = " ".join(
            f"ALTER ROLE {ident(role)} SET {name} = {literal(value)};" for name, value in wrong.items()
        )
        raise SettingsError(
            f"the pooler's sessions for role {role} are not set up as needed ({', '.join(wrong)})",
            f"Once, on the server: {statements} Then RECONNECT in PgBouncer's console",
        )

"""The door to PostgreSQL: a pool whose sessions are all set up alike."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import attrs

from taaxdog_datamig.errors import DatabaseUnavailable, SettingsError
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
    "idle_in_transaction_session_timeout": "60s",
    "default_transaction_isolation": "read committed",
    # Chunks turn it off for themselves; what says that they are done must outlast a crash.
    "synchronous_commit": "on",
}


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
            SettingsError: no URL, or one that does not parse.
            DatabaseUnavailable: no server there, or it does not let us in.
        """
        settings = settings or Settings.load()
        dsn = dsn or settings.database_url
        if not dsn:
            raise SettingsError(
                "no database is named",
                "Set DATABASE_URL=postgresql://user@host/name, or give --database URL",
            )
        try:
            pool = await asyncpg.create_pool(
                dsn, min_size=1, max_size=max_connections, server_settings=SESSION, timeout=20
            )
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
            raise _unavailable(error, dsn) from None
        try:
            row = await pool.fetchrow(
                "SELECT current_setting('server_version_num')::int / 10000 AS version,"
                " current_database() AS database, current_user::text AS role,"
                " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,"
                " pg_is_in_recovery() AS in_recovery,"
                " current_setting('default_transaction_read_only')::bool AS read_only"
            )
            assert row is not None
            yield cls(pool, settings, Server(**row), dsn)
        finally:
            # Shielded: a cancelled run, too, gives its sessions back, so that the server sees them end now.
            with anyio.move_on_after(5, shield=True) as patience:
                await pool.close()
            if patience.cancelled_caught:
                pool.terminate()

    @property
    def address(self) -> str:
        """Where the server is, as host:port or a socket's folder with it, without anything secret."""
        return _where(self.dsn).removesuffix(f"/{self.server.database}")

    def acquire(self) -> AbstractAsyncContextManager[PoolConnectionProxy[Any]]:
        """Borrow a connection."""
        return self.pool.acquire(timeout=20)


def _unavailable(error: Exception, dsn: str) -> SettingsError | DatabaseUnavailable:
    """Say what is wrong. The URL is taken apart, since it may hold a password."""
    where = _where(dsn)
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return DatabaseUnavailable(
            f"the server at {where} does not accept this role and password",
            "Check user and password of DATABASE_URL, and the server's pg_hba.conf",
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return DatabaseUnavailable(
            f"there is no such database at {where}", "Check the name at the end of DATABASE_URL"
        )
    if isinstance(error, ValueError) or type(error).__name__ == "ClientConfigurationError":
        return SettingsError(
            "the database URL does not parse", "It should look like postgresql://user:password@host:5432/name"
        )
    state = getattr(error, "sqlstate", None)
    reason = f" ({state or type(error).__name__})"
    return DatabaseUnavailable(
        f"cannot reach PostgreSQL at {where}{reason}",
        "Is it running, is the address right, does a firewall stand between?",
    )


def _where(dsn: str) -> str:
    from urllib.parse import parse_qs, urlsplit  # noqa: PLC0415 - only on the way to an error

    try:
        parts = urlsplit(dsn)
        # With `/`, `?` or `#` in a password that should have been %2F, the parts are not what they seem.
        if parts.scheme not in {"postgresql", "postgres"} or "@" in parts.path + parts.query + parts.fragment:
            return "the given address"
        query = parse_qs(parts.query)
        host = parts.hostname or query.get("host", ["the default address"])[0]
        port = parts.port or query.get("port", ["5432"])[0]
    except ValueError:
        return "the given address"
    return f"{host}:{port}{parts.path if parts.path != '/' else ''}"

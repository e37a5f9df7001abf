"""A database's URL, in messages: it may hold a password, so it is taken apart and never quoted."""

from __future__ import annotations

import re
import socket
from typing import Final

import asyncpg

from taaxdog_datamig.errors import DatabaseUnavailable, SettingsError

POOLER_HINT: Final = (
    'For PgBouncer set pooler = "transaction" in datamig.toml, or connect to the server directly; see '
    "docs/how-to/pgbouncer.md"
)
_SCHEMES: Final = frozenset({"postgresql", "postgres"})
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
#: Why a server cannot be reached, by error; the first that fits.
_WHY: Final = (
    (socket.gaierror, "nobody knows the host's name"),
    (ConnectionRefusedError, "connection refused"),
    (FileNotFoundError, "no socket there"),
    (TimeoutError, "no answer in time"),
)


def unavailable(error: Exception, dsn: str) -> SettingsError | DatabaseUnavailable:
    """What is wrong, out of what the driver raised when it was to connect to `dsn`."""
    at = where(dsn)
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return DatabaseUnavailable(
            f"the server at {at} does not accept this role and password",
            "Check user and password of DATABASE_URL, and the server's pg_hba.conf",
        )
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return DatabaseUnavailable(
            f"there is no such database at {at}", "Check the name at the end of DATABASE_URL"
        )
    if isinstance(error, ValueError) or type(error).__name__ == "ClientConfigurationError":
        return SettingsError(
            f"the database URL does not parse{_misspelt(dsn)}",
            "It should look like postgresql://user@host:5432/name",
        )
    if isinstance(error, asyncpg.ProtocolViolationError) and "startup parameter" in str(error):
        return SettingsError(f"the pooler at {at} refuses the settings of a session", POOLER_HINT)
    state = getattr(error, "sqlstate", None)
    if state is not None and state.startswith(("22", "42")):
        return SettingsError(
            f"the server at {at} refuses a parameter of the database URL ({state})",
            "What stands behind the `?`, and is not the driver's own, is a setting of the server",
        )
    why = state or next((why for kind, why in _WHY if isinstance(error, kind)), type(error).__name__)
    return DatabaseUnavailable(
        f"cannot reach PostgreSQL at {at} ({why})",
        "Is it running, is the address right, does a firewall stand between?",
    )


def where(dsn: str) -> str:
    """Host, port and name of the database, without anything secret."""
    from urllib.parse import parse_qs, urlsplit  # noqa: PLC0415 - only on the way to an error

    try:
        parts = urlsplit(dsn)
        # With `/`, `?` or `#` in a password that should have been %2F, the parts are not what they seem.
        if parts.scheme not in _SCHEMES or "@" in parts.path + parts.query + parts.fragment:
            return "the given address"
        query = parse_qs(parts.query)
        host = parts.hostname or query.get("host", ["the default address"])[0]
        port = parts.port or query.get("port", ["5432"])[0]
    except ValueError:
        return "the given address"
    return f"{host}:{port}{parts.path if parts.path != '/' else ''}"


def _misspelt(dsn: str) -> str:
    """Which part of a URL is wrong, where that can be told without quoting what may be a secret."""
    from urllib.parse import parse_qs, urlsplit  # noqa: PLC0415 - only on the way to an error

    scheme, stroke, _ = dsn.partition("://")
    if not stroke:
        return ": it has no ://"
    if scheme not in _SCHEMES:
        # A word that could be one; anything else may be part of a secret.
        return f": it begins with {scheme}://" if re.fullmatch("[a-z]{2,12}", scheme) else ""
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return ""
    try:
        _ = parts.port
    except ValueError:
        return ": its port is no number up to 65535, or a / in the password is not written as %2F"
    mode = parse_qs(parts.query).get("sslmode", ["disable"])[0]
    return "" if mode in _SSL_MODES else f": its sslmode is none of {', '.join(_SSL_MODES)}"

"""Which errors are worth another try, and how long to wait before it."""

from __future__ import annotations

import contextlib
import enum
import random
from typing import TYPE_CHECKING

import asyncpg
import attrs

from taaxdog_datamig.errors import DatabaseUnavailable, ServerRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


#: What the driver raises. InternalClientError comes from using a connection that the server has just ended.
DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    EOFError,
)


class Fault(enum.Enum):
    """Whose fault an error is, which decides what is done about it."""

    #: Deadlock, serialization failure, cancelled statement: the same work may succeed at once.
    COLLISION = "collision"
    #: Somebody else holds a lock; the work is left for later.
    LOCKED = "locked"
    #: The connection or the server went away.
    GONE = "gone"
    #: One of the rows: the chunk is bisected down to it.
    DATA = "data"
    #: Nothing that trying again would change.
    FATAL = "fatal"


#: SQLSTATE, or the class of one, to fault (PostgreSQL documentation, appendix A).
_FAULTS = {
    "40001": Fault.COLLISION,  # serialization_failure
    "40P01": Fault.COLLISION,  # deadlock_detected
    "57014": Fault.COLLISION,  # query_canceled: statement_timeout, or a DBA's pg_cancel_backend
    "55P03": Fault.LOCKED,  # lock_not_available
    "57P01": Fault.GONE,  # admin_shutdown
    "57P02": Fault.GONE,  # crash_shutdown
    "57P03": Fault.GONE,  # cannot_connect_now
    "57P05": Fault.GONE,  # idle_session_timeout
    "25P03": Fault.GONE,  # idle_in_transaction_session_timeout
    "25006": Fault.GONE,  # read_only_sql_transaction: after a failover the old primary is a standby
    "53300": Fault.GONE,  # too_many_connections
    "08": Fault.GONE,  # connection exceptions
    "22": Fault.DATA,  # data exceptions
    "23": Fault.DATA,  # integrity constraint violations
    "44": Fault.DATA,  # WITH CHECK OPTION violation
    "P0001": Fault.DATA,  # RAISE EXCEPTION in a trigger
    "54000": Fault.DATA,  # program_limit_exceeded: an index row too large
}


def classify(error: BaseException) -> Fault:
    """Tell whose fault `error` is."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return Fault.COLLISION  # a table was altered under a prepared statement; asyncpg forgets it
    if isinstance(error, asyncpg.PostgresError):
        state = getattr(error, "sqlstate", None) or ""
        return _FAULTS.get(state) or _FAULTS.get(state[:2]) or Fault.FATAL
    if isinstance(error, asyncpg.InterfaceError):
        if isinstance(error, ValueError):
            return Fault.DATA  # a value that cannot be encoded, such as a lone surrogate
        # asyncpg has no class of its own for using a connection that is closed or closing.
        return Fault.GONE if "clos" in str(error) or "releas" in str(error) else Fault.FATAL
    return Fault.GONE if isinstance(error, DRIVER_ERRORS) else Fault.FATAL


def is_drivers(error: BaseException) -> bool:
    """Whether it is the server's or the connection's; an OSError may be a file's."""
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError)
    return isinstance(error, DRIVER_ERRORS)


def sqlstate(error: BaseException) -> str:
    """The SQLSTATE, or the exception's name. Never its message, which may quote a row."""
    return getattr(error, "sqlstate", None) or type(error).__name__


def describe(error: asyncpg.PostgresError) -> str:
    """What the server complained about, without the row it quotes in message and detail."""
    names = [
        f"{label} {value}"
        for label in ("constraint_name", "column_name", "table_name", "data_type_name")
        if (value := getattr(error, label, None))
    ]
    kind = type(error).__name__.removesuffix("Error")
    return f"{kind} ({sqlstate(error)})" + (f" on {', '.join(names)}" if names else "").replace("_name", "")


#: Functions of the server that refuse access, naming the object.
_ACCESS_CHECKS = {"aclcheck_error", "check_enable_rls"}
#: SQLSTATE to (what, todo) for refusals that a person can mend.
_REFUSALS = {
    "42501": ("the role may not do this", "Grant it, or connect as the tables' owner"),
    "53100": (
        "the server's disk is full",
        "Free space on it, then start the same again: a run goes on where it stopped",
    ),
    "53200": ("the server is out of memory", "Start the same run again with a smaller --batch-size"),
    "40001": (
        "the server could not keep its view of the rows, such as on a standby that has to replay changes",
        "Try again; on a standby, raise max_standby_streaming_delay or switch hot_standby_feedback on",
    ),
    "72000": (
        "the server has dropped the rows as they were at the beginning",
        "Try again, at a quieter time",
    ),
    "25006": ("the server is read-only", "Connect to the primary"),
}


def refused(error: BaseException, doing: str) -> ServerRefused:
    """An error for a person out of a fatal server error.

    The server's message is repeated only where its own access checks wrote it: it names objects then.
    """
    state = sqlstate(error)
    what, todo = _REFUSALS.get(state, (f"the server answered {type(error).__name__}", ""))
    if not todo and state.startswith("42"):  # a statement that does not fit: ours are tested
        todo = "Look at the SQL of the migration, such as `pending`, or of the check"
    if getattr(error, "server_source_function", None) in _ACCESS_CHECKS:
        what = str(error)
    return ServerRefused(f"{doing}: {what} ({state})", todo)


def lost(error: BaseException, doing: str, todo: str = "") -> DatabaseUnavailable:
    """An error for a person out of a lost connection, or of a server that has become a standby."""
    if sqlstate(error) == "25006":
        return DatabaseUnavailable(
            f"{doing}: the server is read-only (25006)",
            "Connect to the primary, as a role that may write, and start the same again",
        )
    return DatabaseUnavailable(
        f"{doing}: the connection to the server was lost ({sqlstate(error)})",
        todo or "When it is back, start the same again: a run goes on where it stopped",
    )


@contextlib.asynccontextmanager
async def server_errors(doing: str, *, when_lost: str = "") -> AsyncIterator[None]:
    """Turn what the server says within the block into errors of ours. Also a decorator of coroutines.

    Args:
        doing: what is being done, for messages.
        when_lost: what to do when the connection was lost, where it is not to start a run again.

    Raises:
        DatabaseUnavailable: the connection was lost.
        ServerRefused: any other answer.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        if not is_drivers(error):
            raise
        if classify(error) is Fault.GONE:
            raise lost(error, doing, when_lost) from None
        raise refused(error, doing) from None


@attrs.frozen(kw_only=True)
class Backoff:
    """Full-jitter exponential backoff.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    #: Upper end of the first wait, seconds.
    first: float = 0.05
    #: Upper end of any wait, seconds.
    cap: float = 3.0
    random: random.Random = attrs.field(factory=random.Random, repr=False)

    def delays(self) -> Iterator[float]:
        """Waits in seconds, without end."""
        limit = self.first
        while True:
            # Half of it fixed: a wait of nothing would meet the same lock again.
            yield limit / 2 + self.random.uniform(0, limit / 2)
            limit = min(self.cap, limit * 2)

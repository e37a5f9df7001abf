"""Changes of table definitions that never make the application queue behind them for long.

`ALTER TABLE` needs a lock that conflicts with every reader; while it waits, everybody else waits behind
it. So it waits `lock_timeout` at the most, gives up, lets the queue pass and tries again, within a limit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg

from taaxdog_datamig.errors import PreflightFailed, ServerRefused
from taaxdog_datamig.events import EventBus, Waiting
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, Backoff, Fault, classify, refused
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.settings import Settings

#: 2BP01 dependent objects, 0A000 "cannot alter type of a column used by a view", 42804 no cast.
_BLOCKED = {"2BP01", "0A000", "42804", "42846"}
_PASSING = {Fault.LOCKED, Fault.COLLISION}


async def alter(
    connection: PoolConnectionProxy[Any],
    statements: Sequence[str],
    settings: Settings,
    events: EventBus,
    *,
    also: Callable[[], Awaitable[None]] | None = None,
    dry_run: bool = False,
    doing: str = "",
) -> bool:
    """Run DDL statements in one transaction under `lock_timeout`, trying again while locks are held.

    Args:
        connection: an idle connection.
        statements: the DDL.
        settings: gives `lock_timeout` and `ddl_patience`.
        events: hears why we wait.
        also: work to be committed with the DDL, such as its record in the ledger.
        dry_run: roll back at the end.
        doing: what it is, for messages; the first statement by default.

    Returns:
        False when the rows do not fit the new definition: nothing was changed then.

    Raises:
        PreflightFailed: another object depends on a column.
        ServerRefused: no privilege, or the lock was not to be had within `ddl_patience`.
        And what the driver raises when the connection is lost: what was asked for may be done or not, and
        may be asked for again.
    """
    deadline = time.monotonic() + settings.ddl_patience
    delays = Backoff(first=0.2, cap=5.0).delays()
    while True:
        try:
            async with transaction(connection):
                await connection.execute(f"SET LOCAL lock_timeout = '{settings.lock_timeout * 1000:.0f}ms'")
                for statement in statements:
                    await connection.execute(statement)
                if also is not None:
                    await also()
                if dry_run:
                    raise Undone  # noqa: TRY301 - the transaction must see it
        except Undone:
            return True
        except DRIVER_ERRORS as error:
            if classify(error) is Fault.DATA:
                return False
            delay = next(delays)
            if time.monotonic() + delay > deadline or classify(error) not in _PASSING:
                raise _refusal(error, doing or statements[0], settings.ddl_patience) from None
            reason = f"another session holds a lock that {doing or 'the change of the table'} needs"
            events.emit(Waiting(reason=reason, seconds=delay))
            await anyio.sleep(delay)
        else:
            return True


def _refusal(error: Exception, doing: str, patience: float) -> Exception:
    """What to tell a person. The server's detail names objects here, it never quotes a row."""
    if classify(error) is Fault.GONE:
        return error
    if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _BLOCKED:
        return PreflightFailed(
            f"the table's definition cannot be changed: {error.detail or error.message} ({error.sqlstate})",
            "Drop the object, run the migration, and create it again",
        )
    if classify(error) in _PASSING:
        return ServerRefused(
            f"a lock was not to be had in {patience:g} s: {doing}",
            "A long transaction holds it: see pg_stat_activity, then start the run again",
        )
    return refused(error, doing)

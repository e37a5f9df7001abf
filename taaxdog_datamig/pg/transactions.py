"""Transactions that end cleanly when the task around them is cancelled."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import anyio

from taaxdog_datamig.pg.retry import DRIVER_ERRORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

#: How long a rollback or a commit may take once it was sent, seconds.
_ROLLBACK_PATIENCE = 5.0
_COMMIT_PATIENCE = 30.0


class Undone(Exception):
    """Raised inside a transaction after all of it has succeeded, so that it is rolled back."""


@contextlib.asynccontextmanager
async def transaction(connection: PoolConnectionProxy[Any], *, snapshot: bool = False) -> AsyncIterator[None]:
    """A transaction, or a savepoint inside one: committed at the end of the block, rolled back on any error.

    A cancel scope cancels each await in it again, the rollback, too; the session would go back to the pool
    with an open transaction. So both ends are shielded, for a limited time: a commit that was sent should
    not be left unknown.

    Raises:
        TimeoutError: the commit was not acknowledged in time; it may have happened.
    """
    inner = (
        connection.transaction(isolation="repeatable_read", readonly=True)
        if snapshot
        else connection.transaction()
    )
    nested = connection.is_in_transaction()
    try:
        await inner.start()
    except BaseException:
        if not nested:  # else the transaction around it ends it
            # Cancelled, it was sent all the same; and the driver would take the session for one that is in a
            # transaction, and complain, whatever we do about it.
            connection.terminate()
        raise
    try:
        yield
    except BaseException:
        with (
            anyio.move_on_after(_ROLLBACK_PATIENCE, shield=True),
            contextlib.suppress(*DRIVER_ERRORS),
        ):
            await inner.rollback()
        raise
    with anyio.fail_after(_COMMIT_PATIENCE, shield=True):
        await inner.commit()

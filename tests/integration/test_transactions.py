"""A transaction ends with its block, also where the block was cancelled before it had begun."""

from __future__ import annotations

import anyio
import pytest

from taaxdog_datamig.pg.transactions import transaction


async def _cancelled(connection):
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with transaction(connection):
            pytest.fail("the block is not reached")


async def test_one_that_is_cancelled_while_it_begins_takes_its_session_along(db, caplog):
    """What the pool lends next has no transaction open, and the driver has nothing to complain about."""
    for _ in range(3):
        async with db.acquire() as connection:
            await _cancelled(connection)
    async with db.acquire() as connection:
        assert not connection.is_in_transaction()
        async with transaction(connection):
            assert await connection.fetchval("SELECT 1") == 1
    assert caplog.text == ""


async def test_a_savepoint_that_is_cancelled_while_it_begins_leaves_the_transaction_around_it(connection):
    async with transaction(connection):
        await connection.execute("CREATE TABLE kept (a int)")
        await _cancelled(connection)
        assert connection.is_in_transaction()
    assert await connection.fetchval("SELECT to_regclass('kept') IS NOT NULL")
    assert not connection.is_in_transaction()

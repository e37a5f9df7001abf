"""A transaction ends with its block, also where the block was cancelled before it had begun."""

from __future__ import annotations

import anyio
import pytest

from taaxdog_datamig.pg.transactions import transaction


@pytest.mark.parametrize("nested", [False, True])
async def test_one_that_is_cancelled_while_it_begins_is_not_left_open(connection, nested):
    async def cancelled():
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with transaction(connection):
                pytest.fail("the block is not reached")

    if nested:
        async with transaction(connection):
            await connection.execute("CREATE TABLE kept (a int)")
            await cancelled()
            assert connection.is_in_transaction()
        assert await connection.fetchval("SELECT to_regclass('kept') IS NOT NULL")
    else:
        await cancelled()
    await connection.execute("SELECT 1")
    assert not connection.is_in_transaction()

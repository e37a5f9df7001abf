"""Definitions change under a short lock, or not at all."""

from __future__ import annotations

import time

import asyncpg
import attrs
import pytest

from taaxdog_datamig.errors import PreflightFailed, ServerRefused
from taaxdog_datamig.events import EventBus
from taaxdog_datamig.pg.ddl import alter
from taaxdog_datamig.pg.retry import Fault, classify
from taaxdog_datamig.settings import Settings

SETTINGS = Settings(lock_timeout=0.03, ddl_patience=0.4)
WIDEN = "ALTER TABLE t ALTER COLUMN v TYPE text"


@pytest.fixture
async def table(connection):
    await connection.execute(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(5)); INSERT INTO t VALUES (1, 'abcde')"
    )
    return connection


async def kind(connection):
    return await connection.fetchval("SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
                                     " WHERE attrelid = 't'::regclass AND attname = 'v'")  # fmt: skip


async def test_a_change_and_its_record_are_one(table):
    async def record():
        await table.execute("INSERT INTO t VALUES (2, 'a longer one')")

    assert await alter(table, [WIDEN], SETTINGS, EventBus(), also=record)
    assert await kind(table) == "text"
    assert await table.fetchval("SELECT count(*) FROM t") == 2


async def test_a_dry_run_goes_all_the_way_and_leaves_nothing(table):
    assert await alter(table, [WIDEN], SETTINGS, EventBus(), dry_run=True)
    assert await kind(table) == "character varying(5)"


async def test_rows_that_do_not_fit_are_told_and_left(table):
    assert not await alter(table, ["ALTER TABLE t ALTER COLUMN v TYPE varchar(3)"], SETTINGS, EventBus())
    assert await kind(table) == "character varying(5)"


async def test_a_reader_in_the_way_is_waited_for_in_short_tries_and_never_blocks_others(table, database):
    bus, heard = EventBus(), []
    bus.subscribe(heard.append)
    reader = await asyncpg.connect(database)
    try:
        await reader.execute("BEGIN; SELECT FROM t")
        started = time.monotonic()
        with pytest.raises(ServerRefused, match=r"was not to be had in 0\.4 s"):
            await alter(table, [WIDEN], SETTINGS, bus)
        assert time.monotonic() - started < 10
        assert heard
        assert await kind(table) == "character varying(5)"
        await reader.execute("COMMIT")
    finally:
        await reader.close()
    assert await alter(table, [WIDEN], SETTINGS, EventBus())


async def test_what_depends_on_the_column_is_named(table):
    await table.execute("CREATE VIEW summary AS SELECT v FROM t")
    with pytest.raises(PreflightFailed, match="summary") as caught:
        await alter(table, [WIDEN], SETTINGS, EventBus())
    assert caught.value.todo


async def test_a_missing_right_is_said_plainly_and_at_once(table, role):
    async with role("GRANT SELECT ON t TO {role}") as name:
        await table.execute(f"SET ROLE {name}")
        with pytest.raises(ServerRefused, match=r"must be owner of table t \(42501\)"):
            await alter(table, [WIDEN], attrs.evolve(SETTINGS, ddl_patience=60), EventBus())
        await table.execute("RESET ROLE")


async def test_a_lost_connection_is_the_callers_to_judge(database):
    connection = await asyncpg.connect(database)

    async def dies():
        await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises((asyncpg.ConnectionDoesNotExistError, asyncpg.AdminShutdownError)) as caught:
        await alter(connection, ["SELECT 1"], SETTINGS, EventBus(), also=dies)
    assert classify(caught.value) is Fault.GONE

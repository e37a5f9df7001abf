"""The fixtures that give each test its database."""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest
from anyio.from_thread import start_blocking_portal

from tests.conftest import Databases


async def test_each_database_is_empty_and_its_own(database, database_from):
    other = database_from("template0")
    assert database != other
    connection = await asyncpg.connect(database)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_stat_user_tables") == 0
        assert await connection.fetchval("SELECT current_database()") in database
    finally:
        await connection.close()


async def test_a_dropped_database_is_gone_even_with_someone_connected(databases):
    dsn = databases.create()
    connection = await asyncpg.connect(dsn)
    databases.drop(dsn)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(dsn)
    connection.terminate()


async def build(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("CREATE TABLE built AS SELECT gen_random_uuid()::text AS id")
    finally:
        await connection.close()


async def test_a_template_is_built_once_by_all_workers_together(run_server, database_from):
    dsn, run = run_server
    name = f"once_{secrets.token_hex(4)}"
    built = []

    async def counted(dsn):
        built.append(dsn)
        await build(dsn)

    def worker(_):
        with start_blocking_portal() as portal:
            connection = portal.call(asyncpg.connect, dsn)
            try:
                return Databases(portal, connection, dsn, run).template(name, counted)
            finally:
                portal.call(connection.close)

    with ThreadPoolExecutor(3) as pool:
        names = set(pool.map(worker, range(3)))
    assert len(names) == len(built) == 1
    connection = await asyncpg.connect(database_from(names.pop()))
    try:
        assert await connection.fetchval("SELECT count(*) FROM built") == 1
    finally:
        await connection.close()


def test_a_template_whose_building_failed_is_built_again(databases, database_from):
    name = f"again_{secrets.token_hex(4)}"

    async def fails(dsn):
        await build(dsn)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        databases.template(name, fails)
    assert database_from(databases.template(name, build))

from __future__ import annotations

import contextlib
import os

import asyncpg
import pytest

from taaxdog_datamig.demo import create_schema
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.settings import Settings


@pytest.fixture
async def db(database):
    """An empty database of this test's own, as the engine opens it."""
    async with Database.connect(database, settings=Settings()) as opened:
        yield opened


@pytest.fixture
async def connection(db):
    """One of its sessions, set up as the engine's are."""
    async with db.acquire() as borrowed:
        yield borrowed


async def _build(dsn):
    connection = await asyncpg.connect(dsn)
    try:
        await create_schema(connection)
    finally:
        await connection.close()


@pytest.fixture
def schema_database(template_database, database_from):
    """The URL of a database with the sample's 34 empty tables."""
    return database_from(template_database("schema", _build))


@pytest.fixture
async def role(database):
    """`async with role("GRANT ..."):` the name of a new role that has these rights and no others."""
    name = f"datamig_role_{os.urandom(4).hex()}"

    @contextlib.asynccontextmanager
    async def make(*grants, dsn=database):
        owner = await asyncpg.connect(dsn)
        try:
            await owner.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'unused'")
            try:
                for grant in grants:
                    await owner.execute(grant.format(role=name))
                yield name
            finally:
                await owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
        finally:
            await owner.close()

    return make

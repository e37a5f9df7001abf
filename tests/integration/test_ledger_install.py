from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import asyncpg
import attrs
import pytest

from taaxdog_datamig.errors import PreflightFailed, ServerRefused
from taaxdog_datamig.events import EventBus, Waiting
from taaxdog_datamig.ledger import Ledger, install, install_temporary, installed_version
from taaxdog_datamig.ledger import install as room
from taaxdog_datamig.settings import Settings

SETTINGS = Settings()
INSTALL = room.__globals__  # the function shadows its module's name
#: The version that this package makes.
NEWEST = len(INSTALL["UPGRADES"])


async def tables(connection, schema="datamig"):
    rows = await connection.fetch("SELECT relname FROM pg_class c WHERE relnamespace = to_regnamespace($1)"
                                  " AND relkind = 'r' ORDER BY 1", schema)  # fmt: skip
    return [row["relname"] for row in rows]


async def test_it_creates_itself_and_the_second_time_does_nothing(connection):
    assert await installed_version(connection) == 0
    await install(connection, SETTINGS, EventBus())
    made = await tables(connection)
    assert {"runs", "leases", "windows", "chunks", "before_images", "quarantine", "audit"} <= set(made)
    at = await connection.fetchval("SELECT installed_at FROM datamig.meta")
    await install(connection, SETTINGS, EventBus())
    assert await connection.fetchval("SELECT installed_at FROM datamig.meta") == at
    assert await tables(connection) == made


async def test_several_may_install_at_once(db):
    async def one():
        async with db.acquire() as connection:
            await install(connection, SETTINGS, EventBus())

    await asyncio.gather(*(one() for _ in range(4)))
    async with db.acquire() as connection:
        assert await connection.fetch("SELECT version FROM datamig.meta") == [
            (version,) for version in range(1, NEWEST + 1)
        ]


@pytest.fixture
def newer(monkeypatch, tmp_path):
    script = Path(tmp_path, "next.sql")
    script.write_text(
        "ALTER TABLE datamig.runs ADD COLUMN note text NOT NULL DEFAULT '';\n"
        f"INSERT INTO datamig.meta (version) VALUES ({NEWEST + 1});\n"
    )

    def release(text=None):
        if text is not None:
            script.write_text(text)
        monkeypatch.setitem(INSTALL, "UPGRADES", (*INSTALL["UPGRADES"], str(script)))

    return release


async def test_an_older_ledger_is_brought_up_to_date_and_keeps_its_rows(connection, newer):
    await install(connection, SETTINGS, EventBus())
    audit = Ledger.of().audit
    await audit.append(connection, "kept", None, {})
    newer()
    await install(connection, SETTINGS, EventBus())
    assert await installed_version(connection) == NEWEST + 1
    assert await connection.fetch("SELECT note FROM datamig.runs") == []
    assert await connection.fetchval("SELECT event FROM datamig.audit") == "kept"
    assert await audit.verify(connection) is None


async def test_the_runs_of_a_ledger_from_before_the_last_upgrade_can_be_read(connection, monkeypatch):
    monkeypatch.setitem(INSTALL, "UPGRADES", INSTALL["UPGRADES"][:4])
    await install(connection, SETTINGS, EventBus())
    await connection.execute(
        "INSERT INTO datamig.runs (id, migration, version, fingerprint, relations, targets, options, actor)"
        " VALUES (gen_random_uuid(), 'm', '1', '', '{}', '[]', '{}', '{}')"
    )
    (run,) = await Ledger.of().runs.find(connection)
    assert (run["migration"], run["workers"]) == ("m", None)


async def test_a_new_ledger_takes_every_step_and_so_does_that_of_a_dry_run(connection, newer):
    newer()
    await install(connection, SETTINGS, EventBus())
    assert await installed_version(connection) == NEWEST + 1
    await install_temporary(connection)
    assert await connection.fetch("SELECT note FROM pg_temp.runs") == []


async def test_a_ledger_of_a_newer_version_is_left_alone(connection):
    await install(connection, SETTINGS, EventBus())
    await connection.execute("INSERT INTO datamig.meta (version) VALUES (99)")
    with pytest.raises(ServerRefused, match=f"has version 99, this package knows {NEWEST}") as caught:
        await install(connection, SETTINGS, EventBus())
    assert "Upgrade taaxdog_datamig" in caught.value.todo


async def test_a_step_that_fails_leaves_the_old_version(connection, newer):
    await install(connection, SETTINGS, EventBus())
    newer("CREATE TABLE datamig.half (); SELECT no_such_function()")
    with pytest.raises(ServerRefused, match="bringing schema datamig up to date"):
        await install(connection, SETTINGS, EventBus())
    assert await installed_version(connection) == NEWEST
    assert "half" not in await tables(connection)


async def test_it_gives_up_while_another_session_holds_the_lock_and_nothing_is_left(db, database):
    settings = attrs.evolve(SETTINGS, lock_timeout=0.02, ddl_patience=0.5)
    bus, heard = EventBus(), []
    bus.subscribe(heard.append)
    other = await asyncpg.connect(database)
    try:
        await other.execute(f"SELECT pg_advisory_lock({INSTALL['_LOCK']})")
        async with db.acquire() as connection:
            with pytest.raises(ServerRefused, match=r"was not to be had in 0\.5 s: creating schema datamig"):
                await install(connection, settings, bus)
            assert await tables(connection) == []
            await other.execute("SELECT pg_advisory_unlock_all()")
            await install(connection, settings, bus)
    finally:
        await other.close()
    assert heard
    assert all(isinstance(event, Waiting) for event in heard)


@contextlib.asynccontextmanager
async def as_role(database, name):
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(f"SET SESSION AUTHORIZATION {name}")
        yield connection
    finally:
        await connection.close()


async def test_a_role_that_may_not_create_it_is_told_so(database, role):
    async with role() as name, as_role(database, name) as connection:
        with pytest.raises(PreflightFailed, match="may not create schema datamig") as caught:
            await install(connection, SETTINGS, EventBus())
    assert "GRANT CREATE ON DATABASE" in caught.value.todo


@pytest.mark.parametrize("grants", [(), ("GRANT USAGE ON SCHEMA datamig TO {role}",)])
async def test_a_role_that_may_not_use_it_is_told_so(database, connection, role, grants):
    await install(connection, SETTINGS, EventBus())
    async with role(*grants) as name, as_role(database, name) as other:
        with pytest.raises(ServerRefused, match="may not use the ledger, schema datamig"):
            await install(other, SETTINGS, EventBus())


async def test_a_temporary_ledger_is_seen_by_its_session_only(db):
    async with db.acquire() as connection, db.acquire() as other:
        await install_temporary(connection)
        assert await connection.fetchval("SELECT count(*) FROM pg_temp.runs") == 0
        assert await other.fetchval("SELECT to_regclass('pg_temp.runs')") is None
        assert await installed_version(other) == 0
        assert await Ledger.of("pg_temp").audit.verify(connection) is None
        connection.terminate()  # the pool would hand its tables to the next

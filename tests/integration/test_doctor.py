from __future__ import annotations

import asyncpg
import pytest

from taaxdog_datamig.crypto import Keyring, generate_key
from taaxdog_datamig.engine.doctor import examine
from taaxdog_datamig.events import EventBus
from taaxdog_datamig.ledger import Ledger, install
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig.settings import Settings

KEY = generate_key()


async def findings(dsn, **settings):
    found = await examine(Settings(database_url=dsn, **settings))
    assert all(finding.todo for finding in found if finding.status == "problem")
    assert all(KEY not in f"{finding.detail}{finding.todo}" for finding in found)
    return {finding.name: finding for finding in found}


async def seal(dsn, key=KEY):
    """As a run leaves it: a ledger that knows the key."""
    keyring = Keyring.from_settings(Settings(field_encryption_key=key))
    async with Database.connect(dsn, settings=Settings()) as db, db.acquire() as connection:
        await install(connection, db.settings, EventBus())
        kid = keyring.primary.kid
        await Ledger.of().add_canary(connection, kid, keyring.canary(kid))


async def test_a_healthy_sample_is_healthy_before_and_after_its_first_run(schema_database):
    found = await findings(schema_database, field_encryption_key=KEY)
    assert {finding.status for finding in found.values()} == {"ok"}
    assert {"keys", "server", "writable", "ledger", "schema", "privileges", "transactions"} <= found.keys()
    assert "not there yet" in found["ledger"].detail
    await seal(schema_database)
    found = await findings(schema_database, field_encryption_key=KEY)
    assert {finding.status for finding in found.values()} == {"ok"}
    assert "the keys fit it" in found["ledger"].detail


async def test_no_key_is_a_warning_and_no_key_fits_nothing(schema_database):
    await seal(schema_database)
    found = await findings(schema_database)
    assert (found["keys"].status, found["ledger"].status) == ("warning", "ok")
    assert "keys generate" in found["keys"].todo
    assert "fit" not in found["ledger"].detail


async def test_a_wrong_key_is_a_problem(schema_database):
    await seal(schema_database)
    found = await findings(schema_database, field_encryption_key=generate_key())
    assert (found["keys"].status, found["ledger"].status) == ("ok", "problem")
    assert "sealed with key" in found["ledger"].detail


async def test_a_key_that_is_none_is_one_problem(schema_database):
    found = await findings(schema_database, field_encryption_key="short")
    assert [name for name, finding in found.items() if finding.status == "problem"] == ["keys"]


async def test_a_read_only_database_is_a_problem(schema_database):
    connection = await asyncpg.connect(schema_database)
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await connection.close()
    found = await findings(schema_database, field_encryption_key=KEY)
    assert found["writable"].status == "problem"
    assert "read-only" in found["writable"].detail


async def test_missing_tables_and_columns_are_told(schema_database, database):
    connection = await asyncpg.connect(schema_database)
    await connection.execute("DROP TABLE goals CASCADE; ALTER TABLE users DROP COLUMN tfn")
    await connection.close()
    found = await findings(schema_database, field_encryption_key=KEY)
    assert found["schema"].status == "warning"
    assert "missing: users.tfn, goals" in found["schema"].detail
    found = await findings(database, field_encryption_key=KEY)
    assert found["schema"].status == "problem"
    assert "right database" in found["schema"].todo


@pytest.mark.parametrize(
    "dsn",
    ["postgresql://app:hunter2@127.0.0.1:1/x", "postgresql://app:hunter2@/x?host=/nowhere", "hunter2", None],
)
async def test_a_server_that_cannot_be_reached_is_a_finding(dsn, monkeypatch):
    monkeypatch.delenv("DATABASE_URL", raising=False)
    found = await findings(dsn, field_encryption_key=KEY)
    assert found.keys() == {"keys", "server"}
    assert found["server"].status == "problem"
    assert "hunter2" not in f"{found['server'].detail}{found['server'].todo}"


async def test_a_changed_audit_trail_is_a_problem(schema_database):
    await seal(schema_database)
    async with Database.connect(schema_database, settings=Settings()) as db, db.acquire() as connection:
        for number in range(3):
            await Ledger.of().audit.append(connection, "test", None, {"number": number})
        assert (await findings(schema_database, field_encryption_key=KEY))["audit"].status == "ok"
        await connection.execute("UPDATE datamig.audit SET entry = '{}' WHERE seq = 2")
    found = await findings(schema_database, field_encryption_key=KEY)
    assert found["audit"].status == "problem"
    assert found["audit"].detail.startswith("entry 2 ")

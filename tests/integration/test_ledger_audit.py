from __future__ import annotations

import asyncio
import uuid

import pytest

from taaxdog_datamig.events import EventBus
from taaxdog_datamig.ledger import Ledger, install
from taaxdog_datamig.settings import Settings

AUDIT = Ledger.of().audit
RUN = uuid.UUID("550e8400-e29b-41d4-a716-446655440000")


@pytest.fixture
async def chain(connection):
    """A chain of five entries."""
    await install(connection, Settings(), EventBus())
    for number in range(5):
        await AUDIT.append(connection, "chunk", RUN if number else None, {"number": number, "table": "ö\n'"})
    return connection


async def test_a_chain_nobody_touched_holds(chain):
    assert await AUDIT.verify(chain) is None
    entry = await chain.fetchval("SELECT entry::jsonb ->> 'number' FROM datamig.audit WHERE seq = 4")
    assert entry == "3"


async def test_an_empty_chain_holds(connection):
    await install(connection, Settings(), EventBus())
    assert await AUDIT.verify(connection) is None


INSERTED = (
    "INSERT INTO datamig.audit SELECT {}, event, run_id, entry, hash, hash FROM datamig.audit WHERE seq = 3"
)


#: What somebody does to the trail, and the number of the first entry that does not fit then.
TAMPERINGS = {
    "UPDATE datamig.audit SET entry = replace(entry, '2', '3') WHERE seq = 3": 3,
    "UPDATE datamig.audit SET event = 'other' WHERE seq = 3": 3,
    "UPDATE datamig.audit SET run_id = NULL WHERE seq = 3": 3,
    "UPDATE datamig.audit SET run_id = gen_random_uuid() WHERE seq = 1": 1,
    "UPDATE datamig.audit SET hash = sha256('x') WHERE seq = 3": 3,
    "UPDATE datamig.audit SET previous = sha256('x') WHERE seq = 3": 3,
    "DELETE FROM datamig.audit WHERE seq = 1": 1,
    "DELETE FROM datamig.audit WHERE seq = 3": 3,
    "DELETE FROM datamig.audit WHERE seq >= 4": 4,
    "DELETE FROM datamig.audit": 1,
    INSERTED.format(6): 6,
    INSERTED.format(0): 1,
    INSERTED.format(-7): 1,
    "UPDATE datamig.audit SET seq = seq + 90 WHERE seq >= 3": 3,
    "UPDATE datamig.audit_head SET hash = sha256('x')": 6,
    "UPDATE datamig.audit_head SET seq = 4": 6,
    "UPDATE datamig.audit_head SET seq = 6": 6,
    "DELETE FROM datamig.audit_head": 6,
}


async def test_tampering_is_found_at_the_first_entry_that_does_not_fit(chain):
    found = {}
    for tampering in TAMPERINGS:
        transaction = chain.transaction()
        await transaction.start()
        await chain.execute(tampering)
        found[tampering] = await AUDIT.verify(chain)
        await transaction.rollback()
    assert found == TAMPERINGS


async def test_appending_from_several_sessions_at_once_forms_one_chain_that_holds_at_any_time(db, chain):
    async def append():
        async with db.acquire() as connection:
            for _ in range(12):
                async with connection.transaction():
                    await AUDIT.append(connection, "chunk", RUN, {})
                    await asyncio.sleep(0)

    async def watch():
        async with db.acquire() as connection:
            return [await AUDIT.verify(connection) for _ in range(20)]

    *_, seen = await asyncio.gather(append(), append(), append(), append(), watch())
    assert seen == [None] * 20
    assert await AUDIT.verify(chain) is None
    assert await chain.fetchval("SELECT max(seq) FROM datamig.audit") == 5 + 4 * 12


async def test_an_entry_goes_with_the_transaction_it_is_part_of(chain):
    transaction = chain.transaction()
    await transaction.start()
    await AUDIT.append(chain, "chunk", RUN, {})
    await transaction.rollback()
    assert await chain.fetchval("SELECT count(*) FROM datamig.audit") == 5
    assert await AUDIT.verify(chain) is None


async def test_a_long_chain_is_read_in_pages(chain, monkeypatch):
    monkeypatch.setitem(AUDIT.verify.__func__.__globals__, "_PAGE", 2)
    assert await AUDIT.verify(chain) is None
    await chain.execute("DELETE FROM datamig.audit WHERE seq = 5")
    assert await AUDIT.verify(chain) == 5

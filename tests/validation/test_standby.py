"""A streaming standby is validated as its primary is: it can be read, and exports snapshots."""

from __future__ import annotations

import anyio
import pytest
from planting import validated

from taaxdog_datamig import Database, Settings, Validator
from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import DatabaseError
from taaxdog_datamig.validation import FunctionCheck, Rule, validator
from tests.sample import rows, script
from tests.standby import standby_of


@pytest.fixture
async def pair(data_folder):
    """URLs of a primary with the sample, and of a standby that has all of it."""
    quick = {"max_standby_streaming_delay": "50ms", "hot_standby_feedback": "off"}
    async with EmbeddedServer() as primary:
        await load_sample(primary.dsn, users=60)
        async with standby_of(primary.dsn, data_folder, settings=quick) as standby:
            yield primary.dsn, standby


def findings(report):
    return {check.id: (check.violations, check.sample_keys) for check in report.checks}


async def caught_up(primary, standby):
    """Wait until the standby has all that the primary has written."""
    ((position,),) = await rows(primary, "SELECT pg_current_wal_lsn()::text")
    with anyio.fail_after(20):
        while not (await rows(standby, f"SELECT pg_last_wal_replay_lsn() >= '{position}'"))[0][0]:
            await anyio.sleep(0.02)


@pytest.mark.slow
async def test_a_standby_is_validated_and_says_when_recovery_is_in_the_way(pair, monkeypatch):
    primary, standby = pair
    await script(primary, "DELETE FROM goals WHERE id IN (SELECT id FROM goals LIMIT 5)")
    await caught_up(primary, standby)
    assert (await rows(standby, "SELECT pg_is_in_recovery()"))[0][0]
    here, there = await validated(primary), await validated(standby)
    assert findings(here) == findings(there)
    assert here.failed
    assert not there.errors

    async def read_on(connection, _):
        """Read rows until the standby has to forget them."""
        await script(primary, "DELETE FROM receipts")
        await script(primary, "VACUUM receipts")
        with anyio.fail_after(20):
            while True:
                await connection.fetchval("SELECT count(*) FROM receipts")
                await anyio.sleep(0.02)

    rule = Rule(id="long", title="", category="security", severity="low", meaning="", remedy="")
    monkeypatch.setattr(
        validator, "builtin_checks", lambda _: [FunctionCheck(rule=rule, table="", find=read_on)]
    )
    async with Database.connect(settings=Settings(database_url=standby)) as db:
        with pytest.raises(DatabaseError, match=r"(On|on) a standby that has to replay changes"):
            await Validator(db).validate()

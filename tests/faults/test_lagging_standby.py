"""A real streaming standby whose replay is paused: the run waits until it has caught up."""

from __future__ import annotations

import asyncio

import anyio
import asyncpg
import pytest
from shouting import fill
from test_locks import changed, until
from test_pressure_gate import OPTIONS, runner_with, why

from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import RunPaused
from tests.standby import standby_of


@pytest.fixture
async def pair(data_folder):
    """URLs of a primary with `words`, and of a standby that streams from it through a slot."""
    quick = {"wal_receiver_status_interval": "1s", "cluster_name": "one"}
    async with EmbeddedServer() as primary:
        await fill(primary.dsn)
        async with standby_of(primary.dsn, data_folder, "-C", "-S", "one", settings=quick) as standby:
            yield primary.dsn, standby


@pytest.mark.slow
async def test_a_run_waits_for_a_standby_that_lags_and_for_a_role_that_may_not_see_it(pair):
    primary, standby = pair
    control = await asyncpg.connect(standby)
    application = await asyncpg.connect(primary)
    async with asyncio.timeout(20):
        while not await application.fetchval("SELECT count(*) FROM pg_stat_replication"):
            await asyncio.sleep(0.05)

    async def lag():
        await control.execute("SELECT pg_wal_replay_pause()")
        await application.execute("UPDATE words SET seen = seen + 1; SELECT pg_switch_wal()")
        async with asyncio.timeout(20):
            while not await application.fetchval(
                "SELECT replay_lag > interval '500 ms' FROM pg_stat_replication"
            ):
                await asyncio.sleep(0.05)

    limit = {"replication_lag": "500 ms", "slot_wal": "10 GB"}
    await lag()
    async with runner_with(primary, pressure=limit) as runner:
        run = asyncio.create_task(runner.run("shout", OPTIONS))
        assert "standby one is" in await until(lambda: why(primary))
        assert not await changed(primary, 1)
        await control.execute("SELECT pg_wal_replay_resume()")
        assert (await run).status == "succeeded"
        await runner.rollback("shout")
    await lag()
    async with runner_with(primary, pressure={**limit, "ignored_standbys": ["one"]}) as runner:
        assert (await runner.run("shout", OPTIONS)).status == "succeeded", "behind on purpose"
        await runner.rollback("shout")
    await control.execute("SELECT pg_wal_replay_resume()")

    # Who may not see how far it is must not take that for near.
    await application.execute(
        "CREATE ROLE migrator LOGIN; GRANT CREATE ON DATABASE postgres TO migrator;"
        "ALTER TABLE words OWNER TO migrator; DROP SCHEMA datamig CASCADE"
    )
    theirs = primary.replace("postgres@", "migrator@", 1)
    async with runner_with(theirs, pressure={"patience": "100 ms"}) as runner:
        with pytest.raises(RunPaused, match="replication_lag could not be read") as caught:
            await runner.run("shout", OPTIONS)
        assert "GRANT pg_monitor" in caught.value.todo
        await application.execute("GRANT pg_monitor TO migrator")
        assert (await runner.resume("shout", OPTIONS)).status == "succeeded"
    with anyio.CancelScope(shield=True):
        await control.close()
        await application.close()

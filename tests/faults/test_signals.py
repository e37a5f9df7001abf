"""Ctrl-C, SIGTERM and a second call, as the command line answers them."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path

import pytest
from campaign import CommandLine, connected
from test_locks import until

from taaxdog_datamig.demo import load_sample

RUN = ("run", "encrypt-user-data", "--batch-size=20")


async def _users(dsn: str) -> None:
    await load_sample(dsn, users=300)


@pytest.fixture
def sample(template_database, database_from) -> str:
    return database_from(template_database("three_hundred_users", _users))


@pytest.fixture
def command(sample: str, tmp_path: Path) -> CommandLine:
    return CommandLine(dsn=sample, folder=tmp_path, chooser=random.Random(0))


async def at_work(connection) -> bool:
    if not await connection.fetchval("SELECT to_regclass('datamig.chunks')"):
        return False
    return await connection.fetchval("SELECT count(*) > 3 FROM datamig.chunks")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_pauses_the_run_and_tells_how_to_go_on(command: CommandLine, number: signal.Signals):
    async with connected(command.dsn) as connection:
        async with connection.transaction():
            # A row that the run cannot get keeps it from ending before the signal comes.
            await connection.execute("SELECT FROM users WHERE tfn <> '' ORDER BY id LIMIT 1 FOR UPDATE")
            process = await command.start(*RUN)
            end = asyncio.create_task(process.communicate())
            async with connected(command.dsn) as other:
                await until(lambda: at_work(other))
            process.send_signal(number)
            out, err = await asyncio.wait_for(end, 20)
            (run,) = await connection.fetch("SELECT status, owner, lease_expires FROM datamig.runs")
        assert process.returncode == 130, err.decode()
        assert tuple(run) == ("paused", None, None)
        assert "datamig resume encrypt-user-data" in json.loads(out)["error"]["todo"]
        code, document, messages = await command.undisturbed(*RUN)
        assert code == 0, messages
        assert document["resumed"] is True
        assert document["status"] == "succeeded"


async def test_a_second_run_at_the_same_time_is_refused(command: CommandLine):
    async with connected(command.dsn) as connection, connected(command.dsn) as other:
        async with connection.transaction():
            await connection.execute("SELECT FROM users WHERE tfn <> '' ORDER BY id LIMIT 1 FOR UPDATE")
            process = await command.start(*RUN)
            end = asyncio.create_task(process.communicate())
            await until(lambda: at_work(other))
            code, document, _ = await command.undisturbed(*RUN)
            assert code == 4
            assert document["error"]["type"] == "LeaseHeld"
            assert not end.done()
        _, err = await asyncio.wait_for(end, 60)
        assert process.returncode == 0, err.decode()

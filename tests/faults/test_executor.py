"""Calls of workers that an executor loses, makes twice, or forgets: what comes late writes nothing."""

from __future__ import annotations

import anyio
import attrs
import pytest
from shouting import assert_original, assert_shouted, fetch, runner_on, settings_for

from taaxdog_datamig import Database, RunOptions
from taaxdog_datamig.engine.executors import EXECUTORS, LocalExecutor
from taaxdog_datamig.engine.writer import ChunkWriter
from taaxdog_datamig.errors import LeaseLost, RunError
from taaxdog_datamig.testing import unreliable

OPTIONS = RunOptions(batch_size=10, max_quarantine=100, executor="forgetful")


@attrs.define
class Forgetful:
    """Loses sight of its first call, which has read rows and is about to write them."""

    others: anyio.abc.TaskGroup
    #: Whether the run fails for it, or others do the work.
    fails: bool
    reading: anyio.Event = attrs.field(factory=anyio.Event)
    gate: anyio.Event = attrs.field(factory=anyio.Event)
    told: list[type[Exception]] = attrs.field(factory=list)
    _calls: int = 0

    async def run(self, worker, workers):
        self._calls += 1
        # The inspection's sweep is the first.
        if self._calls != 2:
            await LocalExecutor().run(worker, workers)
            return
        self.others.start_soon(self.late, worker)
        await self.reading.wait()
        if self.fails:
            raise RunError("the other machines are gone")

    async def late(self, worker):
        try:
            await worker()
        except Exception as error:  # noqa: BLE001 - whatever it is told
            self.told.append(type(error))


@pytest.mark.parametrize("fails", [True, False], ids=["rolled-back", "done-by-others"])
async def test_a_forgotten_worker_writes_nothing_once_its_run_is_over(
    words: str, monkeypatch: pytest.MonkeyPatch, *, fails: bool
):
    write = ChunkWriter.write

    async def held(self, *arguments):
        if self.sweep > 0 and not executor.reading.is_set():
            executor.reading.set()
            await executor.gate.wait()
        await write(self, *arguments)

    monkeypatch.setattr(ChunkWriter, "write", held)
    async with (
        Database.connect(words, settings=settings_for(words)) as db,
        anyio.create_task_group() as others,
    ):
        executor = Forgetful(others, fails)
        monkeypatch.setitem(EXECUTORS, "forgetful", lambda: executor)
        if fails:
            with pytest.raises(RunError, match="machines are gone; what the run had changed was rolled back"):
                await runner_on(db).run("shout", OPTIONS)
        else:
            await runner_on(db).run("shout", OPTIONS)
        count = "SELECT count(*) FROM datamig.chunks"
        before = await fetch(words, count)
        executor.gate.set()
        with anyio.move_on_after(10):
            while not executor.told:
                await anyio.sleep(0.01)
        others.cancel_scope.cancel()
        assert executor.told == [LeaseLost]
        assert await fetch(words, count) == before
    await (assert_original if fails else assert_shouted)(words)


async def test_whatever_becomes_of_calls_each_row_is_done_once(words: str):
    """Lost, duplicated, delayed, cut off, forgotten: all of it happens."""
    async with Database.connect(words, settings=settings_for(words)) as db:
        async with unreliable(seed=3) as executor:
            options = attrs.evolve(OPTIONS, executor="unreliable", workers=6, batch_size=2)
            await runner_on(db).run("shout", options)
        assert set(executor.done) == {"lost", "dies", "forgotten", "duplicated", "delayed"}
    await assert_shouted(words)

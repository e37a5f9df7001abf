"""Exactly once (promise P1) when connections are lost, at any moment and with any answer swallowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from shouting import assert_original, assert_shouted, runner_on, settings_for

from taaxdog_datamig import Database, RunOptions
from taaxdog_datamig.errors import DatabaseUnavailable
from taaxdog_datamig.testing.proxy import COMMIT, COMMITTED, Cut, Proxy

OPTIONS = RunOptions(batch_size=20, max_quarantine=100)
#: Before the run's lease is taken a lost connection ends the command; `run` again goes on.
TRIES = 3


async def until_done(work):
    for _ in range(TRIES):
        try:
            return await work()
        except DatabaseUnavailable:
            continue
    raise AssertionError("the connection was cut once, and did not come back")


async def run_and_undo(dsn: str, forward: Cut | None, backward: Cut | None = None) -> bool:
    """Run with one cut, and roll back with another; returns whether either happened."""
    async with Proxy(dsn) as proxy:
        through = proxy.dsn(dsn)
        async with Database.connect(through, settings=settings_for(through)) as db:
            runner = runner_on(db)
            proxy.cut = forward
            await until_done(lambda: runner.run("shout", OPTIONS))
            await assert_shouted(dsn)
            proxy.cut = backward
            report = await until_done(lambda: runner.rollback("shout"))
            assert report.conflicts == 0
            await assert_original(dsn)
    return any(cut is not None and cut.done for cut in (forward, backward))


@pytest.mark.parametrize("kind", ["never-sent", "no-answer", "answer-swallowed"])
async def test_every_commit_of_a_run_may_lose_its_connection(more_words: Callable[[], str], kind: str):
    """The ledger tells whether a commit happened whose answer did not come."""

    def cut(nth: int) -> Cut:
        if kind == "answer-swallowed":
            return Cut("server", COMMITTED, nth, arrives=False)
        return Cut("client", COMMIT, nth, arrives=kind == "no-answer")

    nth = 1
    while await run_and_undo(more_words(), cut(nth), cut(nth)):
        nth += 1
    assert nth > 8


async def test_a_connection_cut_while_the_server_changes_rows(words: str):
    """The chunk's new values are on their way when the connection goes."""
    cut = Cut("client", b"WORD00003, 9!")
    assert await run_and_undo(words, cut, Cut("client", b"word00003"))
    assert cut.done


async def cut_at_every(more_words: Callable[[], str], side: str, step: int, first: int = 1) -> None:
    """Cut where one side says anything, each `step`-th time, in a run and then in its rollback."""
    nth = first
    while await run_and_undo(more_words(), Cut(side, b"", nth, arrives=False)):
        nth += step
    assert nth > 40
    nth = first
    while await run_and_undo(more_words(), None, Cut(side, b"", nth, arrives=False)):
        nth += step
    assert nth > 20


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_connection_may_be_cut_at_any_word(more_words: Callable[[], str], side: str):
    await cut_at_every(more_words, side, step=13, first=5)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_connection_may_be_cut_at_every_word(more_words: Callable[[], str], side: str):
    await cut_at_every(more_words, side, step=1)

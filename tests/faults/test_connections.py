"""Exactly once (promise P1) when connections are lost, at any moment and with any answer swallowed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import pytest
from shouting import assert_ledger, assert_original, assert_shouted, fetch, runner_on, settings_for

from taaxdog_datamig import Database, Registry, Runner, RunOptions
from taaxdog_datamig.errors import DatabaseUnavailable, LeaseHeld
from taaxdog_datamig.testing.proxy import COMMIT, COMMITTED, Cut, Proxy
from tests.sample import script
from tests.tidying import Tidy, library

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


@pytest.mark.parametrize("kind", ["answer-swallowed", pytest.param("never-sent", marks=pytest.mark.slow)])
async def test_every_commit_of_a_retry_may_lose_its_connection(more_words: Callable[[], str], kind: str):
    """Each refused row is done once, and its outcome told."""
    nth, cut = 1, None
    while cut is None or cut.done:
        dsn = more_words()
        side, pattern = ("server", COMMITTED) if kind == "answer-swallowed" else ("client", COMMIT)
        cut = Cut(side, pattern, nth, arrives=False)
        async with Proxy(dsn) as proxy:
            through = proxy.dsn(dsn)
            async with Database.connect(through, settings=settings_for(through)) as db:
                runner = runner_on(db)
                await runner.run("shout", attrs.evolve(OPTIONS, batch_size=6))
                await script(
                    dsn,
                    "UPDATE words SET word = 'wordnew' WHERE id IN (1, 11); DELETE FROM words WHERE id = 21;"
                    "UPDATE words SET word = '31#' WHERE id = 31",
                )
                proxy.cut = cut
                told = await until_done(partial(insistently, runner))
        assert told <= EXPECTED.items()
        # Whichever try told it, the ledger has it.
        left = await fetch(dsn, "SELECT key[1] FROM datamig.quarantine ORDER BY key[1]::int")
        assert [row[0] for row in left] == ["41", "51"]
        assert (await assert_ledger(dsn, "succeeded")).keys() >= {"1", "11"}
        words = dict(await fetch(dsn, "SELECT id, word FROM words WHERE id % 10 = 1"))
        assert words == {1: "WORDNEW, 7!", 11: "WORDNEW, 7!", 31: "31#", 41: "?41", 51: "?51"}
        nth += 1
    assert nth > 3


EXPECTED = {
    "1": "changed",
    "11": "changed",
    "21": "gone",
    "31": "unneeded",
    "41": "refused",
    "51": "refused",
}


async def insistently(runner) -> set[tuple[str, str]]:
    """Retry; while the session that was lost has not ended yet, a moment later."""
    while True:
        try:
            report = await runner.retry_quarantined("shout")
        except LeaseHeld:
            await asyncio.sleep(0.05)
        else:
            return {(row.key[0], row.outcome) for row in report.rows}


@pytest.mark.parametrize("again", [3, 4])
async def test_a_deletion_whose_acknowledgement_is_lost_does_not_go_on_unrecorded(
    database: str, tmp_path: Path, again: int
):
    """The next try finds the next rows to delete. They are another chunk's: archived, and given back."""
    await script(database, library(100))
    async with Proxy(database, Cut("server", COMMITTED, 3, arrives=False, again=again)) as proxy:
        through = proxy.dsn(database)
        settings = settings_for(through, archive_dir=tmp_path)
        async with Database.connect(through, settings=settings) as db:
            runner = Runner(db, registry=Registry({"tidy": Tidy}))
            report = await runner.run("tidy", RunOptions(batch_size=10))
            assert report.deleted_rows == {"authors": 50, "books": 150}
            assert proxy.cut.done > 3
            proxy.cut = None
            assert (await runner.rollback("tidy")).restored_rows == 50
    assert await fetch(database, "SELECT count(*) FROM books") == [(300,)]


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

"""`succeeded` means that nothing is pending (promise P4), however the application writes at the end."""

from __future__ import annotations

import asyncpg
import pytest
from shouting import WIDEN, fetch, runner_on, settings_for, shouted

from taaxdog_datamig import Database, RunOptions
from taaxdog_datamig.engine import sweeps

OPTIONS = RunOptions(batch_size=20, max_quarantine=100)


@pytest.mark.parametrize("moves", [1, 2, 3])
async def test_a_row_that_moves_between_two_looks_is_not_taken_for_done(
    words: str, monkeypatch: pytest.MonkeyPatch, moves: int
):
    """After each look at what is left the application updates the row, which goes to another page."""
    monkeypatch.setattr(sweeps, "WINDOW_BLOCKS", 1)
    look = sweeps.still_pending
    application = await asyncpg.connect(words)
    await application.execute(WIDEN.do)
    await application.execute("ALTER TABLE words ADD filler text, ALTER filler SET STORAGE PLAIN")
    await application.execute("UPDATE words SET filler = repeat('x', 7500)")
    looks = 0

    async def looked(job):
        nonlocal looks
        looks += 1
        if looks == 1:
            await application.execute("UPDATE words SET word = 'wordnew' WHERE id = 13")
        found = await look(job)
        if looks <= moves:
            await application.execute("UPDATE words SET seen = seen + 1 WHERE id = 13")
        return found

    monkeypatch.setattr(sweeps, "still_pending", looked)
    async with Database.connect(words, settings=settings_for(words)) as db:
        report = await runner_on(db).run("shout", OPTIONS)
    await application.close()
    assert report.status == "succeeded"
    (row,) = await fetch(words, "SELECT word, seen FROM words WHERE id = 13")
    assert tuple(row) == (shouted("wordnew"), moves)
    assert report.proof["need_nothing"] == 6, "those with a # only"

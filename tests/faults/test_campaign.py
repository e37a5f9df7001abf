"""`encrypt-user-data` killed again and again while the application writes the same rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from campaign import Plan, campaign

from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer


async def test_a_short_campaign(database: str, tmp_path: Path):
    await load_sample(database, users=1_500)
    plan = Plan(
        kills=4,
        spread=0.8,
        writers=2,
        pause=0.02,
        failpoints=False,
        undo_kills=1,
        options=("--batch-size=100",),
    )
    figures = await campaign(database, tmp_path, plan)
    assert figures["conflicts"] > 0
    assert figures["rewritten_after_seal"] >= figures["conflicts"]
    assert not figures["failures"], "the application got an error that it would not have had without the run"


@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_the_long_campaign(tmp_path: Path):
    """200,000 users, a server of its own."""
    async with EmbeddedServer() as server:
        await load_sample(server.dsn, users=200_000)
        plan = Plan(kills=20, spread=8.0, writers=3, pause=0.03, failpoints=True, undo_kills=3)
        figures = await campaign(server.dsn, tmp_path, plan)
    sys.stdout.write(json.dumps(figures, indent=2))
    assert figures["kills"] >= 40
    assert figures["conflicts"] > 0
    assert not figures["failures"]

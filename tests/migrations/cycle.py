"""before -> plan -> dry run -> run -> after -> again -> --force -> rollback -> before."""

from __future__ import annotations

import json
from collections import Counter

import attrs

from taaxdog_datamig import RunOptions
from tests import sample
from tests.sample import engine, has_ledger, state


async def cycle(dsn, name, *, rows, after, left=0, estimate=None, arguments=None, options=None, **settings):
    """Take a migration there and back, and hold it to what is known beforehand.

    Args:
        dsn: a database on which nothing has run yet.
        name: the migration.
        rows: rows it changes, exactly.
        after: `async def after(dsn)`: looks at the migrated database.
        left: rows it leaves on purpose, exactly.
        estimate: rows of the plan, where they are not those that change.
        arguments: of the migration.
        options: further options of the run.
        settings: of the engine.

    Returns the run's report.
    """
    chosen = RunOptions(arguments=arguments or {}, **(options or {}))
    before = await state(dsn)
    async with engine(dsn, **settings) as runner:
        plan = await runner.plan(name, arguments)
        assert plan.applicable, plan.reason
        assert plan.pending_rows == (rows if estimate is None else estimate)
        assert await state(dsn) == before, "a plan changes nothing"
        dry = await runner.run(name, attrs.evolve(chosen, dry_run=True))
        assert await state(dsn) == before, "a dry run changes nothing"
        assert not await has_ledger(dsn)
        assert (dry.changed_rows, dry.left_rows, dry.status) == (rows, left, "succeeded")
        assert bool(dry.preview) == bool(rows), "a dry run shows some rows"
        real = await runner.run(name, chosen)
        assert (real.changed_rows, real.left_rows, real.quarantined_rows) == (rows, left, 0)
        assert real.status == "succeeded"
        assert real.proof["pending"] == 0
        await after(dsn)
        migrated = await state(dsn)
        again = await runner.run(name, chosen)
        assert (again.status, again.changed_rows) == ("already_run", 0)
        forced = await runner.run(name, attrs.evolve(chosen, force=True))
        assert (forced.status, forced.changed_rows) == ("succeeded", 0)
        assert await state(dsn) == migrated, "there is nothing left to do"
        rolled = await runner.rollback(real.run_id)
        assert (rolled.restored_rows, rolled.conflicts) == (rows, 0)
    assert await state(dsn) == before, "a rollback gives everything back"
    return real


async def reasons(dsn):
    """How often the audit trail counts each reason of `Changes.because`."""
    found = await sample.rows(dsn, "SELECT entry FROM datamig.audit WHERE event = 'chunk'")
    return sum((Counter(json.loads(row[0]).get("reasons", {})) for row in found), Counter())

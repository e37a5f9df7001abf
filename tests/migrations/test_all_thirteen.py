"""All thirteen in their order, after which nothing is pending or found; and all back, to every checksum."""

from __future__ import annotations

import json
import sys
import time

import pytest

from taaxdog_datamig import RunOptions, Validator
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.errors import RefusedError
from tests.older import build_older
from tests.sample import engine, state

#: As the guide names them.
THIRTEEN = {
    "encrypt-user-data",
    "cleanup-orphaned",
    "normalize-phones",
    "migrate-passwords",
    "populate-metadata",
    "merge-duplicates",
    "set-tax-residency",
    "cleanup-audit-logs",
    "cleanup-orphaned-data",
    "cleanup-sessions",
    "cleanup-payments",
    "cleanup-soft-deleted",
    "optimize-database",
}
#: bcrypt's cheapest cost: what is tested is the engine, not the server's patience.
ARGUMENTS = {"migrate-passwords": {"cost": "4"}}


async def there_and_back(dsn, *, workers=1):
    """Run all, look for what is left, roll all back. Returns seconds and rows of each."""
    before = await state(dsn)
    figures = {}
    async with engine(dsn) as runner:
        names = runner.order(runner.registry.migrations)
        assert set(names) == THIRTEEN
        runs = {}
        for name in names:
            began = time.monotonic()
            options = RunOptions(arguments=ARGUMENTS.get(name, {}), workers=workers)
            report = await runner.run(name, options)
            assert report.status in {"succeeded", "nothing_to_do"}, name
            if report.run_id is not None:
                runs[name] = report
            figures[name] = {
                "rows": report.changed_rows,
                "left": report.left_rows,
                "seconds": round(time.monotonic() - began, 1),
            }
        # Old audit logs are cleanup-orphaned's, too.
        idle = {name for name in names if not figures[name]["rows"]}
        assert idle <= {"optimize-database", "cleanup-audit-logs"}
        found = await Validator(runner.db).validate()
        assert not found.errors
        mendable = {check.id: check.violations for check in found.failed if check.fix in THIRTEEN}
        # Nothing but the users whose foreign address is no evidence: listed with the run.
        left = figures["set-tax-residency"]["left"]
        assert mendable == ({"residency-missing": left} if left else {})
        for name in names:
            options = RunOptions(arguments=ARGUMENTS.get(name, {}), force=True)
            if name != "optimize-database":
                assert (await runner.run(name, options)).changed_rows == 0, f"{name} had something left to do"
        for name, report in reversed(runs.items()):
            began = time.monotonic()
            if name == "optimize-database":
                with pytest.raises(RefusedError, match="nothing to roll back"):
                    await runner.rollback(report.run_id)
                continue
            rolled = await runner.rollback(report.run_id)
            assert (rolled.conflicts, rolled.restored_rows) == (0, report.changed_rows), name
            figures[name]["back"] = round(time.monotonic() - began, 1)
    after = await state(dsn)
    assert {table for table in before if before[table] != after[table]} == set()
    return figures


async def test_all_thirteen_there_and_back(older):
    await there_and_back(older.dsn)


@pytest.mark.slow
@pytest.mark.timeout(7200)
async def test_all_thirteen_on_200_000_users(keyed):
    """A server of its own."""
    async with EmbeddedServer() as server:
        await build_older(server.dsn, users=200_000)
        figures = await there_and_back(server.dsn, workers=2)
    sys.stdout.write(json.dumps(figures, indent=2))

"""Data consistency: each check finds exactly the rows that were planted for it."""

from __future__ import annotations

import anyio
import pytest
from planting import plant, planted, result

# Row numbers of the clean sample's goals are not known by heart: rows are picked by their order.
GOAL = "(SELECT id FROM goals ORDER BY id OFFSET {} LIMIT 1)"

PLANTS = {
    "goal-over-target": plant(
        ["over"],
        f"UPDATE goals SET id = 'over', status = 'ACTIVE', current_amount = target_amount + 0.01"
        f" WHERE id = {GOAL.format(0)}",
        # As much as was aimed for is not more; and a completed goal may hold more.
        f"UPDATE goals SET status = 'ACTIVE', current_amount = target_amount WHERE id = {GOAL.format(1)}",
        f"UPDATE goals SET status = 'COMPLETED', current_amount = target_amount + 1"
        f" WHERE id = {GOAL.format(2)}",
    ),
}


@pytest.fixture(scope="module")
def report(clean_copies):
    return anyio.run(planted, clean_copies(), PLANTS.values())


@pytest.mark.parametrize("check", PLANTS)
def test_exactly_the_planted_rows_are_found(report, check):
    found = result(report, check)
    assert set(found.sample_keys) == PLANTS[check].keys
    assert found.violations == len(PLANTS[check].keys)

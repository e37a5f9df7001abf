"""Data consistency: rows whose columns contradict each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.validation.model import Check, RowCheck, Rule

if TYPE_CHECKING:
    from taaxdog_datamig.validation.scene import Scene

GOAL_OVER_TARGET = Rule(
    id="goal-over-target",
    title="Goal holds more than its target and is not completed",
    category="data-consistency",
    severity="low",
    meaning="More was saved than was aimed for, yet the goal is still open: it was never marked as "
    "completed, or one of the amounts is wrong.",
    remedy="Complete the goal, or correct the amount that is wrong.",
)

RULES = (GOAL_OVER_TARGET,)


def checks(scene: Scene) -> list[Check]:
    """The checks of this category."""
    del scene
    return [
        RowCheck(
            rule=GOAL_OVER_TARGET,
            table="goals",
            columns=("current_amount", "target_amount"),
            violation="{status}::text <> 'COMPLETED' AND {current_amount} > {target_amount}",
        ),
    ]

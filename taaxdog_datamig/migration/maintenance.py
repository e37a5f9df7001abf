"""The migration that changes no row: it vacuums, analyses and rebuilds indexes where that is needed."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from taaxdog_datamig.migration.base import BaseMigration
from taaxdog_datamig.pg.condition import Condition

if TYPE_CHECKING:
    from collections.abc import Sequence

#: `freeze` is a vacuum that also freezes every row. Each vacuum analyses, too.
Action: TypeAlias = Literal["vacuum", "freeze", "analyze", "reindex"]


@attrs.frozen(kw_only=True)
class MaintenanceTask:
    """One thing to be done to one table or index."""

    #: The table or index, with the figures before.
    subject: Condition
    action: Action
    #: What makes it necessary, in a few words. Empty: nothing does, and only `--force` has it done.
    reason: str = ""
    #: What stands in the way; the task is then listed and left out.
    obstacle: str = ""


class MaintenanceMigration(BaseMigration):
    """Says what needs care, and leaves the doing to the engine.

    The engine does one task after the other, outside transactions and under `lock_timeout`, and asks again
    when all are done: fresh statistics may show an index that is bloated. A run is never "already run", since
    what it cares for needs care again; nor is it rolled back, since it changes no row.
    """

    @abc.abstractmethod
    async def tasks(self) -> Sequence[MaintenanceTask]:
        """Everything that could be done here, in order, each with the reason if it is needed.

        Raises:
            NotApplicable: this installation has nothing to care for.
        """

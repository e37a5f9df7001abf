"""What `quarantine retry` tells its caller."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, TypeAlias

import attrs

from taaxdog_datamig.engine.reports import RunStatus

#: `changed`: migrated now. `refused`: still in quarantine. `left`: as it is, on purpose. `unneeded`: the row
#: needs nothing any more. `gone`: there is no such row any more. `busy`: others kept writing or locking it;
#: it stays in quarantine.
RowOutcome: TypeAlias = Literal["changed", "refused", "left", "unneeded", "gone", "busy"]


@attrs.frozen(kw_only=True)
class RetriedRow:
    """What became of a row that had been refused."""

    table: str
    key: tuple[str, ...]
    outcome: RowOutcome
    #: Why it was refused or left now; never quotes a value.
    code: str = ""
    reason: str = ""


@attrs.frozen(kw_only=True)
class RetryReport:
    """How `quarantine retry` ended. `datamig/quarantine-retry/1`."""

    run_id: str
    migration: str
    #: The run's status, as it was before: `succeeded` or `paused`.
    status: RunStatus
    #: Rows by outcome; those that did not occur are left out.
    outcomes: dict[RowOutcome, int]
    #: The first 10,000 of them.
    rows: tuple[RetriedRow, ...]
    chunks: int
    #: What was read back of the rows that changed.
    proof: dict[str, Any]
    seconds: float

    @property
    def still_refused(self) -> int:
        """Rows that are in quarantine now."""
        outcomes = Counter[str](self.outcomes)
        return outcomes["refused"] + outcomes["busy"]

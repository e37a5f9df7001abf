"""Tells whoever listens that a run begins, and how it ended, whichever way it ends."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import anyio
import attrs

from taaxdog_datamig.engine.reports import RollbackReport, RunReport
from taaxdog_datamig.errors import DatamigError, RefusedError, RunCancelled, RunPaused, UsageError
from taaxdog_datamig.events import ChunkDone, RunFinished, RunStarted, RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taaxdog_datamig.events import Action, Event, EventBus


@attrs.define(kw_only=True, eq=False)
class Ending:
    """How it ends."""

    action: Action
    migration: str
    database: str
    dry_run: bool
    run_id: str | None = None
    #: What the ledger says of the run; None while it has no record.
    status: str | None = None
    changed: int = 0
    quarantined: int = 0
    conflicts: int = 0
    chunks: int = 0
    #: To be set by whoever succeeds.
    report: RunReport | RollbackReport | None = None
    _began: float = attrs.field(factory=time.monotonic)

    def hear(self, event: Event) -> None:
        """Take in what the engine tells."""
        match event:
            case RunStatus(status="running") if self.action == "run":
                # A rollback that was left is ended first: that is another run.
                self.run_id, self.status = event.run_id, event.status
                self.changed = self.quarantined = self.conflicts = self.chunks = 0
            case RunStatus() if event.run_id == self.run_id:
                self.status = event.status
            case ChunkDone():
                self.changed += event.changed
                self.quarantined += event.quarantined
                self.conflicts += event.conflicts
                self.chunks += 1

    def event(self, error: BaseException | None = None) -> RunFinished:
        """What is told at the end."""
        finished = RunFinished(
            action=self.action,
            migration=self.migration,
            database=self.database,
            dry_run=self.dry_run,
            run_id=self.run_id,
            status=self._status(error),
            failed=error is not None and not isinstance(error, (RunPaused, RunCancelled, *_interruptions())),
            seconds=time.monotonic() - self._began,
            changed_rows=self.changed,
            quarantined_rows=self.quarantined,
            conflicts=self.conflicts,
            chunks=self.chunks,
            error=None if error is None else type(error).__name__,
            reason=error.what if isinstance(error, DatamigError) else "",
            hint=error.todo if isinstance(error, DatamigError) else "",
        )
        match self.report:
            case RunReport() as report:
                return attrs.evolve(
                    finished,
                    run_id=report.run_id,
                    status=report.status,
                    estimated_rows=report.estimated_rows,
                    changed_rows=report.changed_rows,
                    quarantined_rows=report.quarantined_rows,
                    left_rows=report.left_rows,
                    conflicts=report.conflicts,
                    chunks=report.chunks,
                    rows_per_second=report.rows_per_second,
                )
            case RollbackReport() as report:
                return attrs.evolve(
                    finished,
                    changed_rows=report.restored_rows,
                    conflicts=report.conflicts,
                    chunks=report.chunks,
                    rows_per_second=report.restored_rows / report.seconds if report.seconds else 0.0,
                )
        return finished

    def _status(self, error: BaseException | None) -> str:
        if self.status == "running":  # and not any more by us, or another status had been told
            return "abandoned"
        if self.status is not None:
            return self.status
        if error is None:
            return "succeeded"
        return "refused" if isinstance(error, RefusedError | UsageError) else "failed"


def _interruptions() -> tuple[type[BaseException], ...]:
    return KeyboardInterrupt, anyio.get_cancelled_exc_class()


@contextlib.contextmanager
def telling(events: EventBus, ending: Ending) -> Iterator[Ending]:
    """Tell that it begins; at the end of the block, how it ended."""
    events.emit(
        RunStarted(
            action=ending.action,
            migration=ending.migration,
            database=ending.database,
            dry_run=ending.dry_run,
        )
    )
    with events.hearing(ending.hear):
        try:
            yield ending
        except BaseException as error:
            finished = ending.event(error)
            raise
        else:
            finished = ending.event()
        finally:
            events.announce(finished)

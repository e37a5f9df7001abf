"""Exit codes: the one table, for errors and for answers."""

from __future__ import annotations

from typing import Any

from taaxdog_datamig.errors import DatamigError, RefusedError, UsageError

DONE = 0
FAILED = 1
USAGE = 2
FOUND = 3
REFUSED = 4
LEFTOVERS = 5
INTERRUPTED = 130

#: What each code means, for the documentation and its test.
MEANINGS = {
    DONE: "done, or nothing to do",
    FAILED: "failed, rolled back or paused; the message says which",
    USAGE: "wrong usage or settings; nothing was tried",
    FOUND: "validation found what `--fail-on` names, or `checksum --diff` a difference",
    REFUSED: "refused for safety: drift, missing key, lease held",
    LEFTOVERS: "finished, but with quarantined rows or conflicts",
    INTERRUPTED: "interrupted; the run is paused cleanly and can be resumed",
}


class Interrupted(DatamigError):
    """Ctrl-C or SIGTERM stopped the command."""


class Declined(DatamigError):
    """The person at the terminal said no."""


#: The nearest ancestor of an error's class decides.
CODES: dict[type[BaseException], int] = {
    BaseException: FAILED,
    UsageError: USAGE,
    RefusedError: REFUSED,
    Interrupted: INTERRUPTED,
}

_FINISHED = {"succeeded", "nothing_to_do", "already_run"}


def of_error(error: BaseException) -> int:
    """The exit code for a command that ended with `error`."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


def of_answer(answer: Any) -> int:
    """The exit code for a command that returned `answer`."""
    # Here, because `--help` needs neither.
    from taaxdog_datamig.checksum.reports import DiffReport
    from taaxdog_datamig.engine.archive_reports import ArchiveDetails, ArchiveRestore
    from taaxdog_datamig.engine.reports import KeyRotation, RollbackReport, RunReport
    from taaxdog_datamig.engine.retry_reports import RetryReport
    from taaxdog_datamig.validation import ValidationReport
    from taaxdog_datamig_cli.answers import AuditVerdict, Diagnosis, RunReports

    match answer:
        case KeyRotation(run=run):
            return of_answer(run)
        case RunReports(reports=reports):
            return max((of_answer(report) for report in reports), default=DONE)
        case ValidationReport(valid=False):
            return FOUND
        case RunReport(status=status) if status not in _FINISHED:
            return FAILED
        case (
            RunReport(quarantined_rows=rows)
            | RetryReport(still_refused=rows)
            | RollbackReport(conflicts=rows)
            | ArchiveRestore(refused_rows=rows)
        ) if rows:
            return LEFTOVERS
        case DiffReport(equal=False):
            return FOUND
        case ArchiveDetails(state="damaged") | Diagnosis(healthy=False):
            return FAILED
        case AuditVerdict(broken=broken) if broken is not None:
            return FAILED
    return DONE

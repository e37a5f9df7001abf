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
    # By name: to import every kind of answer takes as long as many a command.
    match type(answer).__name__:
        case "RunReports":
            return max((of_answer(report) for report in answer.reports), default=DONE)
        case "ValidationReport" if not answer.valid:
            return FOUND
        case "RunReport" if answer.status not in _FINISHED:
            return FAILED
        case "RunReport" if answer.quarantined_rows:
            return LEFTOVERS
        case "RollbackReport" if answer.conflicts:
            return LEFTOVERS
        case "ArchiveRestore" if answer.refused_rows:
            return LEFTOVERS
        case "DiffReport" if not answer.equal:
            return FOUND
        case "ArchiveDetails" if answer.state == "damaged":
            return FAILED
        case "Diagnosis" if not answer.healthy:
            return FAILED
    return DONE

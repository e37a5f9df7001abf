"""Exit codes: the one table, for errors and for answers."""

from __future__ import annotations

from collections.abc import Callable
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


class Unwritten(DatamigError):
    """What was asked for was done, and where its answer should go takes it not, such as a full disk."""


#: The nearest ancestor of an error's class decides.
CODES: dict[type[BaseException], int] = {
    BaseException: FAILED,
    UsageError: USAGE,
    RefusedError: REFUSED,
    Interrupted: INTERRUPTED,
    KeyboardInterrupt: INTERRUPTED,
}

#: Ends that a person has brought about.
ASKED_FOR = (Interrupted, Declined, KeyboardInterrupt)

_FINISHED = {"succeeded", "nothing_to_do", "already_run"}


def of_error(error: BaseException) -> int:
    """The exit code for a command that ended with `error`."""
    return next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)


#: What is less than success: an answer's class, by name (to import them all takes as long as a command), what
#: is looked for in it, and the exit code. The first that fits counts.
_SHORT: tuple[tuple[str, Callable[[Any], object], int], ...] = (
    ("ValidationReport", lambda answer: not answer.valid, FOUND),
    ("RunReport", lambda answer: answer.status not in _FINISHED, FAILED),
    ("RunReport", lambda answer: answer.quarantined_rows, LEFTOVERS),
    ("RetryReport", lambda answer: answer.still_refused, LEFTOVERS),
    ("RollbackReport", lambda answer: answer.conflicts, LEFTOVERS),
    ("ArchiveRestore", lambda answer: answer.refused_rows, LEFTOVERS),
    ("DiffReport", lambda answer: not answer.equal, FOUND),
    ("ArchiveDetails", lambda answer: answer.state == "damaged", FAILED),
    ("Diagnosis", lambda answer: not answer.healthy, FAILED),
    ("AuditVerdict", lambda answer: answer.broken is not None, FAILED),
)


def of_answer(answer: Any) -> int:
    """The exit code for a command that returned `answer`."""
    name = type(answer).__name__
    if name == "KeyRotation":
        return of_answer(answer.run)
    if name == "RunReports":
        return max((of_answer(report) for report in answer.reports), default=DONE)
    return next((code for kind, short, code in _SHORT if kind == name and short(answer)), DONE)

"""Named crash points.

A no-op unless armed, by the harness in `taaxdog_datamig.testing` or by hand:

    DATAMIG_FAILPOINT=before-commit:3           SIGKILL the process the third time it gets there
    DATAMIG_FAILPOINT=after-transform:1:stop    SIGSTOP it, until somebody sends SIGCONT

`NAMES` are those of a run that changes rows, in the order in which it passes them; `DELETING` those that only
a run passes which deletes rows; `MAINTENANCE_NAMES` those that only maintenance passes, between
`after-begin-run` and `after-record`. `CREATING`, `RESTORING` and `CONVERGING` are those of backups: made,
restored into an empty database, and into tables that exist.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "DATAMIG_FAILPOINT"

NAMES = (
    "after-plan",
    "after-ledger",
    "after-begin-run",
    "before-ddl",
    "after-ddl",
    "after-windows",
    "after-claim",
    "after-read",
    "after-transform",
    "after-update",
    "after-image",
    "before-commit",
    "after-commit",
    "after-window",
    "after-sweep",
    "before-proof",
    "after-proof",
    "after-record",
    "rollback-begin",
    "rollback-before-commit",
    "rollback-after-commit",
    "rollback-before-ddl",
    "rollback-end",
)

#: Those that only a run passes which makes a backup.
BACKING_UP = ("after-backup",)
DELETING = ("after-part", "after-archive")
CREATING = ("create-snapshot", "create-part", "create-parts", "create-manifest")
RESTORING = ("restore-schema", "restore-part", "restore-rows", "restore-indexes")
CONVERGING = ("restore-staged", "restore-before-commit")
MAINTENANCE_NAMES = (
    "after-tasks",
    "before-task",
    "during-task",
    "after-task",
    "after-task-record",
)

_armed, _how, _left = "", "", 1


def arm() -> None:
    """Read the environment: when this is imported, and again in a process that was forked."""
    global _armed, _how, _left  # noqa: PLW0603 - one process, one armed point
    _armed, count, _how = (*os.environ.get(VARIABLE, "").split(":"), "", "")[:3]
    _left = int(count or "1")


def hit(name: str) -> None:
    """Say that the program got to `name`."""
    if _armed == name:
        _crash()


def _crash() -> None:
    global _left  # noqa: PLW0603 - one process, one armed point
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), signal.SIGSTOP if _how == "stop" else signal.SIGKILL)


arm()

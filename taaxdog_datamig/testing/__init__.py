"""What you need to test your own migrations: `assert_crash_safe`, and a database to do it on."""

from taaxdog_datamig.testing.crash import CrashReport, assert_crash_safe
from taaxdog_datamig.testing.databases import temporary_database
from taaxdog_datamig.testing.faults import FAULTS, Restartable
from taaxdog_datamig.testing.proxy import Cut, Proxy
from taaxdog_datamig.testing.states import Difference, database_state, differences
from taaxdog_datamig.testing.unreliable import UnreliableExecutor, unreliable

__all__ = [
    "FAULTS",
    "CrashReport",
    "Cut",
    "Difference",
    "Proxy",
    "Restartable",
    "UnreliableExecutor",
    "assert_crash_safe",
    "database_state",
    "differences",
    "temporary_database",
    "unreliable",
]

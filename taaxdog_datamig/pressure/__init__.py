"""How hard the server has it: signals that a run looks at between chunks, one small class each.

A signal says how near its limit it is, and why a person should wait. One that cannot be read is as bad as
one over its limit (promise P6): `Unreadable`.
"""

from __future__ import annotations

from taaxdog_datamig.pressure.choice import signals_of
from taaxdog_datamig.pressure.commits import CommitClock
from taaxdog_datamig.pressure.model import Reading, Signal, Unreadable

__all__ = ["CommitClock", "Reading", "Signal", "Unreadable", "signals_of"]

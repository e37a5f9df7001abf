"""What subscribes to the engine's events besides a person's eyes: logs, metrics, traces, calls on failure.

Each is a subscriber for `EventBus.subscribe`; put `guarded` around it, since a subscriber that raises stops
the run. None of them ever hears a row's value. Packages that one needs are imported when it is made.
"""

from __future__ import annotations

from taaxdog_datamig.monitoring.guard import guarded
from taaxdog_datamig.monitoring.hooks import FailureHooks
from taaxdog_datamig.monitoring.log import EventLog
from taaxdog_datamig.monitoring.metrics import METRICS, Metric, Metrics
from taaxdog_datamig.monitoring.otel import OpenTelemetry
from taaxdog_datamig.monitoring.prometheus import MetricsServer, Textfiles

__all__ = [
    "METRICS",
    "EventLog",
    "FailureHooks",
    "Metric",
    "Metrics",
    "MetricsServer",
    "OpenTelemetry",
    "Textfiles",
    "guarded",
]

"""Traces and metrics for OpenTelemetry, through its API alone: whoever embeds this chooses the SDK."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.events import (
    ChunkDone,
    RunFinished,
    RunStarted,
    RunStatus,
    StepFinished,
    StepStarted,
    SweepStarted,
    Validated,
    Waiting,
    Warned,
)
from taaxdog_datamig.settings import LONGEST_CHUNK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.metrics import Counter, Histogram
    from opentelemetry.trace import Span

    from taaxdog_datamig.events import Event

_NAME = "taaxdog_datamig"


@attrs.define(eq=False, init=False)
class OpenTelemetry:
    """A subscriber that makes a span of each run and of each of its steps, and counts rows and chunks.

    A chunk is no span of its own, since there are thousands: its time goes to a histogram, and the span of
    the step notes those that took longer than they may. Needs the extra `otel`.

    Args:
        environ: where the caller's `TRACEPARENT` is looked for; `os.environ` by default.
    """

    _environ: Mapping[str, str]
    _tracer: Any
    _rows: Counter
    _chunks: Counter
    _runs: Counter
    _waits: Counter
    _durations: Histogram
    _violations: Any
    _run: Span | None
    _step: Span | None
    _common: dict[str, str]

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        from opentelemetry import metrics, trace  # noqa: PLC0415 - an extra

        meter = metrics.get_meter(_NAME)
        self._environ = os.environ if environ is None else environ
        self._tracer = trace.get_tracer(_NAME)
        self._runs = meter.create_counter(
            "datamig.runs", unit="{run}", description="Runs and rollbacks that ended."
        )
        self._rows = meter.create_counter("datamig.rows", unit="{row}", description="Rows worked on.")
        self._chunks = meter.create_counter(
            "datamig.chunks", unit="{chunk}", description="Transactions committed."
        )
        self._waits = meter.create_counter("datamig.wait.duration", unit="s", description="Time waited.")
        self._durations = meter.create_histogram(
            "datamig.chunk.duration", unit="s", description="Time that a transaction took."
        )
        self._violations = meter.create_gauge(
            "datamig.validation.violations", unit="{row}", description="Rows that break a rule."
        )
        self._run = self._step = None
        self._common = {}

    def __call__(self, event: Event) -> None:  # noqa: C901 - a table of events
        """Take in one event."""
        match event:
            case RunStarted():
                self._started(event)
            case RunStatus() if self._run is not None:
                self._run.set_attribute("datamig.run_id", event.run_id)
            case RunFinished():
                self._finished(event)
            case StepStarted() if self._run is not None:
                self._step = self._span(event.step, self._run)
            case StepFinished() if self._step is not None:
                self._step.end()
                self._step = None
            case ChunkDone():
                self._chunk(event)
            case Waiting():
                self._waits.add(event.seconds, self._common)
                self._note("waiting", {"reason": event.reason, "seconds": event.seconds})
            case SweepStarted():
                self._note("sweep", {"table": event.table, "sweep": event.sweep, "rows": event.rows})
            case Warned():
                self._note("warning", {})  # its words stay here: what leaves the host is counts and names
            case Validated():
                self._validated(event)

    def _started(self, event: RunStarted) -> None:
        from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - an extra
            TraceContextTextMapPropagator,
        )

        self._common = {
            "datamig.migration": event.migration,
            "datamig.action": event.action,
            "db.namespace": event.database,
        }
        names = {"TRACEPARENT", "TRACESTATE"}
        carrier = {name.lower(): value for name, value in self._environ.items() if name in names}
        parent = TraceContextTextMapPropagator().extract(carrier)
        self._run = self._tracer.start_span(
            f"{event.action} {event.migration}",
            context=parent,
            attributes={**self._common, "db.system.name": "postgresql", "datamig.dry_run": event.dry_run},
        )

    def _finished(self, event: RunFinished) -> None:
        from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - an extra

        if not event.dry_run:
            self._runs.add(1, {**self._common, "datamig.status": event.status})
        for span in (self._step, self._run):
            if span is None:
                continue
            if event.error is not None:
                span.set_attribute("error.type", event.error)
            if event.failed:
                span.set_status(Status(StatusCode.ERROR, event.status))
        if self._step is not None:
            self._step.end()
        if self._run is not None:
            self._run.set_attributes(
                {
                    "datamig.status": event.status,
                    "datamig.changed_rows": event.changed_rows,
                    "datamig.quarantined_rows": event.quarantined_rows,
                    "datamig.left_rows": event.left_rows,
                    "datamig.conflicts": event.conflicts,
                    "datamig.chunks": event.chunks,
                    "datamig.rows_per_second": event.rows_per_second,
                }
            )
            self._run.end()
        self._run = self._step = None
        self._common = {}

    def _chunk(self, event: ChunkDone) -> None:
        table = {**self._common, "db.collection.name": event.table}
        for outcome, rows in (
            ("changed", event.changed),
            ("quarantined", event.quarantined),
            ("conflict", event.conflicts),
        ):
            if rows:
                self._rows.add(rows, {**table, "datamig.outcome": outcome})
        self._chunks.add(1, table)
        self._durations.record(event.seconds, self._common)
        if event.seconds > LONGEST_CHUNK:
            self._note("slow chunk", {"table": event.table, "rows": event.changed, "seconds": event.seconds})

    def _validated(self, event: Validated) -> None:
        self._note("validated", {"scope": event.scope, "made": event.made, "findings": len(event.findings)})
        if event.scope in {"database", "after"}:
            for found in event.findings:
                self._violations.set(
                    found.rows,
                    {
                        **self._common,
                        "db.namespace": event.database,
                        "datamig.check": found.check,
                        "datamig.severity": found.severity,
                        "db.collection.name": found.table,
                    },
                )

    def _note(self, name: str, attributes: dict[str, Any]) -> None:
        span = self._step or self._run
        if span is not None:
            span.add_event(name, attributes, timestamp=time.time_ns())

    def _span(self, name: str, parent: Span) -> Span:
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        span: Span = self._tracer.start_span(name, context=set_span_in_context(parent))
        return span

"""Metrics: what there are, and how events change them. Nothing here knows where they go."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import attrs

from taaxdog_datamig.events import (
    ChunkDone,
    RunFinished,
    RunStarted,
    TableStarted,
    Validated,
    Waiting,
)

if TYPE_CHECKING:
    from taaxdog_datamig.events import Event

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

#: Upper ends of the buckets of a chunk's time, seconds. A chunk is to stay below 1.
BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)


@attrs.frozen
class Metric:
    """A family of series."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


_RUN = ("database", "migration")
_ACTION = (*_RUN, "action")

#: Every metric, in the order in which they are written.
METRICS: Final = (
    Metric("datamig_runs_total", "counter", (*_ACTION, "status"), "Runs and rollbacks that ended."),
    Metric("datamig_rows_total", "counter", (*_RUN, "table", "outcome"), "Rows worked on."),
    Metric("datamig_chunks_total", "counter", (*_RUN, "table"), "Transactions committed."),
    Metric("datamig_wait_seconds_total", "counter", _RUN, "Time waited for locks, replicas and the like."),
    Metric("datamig_chunk_seconds", "histogram", _RUN, "Time that a transaction took."),
    Metric("datamig_run_active", "gauge", _ACTION, "1 while a process works on it."),
    Metric("datamig_run_updated_timestamp_seconds", "gauge", _ACTION, "When that process last gave a sign."),
    Metric("datamig_run_expected_rows", "gauge", _RUN, "Rows that the run under way, or the last, expects."),
    Metric("datamig_run_done_rows", "gauge", _RUN, "Rows that this process has worked on for it."),
    Metric("datamig_last_run_failed", "gauge", _ACTION, "1 if the last one failed, and people should look."),
    Metric("datamig_last_run_timestamp_seconds", "gauge", _ACTION, "When the last one ended."),
    Metric("datamig_last_success_timestamp_seconds", "gauge", _ACTION, "When one last ended well."),
    Metric("datamig_last_run_seconds", "gauge", _ACTION, "How long the last one took."),
    Metric("datamig_last_run_rows", "gauge", (*_ACTION, "outcome"), "Rows of the last one."),
    Metric("datamig_last_run_expected_rows", "gauge", _ACTION, "Rows that the last one had expected."),
    Metric("datamig_last_run_rows_per_second", "gauge", _ACTION, "Rate of the last one that changed rows."),
    Metric(
        "datamig_validation_violations",
        "gauge",
        ("database", "source", "check", "severity", "table"),
        "Rows that break a rule, in the last validation.",
    ),
    Metric(
        "datamig_validation_unmade_checks",
        "gauge",
        ("database", "source"),
        "Checks that could not be made, in the last validation.",
    ),
    Metric(
        "datamig_validation_timestamp_seconds", "gauge", ("database", "source"), "When it was last validated."
    ),
    Metric("datamig_validation_seconds", "gauge", ("database", "source"), "How long that took."),
)
_BY_NAME: Final = {metric.name: metric for metric in METRICS}

#: One series: the sample's name and its labels in order.
Series: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
#: In which a validation is told of that is not a migration's.
VALIDATE: Final = "validate"
#: Ends that leave the figures of the last run's rows as they were: there were none.
_IDLE: Final = frozenset({"already_run", "nothing_to_do", "refused"})


@attrs.define(eq=False)
class Metrics:
    """A subscriber that keeps the metrics of one database's runs. Dry runs are left out."""

    clock: Callable[[], float] = time.time
    samples: dict[Series, float] = attrs.field(factory=dict)
    _run: RunStarted | None = None

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case RunStarted(dry_run=False):
                self._run = event
                self._set("datamig_run_active", 1)
                self._set("datamig_run_expected_rows", 0)
                self._set("datamig_run_done_rows", 0)
                for status in ("succeeded", "failed", "rolled_back"):  # so that the first one is seen to rise
                    self._add("datamig_runs_total", 0, status=status)
            case Validated():
                self._validated(event)
        if self._run is None:
            return
        self._set("datamig_run_updated_timestamp_seconds", self.clock())
        match event:
            case TableStarted():
                self._add("datamig_run_expected_rows", event.rows)
            case ChunkDone():
                self._chunk(event)
            case Waiting():
                self._add("datamig_wait_seconds_total", event.seconds)
            case RunFinished():
                self._finished(event)
                self._run = None

    def of(self, metric: Metric) -> list[tuple[Series, float]]:
        """The samples of a metric, also for another thread."""
        parts = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        names = {metric.name + part for part in parts}
        return [(series, value) for series, value in list(self.samples.items()) if series[0] in names]

    def _chunk(self, event: ChunkDone) -> None:
        for outcome, rows in (
            ("changed", event.changed),
            ("quarantined", event.quarantined),
            ("conflict", event.conflicts),
        ):
            self._add("datamig_rows_total", rows, table=event.table, outcome=outcome)
        self._add("datamig_chunks_total", 1, table=event.table)
        self._add("datamig_run_done_rows", event.changed)
        for end in (*BUCKETS, float("inf")):
            bound = "+Inf" if end == float("inf") else str(end)
            self._add("datamig_chunk_seconds", event.seconds <= end, part="_bucket", le=bound)
        self._add("datamig_chunk_seconds", event.seconds, part="_sum")
        self._add("datamig_chunk_seconds", 1, part="_count")

    def _finished(self, event: RunFinished) -> None:
        now = self.clock()
        self._set("datamig_run_active", 0)
        self._add("datamig_runs_total", 1, status=event.status)
        self._set("datamig_last_run_failed", event.failed)
        self._set("datamig_last_run_timestamp_seconds", now)
        if event.error is None:
            self._set("datamig_last_success_timestamp_seconds", now)
        if event.status in _IDLE:
            return
        self._set("datamig_last_run_seconds", event.seconds)
        self._set("datamig_last_run_expected_rows", event.estimated_rows)
        for outcome, rows in (
            ("changed", event.changed_rows),
            ("quarantined", event.quarantined_rows),
            ("left", event.left_rows),
            ("conflict", event.conflicts),
        ):
            self._set("datamig_last_run_rows", rows, outcome=outcome)
        if event.rows_per_second and event.changed_rows:
            self._set("datamig_last_run_rows_per_second", event.rows_per_second)

    def _validated(self, event: Validated) -> None:
        # Before a run there is what it mends; a part does not say what the rest is like.
        if event.scope in {"before", "part"} or (event.scope == "after" and self._run is None):
            return
        source = VALIDATE if event.scope == "database" or self._run is None else self._run.migration
        own = {"database": event.database, "source": source}
        mine = set(own.items())
        for series, _ in self.of(_BY_NAME["datamig_validation_violations"]):
            if mine <= set(series[1]):
                del self.samples[series]
        for found in event.findings:
            labels = {"check": found.check, "severity": found.severity, "table": found.table}
            self._put("datamig_validation_violations", {**own, **labels}, found.rows)
        self._put("datamig_validation_unmade_checks", own, event.unmade)
        self._put("datamig_validation_timestamp_seconds", own, self.clock())
        self._put("datamig_validation_seconds", own, event.seconds)

    def _labels(self, name: str, own: Mapping[str, str]) -> Mapping[str, str]:
        assert self._run is not None
        run = {
            "database": self._run.database,
            "migration": self._run.migration,
            "action": self._run.action,
        }
        return {label: own[label] if label in own else run[label] for label in _BY_NAME[name].labels}

    def _set(self, name: str, value: float, **own: str) -> None:
        self._put(name, self._labels(name, own), value)

    def _add(self, name: str, value: float, *, part: str = "", le: str = "", **own: str) -> None:
        labels = dict(self._labels(name, own)) | ({"le": le} if le else {})
        series = (name + part, tuple(labels.items()))
        self.samples[series] = self.samples.get(series, 0.0) + value

    def _put(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self.samples[name, tuple(labels.items())] = float(value)

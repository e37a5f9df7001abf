"""Metrics in files for node_exporter's textfile collector, and at an address while a process works.

A batch job is gone before anybody can ask it: the files stay. Each migration has its own, which the next run
goes on with, so that counters never fall and the last success is known after a failure. Needs the extra
`prometheus`.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.events import RunFinished, RunStarted, Validated
from taaxdog_datamig.monitoring.metrics import METRICS, VALIDATE, Metrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from taaxdog_datamig.events import Event

_log = logging.getLogger(__name__)

#: Seconds between two writes of a file while a run works.
INTERVAL: Final = 15.0
PORT: Final = 9464  # where OpenTelemetry's exporter for Prometheus listens, too


@attrs.frozen
class _Collector:
    """Metrics as prometheus_client collects them."""

    metrics: Metrics

    def collect(self) -> Iterator[Any]:
        from prometheus_client import Metric  # noqa: PLC0415 - an extra
        from prometheus_client.samples import Sample  # noqa: PLC0415 - an extra

        for metric in METRICS:
            family = Metric(metric.name.removesuffix("_total"), metric.help, metric.kind)
            family.samples = [
                Sample(name, dict(labels), value) for (name, labels), value in self.metrics.of(metric)
            ]
            if family.samples:
                yield family


@attrs.define(eq=False)
class Textfiles:
    """A subscriber that keeps one file for each database and migration, and one for validations.

    Args:
        folder: where node_exporter's `--collector.textfile.directory` points; made if need be.
        clock: the time of day, seconds.
    """

    folder: Path
    clock: Callable[[], float] = time.time
    _path: Path | None = None
    _metrics: Metrics | None = None
    _written: float = 0.0

    def __call__(self, event: Event) -> None:
        """Take in one event, and write when it is time."""
        match event:
            case RunStarted(dry_run=False):
                self._open(event.database, event.migration)
            case Validated(scope="database") if self._metrics is None:
                self._open(event.database, VALIDATE)
        if self._metrics is None:
            return
        self._metrics(event)
        over = isinstance(event, RunFinished) or (
            isinstance(event, Validated) and self._path is not None and event.scope == "database"
        )
        if over or isinstance(event, RunStarted) or self.clock() - self._written >= INTERVAL:
            self._write()
        if over:
            self._metrics = self._path = None

    def _open(self, database: str, subject: str) -> None:
        name = re.sub(r"[^\w.-]", "_", f"datamig-{database}-{subject}")
        self._path = self.folder / f"{name}.prom"
        self._metrics = Metrics(self.clock, _earlier(self._path))

    def _write(self) -> None:
        from prometheus_client import write_to_textfile  # noqa: PLC0415 - an extra

        assert self._path is not None
        assert self._metrics is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        write_to_textfile(str(self._path), _Collector(self._metrics))
        self._written = self.clock()


def _earlier(path: Path) -> dict[Any, float]:
    """The samples of a file; none where there is none, or nothing can be made of it."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - an extra

    known = {metric.name.removesuffix("_total"): metric for metric in METRICS}
    samples: dict[Any, float] = {}
    try:
        for family in text_string_to_metric_families(path.read_text("utf-8")):
            for sample in family.samples:
                if family.name in known and set(known[family.name].labels) == sample.labels.keys() - {"le"}:
                    order = [*known[family.name].labels, *sample.labels.keys() & {"le"}]
                    labels = tuple((label, sample.labels[label]) for label in order)
                    samples[sample.name, labels] = sample.value
    except FileNotFoundError:
        pass
    except ValueError:
        _log.warning("%s is damaged: its counters begin anew", path)
        return {}
    return samples


@attrs.define(eq=False)
class MetricsServer:
    """A subscriber that serves its metrics at http://HOST:PORT/metrics until it is closed.

    Args:
        address: HOST:PORT, :PORT for every address of this host, or PORT for the loopback.

    Raises:
        SettingsError: that is no address.
    """

    address: str
    metrics: Metrics = attrs.field(factory=Metrics)
    _server: Any = None

    def __attrs_post_init__(self) -> None:
        split_address(self.address)

    def __call__(self, event: Event) -> None:
        """Take in one event."""
        self.metrics(event)

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address is not to be had.
        """
        from prometheus_client import start_http_server  # noqa: PLC0415 - an extra

        host, port = split_address(self.address)
        self._server, _ = start_http_server(port, host, _Collector(self.metrics))

    @property
    def port(self) -> int:
        """Where it listens; another than was asked for where that was 0."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def split_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, [HOST]:PORT, :PORT or PORT.

    Raises:
        SettingsError: it is none of these.
    """
    host, colon, port = address.rpartition(":")
    with contextlib.suppress(ValueError):
        if 0 <= (number := int(port)) < 1 << 16 and (colon or not host):
            return host.strip("[]") or ("0.0.0.0" if colon else "127.0.0.1"), number  # noqa: S104 - asked for
    raise SettingsError(
        f"metrics_address {address!r} is no address",
        f"Write it as 127.0.0.1:{PORT}, or :{PORT} for everybody",
    )

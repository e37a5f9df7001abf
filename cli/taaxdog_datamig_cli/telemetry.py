"""OpenTelemetry's SDK for this process, set up by its own environment variables alone.

`OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` (otlp, console, none; otlp by default) and
`OTEL_EXPORTER_OTLP_*` say where to; the SDK reads the rest by itself. Where `opentelemetry-instrument` or
somebody else has set up providers, these are used as they are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taaxdog_datamig.monitoring import OpenTelemetry

_log = logging.getLogger(__name__)

#: Seconds that sending may take at the end.
_PATIENCE = 5.0
_ASKED = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_METRICS_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)


@contextlib.contextmanager
def telemetry() -> Iterator[OpenTelemetry | None]:
    """A subscriber for the block; what it made is sent by the end. None where nothing is asked for."""
    asked = any(os.environ.get(name) for name in _ASKED)
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not (asked or _is_set_up()):
        yield None
        return
    from taaxdog_datamig.monitoring import OpenTelemetry

    try:
        providers = [] if _is_set_up() else _set_up(os.environ)
    except ImportError:
        _log.warning("OTEL_* asks for OpenTelemetry, which needs: pip install 'taaxdog-datamig[otel]'")
        yield None
        return
    try:
        yield OpenTelemetry()
    finally:
        _send(providers)


def _send(providers: Sequence[Any]) -> None:
    """Send what is left, without keeping the caller: the SDK would try an absent collector for a while."""
    threads = [threading.Thread(target=provider.shutdown, daemon=True) for provider in providers]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in threads):
        _log.warning("OpenTelemetry's collector did not take everything within %g seconds", _PATIENCE)


def _is_set_up() -> bool:
    trace = sys.modules.get("opentelemetry.trace")
    return trace is not None and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _set_up(environ: Mapping[str, str]) -> list[Any]:
    """Make the providers known to the API; returns them, to be shut down."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({} if environ.get("OTEL_SERVICE_NAME") else {"service.name": "datamig"})
    providers: list[Any] = []
    if (exporter := _exporter("traces", environ)) is not None:
        tracing = TracerProvider(resource=resource, shutdown_on_exit=False)
        tracing.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(tracing)
        providers.append(tracing)
    if (exporter := _exporter("metrics", environ)) is not None:
        metering = MeterProvider(
            [PeriodicExportingMetricReader(exporter)], resource=resource, shutdown_on_exit=False
        )
        metrics.set_meter_provider(metering)
        providers.append(metering)
    return providers


def _exporter(signal: str, environ: Mapping[str, str]) -> Any:
    name = environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() or "otlp"
    if name == "none":
        return None
    if name == "otlp":
        protocol = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", ""
        )
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = next(iter(entry_points(group=f"opentelemetry_{signal}_exporter", name=name)), None)
    if found is None:
        _log.warning("there is no exporter %s for %s: none are sent", name, signal)
        return None
    # Standard output belongs to the answer.
    return found.load()(out=sys.stderr) if name == "console" else found.load()()

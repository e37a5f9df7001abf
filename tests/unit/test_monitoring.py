"""Logs, metrics, traces and calls on failure, from the engine's events alone."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import ClassVar

import attrs
import jsonschema
import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families

from taaxdog_datamig import events as events_module
from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.events import (
    ChunkDone,
    EventBus,
    Finding,
    RunFinished,
    RunStarted,
    RunStatus,
    StepFinished,
    StepStarted,
    TableStarted,
    Validated,
    Waiting,
    Warned,
)
from taaxdog_datamig.monitoring import (
    METRICS,
    EventLog,
    FailureHooks,
    MetricsServer,
    OpenTelemetry,
    Textfiles,
    guarded,
)
from taaxdog_datamig.monitoring.log import event_name
from taaxdog_datamig.monitoring.prometheus import split_address
from taaxdog_datamig.redaction import configure_logging

DOCS = Path(__file__).parents[2] / "docs"
RUN_ID = "0ebac243-bc39-4eba-8f7b-3be7e81b9bad"
SCHEMA = json.loads((DOCS / "reference/log-line.schema.json").read_text())


def started(**changes):
    return attrs.evolve(RunStarted(action="run", migration="m", database="app", dry_run=False), **changes)


def finished(**changes):
    end = RunFinished(
        action="run", migration="m", database="app", dry_run=False, run_id=RUN_ID, status="succeeded",
        failed=False, seconds=12.5, estimated_rows=100, changed_rows=90, quarantined_rows=2, chunks=3,
        rows_per_second=7.2,
    )  # fmt: skip
    return attrs.evolve(end, **changes)


FAILED = finished(
    status="rolled_back",
    failed=True,
    error="QuarantineExceeded",
    reason="2 rows were refused",
    hint="Mend them",
)


def chunk(**changes):
    done = ChunkDone(
        table="users", changed=45, skipped=0, quarantined=1, conflicts=2, seconds=0.3, next_size=99
    )
    return attrs.evolve(done, **changes)


def story(end=None):
    """A run as the engine tells it."""
    return [
        started(),
        RunStatus(run_id=RUN_ID, status="running"),
        StepStarted(step="execute"),
        TableStarted(table="users", rows=100),
        chunk(),
        chunk(changed=123_456_789, seconds=1.23456789),
        Waiting(reason="a lock", seconds=2.0),
        Warned(message="slow"),
        StepFinished(step="execute", seconds=4.0),
        Validated(
            database="app", scope="after", made=9, unmade=0, seconds=1.0,
            findings=(Finding("phone", "low", "public.users", 12_345_678),),
        ),
        end or finished(),
    ]  # fmt: skip


@pytest.fixture
def lines():
    """What a subscriber that logs as JSON writes for some events."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)

    def written(told, level="debug"):
        stream = io.StringIO()
        configure_logging(level, "json", stream)
        log = EventLog()
        for event in told:
            log(event)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    yield written
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_every_line_of_a_run_has_the_documented_shape_and_says_which_run_and_step(lines):
    told = lines(story(FAILED))
    assert len(told) == len(story())
    for line in told:
        jsonschema.validate(line, SCHEMA)
    by_event = {line["event"]: line for line in told}
    done = by_event["chunk_done"]
    assert (done["run_id"], done["migration"], done["step"], done["table"]) == (
        RUN_ID,
        "m",
        "execute",
        "users",
    )
    assert (done["changed"], done["seconds"]) == (123_456_789, 1.234568)  # a count, and not somebody's number
    assert by_event["validated"]["findings"][0]["rows"] == 12_345_678
    assert by_event["warned"]["detail"] == "slow"
    end = by_event["run_finished"]
    assert (end["level"], end["status"], end["error"], end["hint"]) == (
        "error", "rolled_back", "QuarantineExceeded", "Mend them"
    )  # fmt: skip
    assert [line["event"] for line in lines(story(), "warning")] == ["warned"]
    assert "run_id" not in lines([*story(), started()])[-1]
    jsonschema.validate(lines([started(), finished(run_id=None)])[-1], SCHEMA)


def test_the_schema_of_log_lines_knows_every_event_and_field():
    kinds = [kind for kind in vars(events_module).values() if isinstance(kind, type) and attrs.has(kind)]
    kinds = [kind for kind in kinds if kind not in {Finding, EventBus}]
    names = {event_name(kind) for kind in kinds} | {"command_failed"}
    assert set(SCHEMA["properties"]["event"]["enum"]) == names
    fields = {field.name for kind in kinds for field in attrs.fields(kind)} - {"message"}
    common = {"ts", "level", "logger", "message", "exception", "stack", "event", "detail", "exit_code"}
    assert set(SCHEMA["properties"]) == fields | common
    page = (DOCS / "reference/logs.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == names


def series(text):
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_file_for_each_migration_outlives_its_process(tmp_path):
    """Counters go on and the last success stays known; dry runs leave no trace."""
    for now, end in ((1000.0, finished()), (1500.0, FAILED)):
        files = Textfiles(tmp_path, lambda now=now: now)
        for event in [*story(end), started(dry_run=True), chunk(), finished(dry_run=True, failed=True)]:
            files(event)
    (path,) = tmp_path.iterdir()
    assert path.name == "datamig-app-m.prom"
    found = series(path.read_text())
    assert found["datamig_rows_total", "app", "m", "changed", "users"] == 2 * 123_456_834
    assert found["datamig_runs_total", "run", "app", "m", "succeeded"] == 1
    assert found["datamig_runs_total", "run", "app", "m", "rolled_back"] == 1
    assert found["datamig_last_success_timestamp_seconds", "run", "app", "m"] == 1000
    assert found["datamig_last_run_timestamp_seconds", "run", "app", "m"] == 1500
    assert found["datamig_last_run_failed", "run", "app", "m"] == 1
    assert found["datamig_run_active", "run", "app", "m"] == 0
    assert found["datamig_chunk_seconds_count", "app", "m"] == 4
    assert found["datamig_chunk_seconds_bucket", "app", "0.5", "m"] == 2
    assert found["datamig_validation_violations", "phone", "app", "low", "m", "public.users"] == 12_345_678
    exported = {family.name for family in text_string_to_metric_families(path.read_text())}
    assert exported == {metric.name.removesuffix("_total") for metric in METRICS}
    # What was mended is not exported any more, and a part says nothing of the rest.
    files = Textfiles(tmp_path)
    for scope, findings in (
        ("database", (Finding("phone", "low", "public.users", 3),)),
        ("part", ()),
    ):
        files(Validated(database="app", scope=scope, made=1, unmade=1, seconds=0.1, findings=findings))
    validated = tmp_path / "datamig-app-validate.prom"
    assert (
        series(validated.read_text())[
            "datamig_validation_violations", "phone", "app", "low", "validate", "public.users"
        ]
        == 3
    )
    files(Validated(database="app", scope="database", made=1, unmade=0, seconds=0.1, findings=()))
    assert "datamig_validation_violations" not in validated.read_text()
    # A damaged file is no reason to fail.
    path.write_text("datamig_rows_total{ 1")
    files(started())
    assert series(path.read_text())["datamig_run_active", "run", "app", "m"] == 1


def test_a_run_at_work_can_be_asked_over_http():
    server = MetricsServer("0")
    server.start()
    try:
        for event in story()[:6]:
            server(event)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=5) as answer:
            found = series(answer.read().decode())
    finally:
        server.close()
    assert found["datamig_run_active", "run", "app", "m"] == 1
    assert found["datamig_run_done_rows", "app", "m"] == 123_456_834
    assert [split_address(text) for text in ("9", ":9", "[::1]:9", "h:9")] == [
        ("127.0.0.1", 9), ("0.0.0.0", 9), ("::1", 9), ("h", 9)
    ]  # fmt: skip
    for wrong in ("", "h", "h:", "h:70000", "h:x"):
        with pytest.raises(SettingsError, match="metrics_address"):
            MetricsServer(wrong)


def test_spans_and_metrics_of_a_run_belong_to_the_callers_trace():
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing, metering = TracerProvider(), MeterProvider([reader])
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace, "get_tracer", tracing.get_tracer)
        patch.setattr(metrics, "get_meter", metering.get_meter)
        heard = OpenTelemetry({"TRACEPARENT": f"00-{'a' * 32}-{'b' * 16}-01"})
    for event in story(FAILED):
        heard(event)
    step, run = spans.get_finished_spans()
    assert (step.name, run.name) == ("execute", "run m")
    assert {span.context.trace_id for span in (step, run)} == {int("a" * 32, 16)}
    assert step.parent.span_id == run.context.span_id
    assert [note.name for note in step.events] == ["slow chunk", "waiting", "warning"]
    assert run.attributes["datamig.run_id"] == RUN_ID
    assert (run.attributes["error.type"], run.status.is_ok) == ("QuarantineExceeded", False)
    assert "refused" not in run.to_json()
    found = {
        metric.name: sum(
            getattr(point, "value", getattr(point, "count", 0)) for point in metric.data.data_points
        )
        for each in reader.get_metrics_data().resource_metrics
        for scope in each.scope_metrics
        for metric in scope.metrics
    }
    assert found == {
        "datamig.runs": 1,
        "datamig.rows": 123_456_834 + 2 + 4,
        "datamig.chunks": 2,
        "datamig.wait.duration": 2.0,
        "datamig.chunk.duration": 2,
        "datamig.validation.violations": 12_345_678,
    }


SENDING = """
from taaxdog_datamig.events import RunFinished, RunStarted, StepStarted
from taaxdog_datamig_cli.telemetry import telemetry
about = dict(action="run", migration="m", database="app", dry_run=False)
with telemetry() as heard:
    heard(RunStarted(**about))
    heard(RunFinished(**about, run_id=None, status="succeeded", failed=False, seconds=1.0))
"""


def test_the_command_line_sends_traces_and_metrics_where_the_standard_variables_say(receiver):
    """In a process of its own, which has one set of providers."""
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{receiver}/200", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", SENDING], env=os.environ | where, check=True, timeout=60)
    sent = {path.rpartition("/")[2]: body for path, body in Receiver.requests}
    assert b"run m" in sent["traces"]
    assert b"datamig.runs" in sent["metrics"]
    assert b"datamig" in sent["traces"].partition(b"service.name")[2][:20]


class Receiver(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path names, 200 by default."""

    requests: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        self.requests.append((self.path, body))
        last = self.path.rpartition("/")[2]
        status = int(last) if last.isdecimal() else 200
        if status == 1:
            time.sleep(1)
        self.send_response(status if status > 1 else 200)
        self.send_header("Location", "/200")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def receiver():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Receiver.requests.clear()
    yield f"http://127.0.0.1:{server.server_port}/secret/path"
    server.shutdown()
    thread.join()
    server.server_close()


def called(caplog, *told, **settings):
    """What the log says after the hooks heard of failures."""
    caplog.clear()
    caplog.set_level(logging.INFO)
    hooks = FailureHooks(**settings)
    for event in told or [FAILED]:
        hooks(event)
    hooks.close()
    assert "secret" not in caplog.text + repr(hooks)
    return [record.getMessage() for record in caplog.records if "monitoring" in record.name]


def test_a_failure_calls_and_a_call_that_fails_or_hangs_is_told_and_changes_nothing(
    receiver, caplog, tmp_path, monkeypatch
):
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", "secret")
    keep = tmp_path / "said"
    script = f"cat > {keep}; printenv >> {keep}"
    said = called(caplog, command=("sh", "-c", script), webhook=f"{receiver}/200")
    assert sorted(said) == ["failure_command was called", "failure_webhook was called"]
    ((_, body),) = Receiver.requests
    assert json.loads(body) == {
        "schema": "datamig/failure/1",
        "text": f"run of m on app: rolled_back, QuarantineExceeded (run {RUN_ID}). Mend them",
        "run_id": RUN_ID, "action": "run", "migration": "m", "database": "app", "status": "rolled_back",
        "error": "QuarantineExceeded", "hint": "Mend them", "seconds": 12.5,
    }  # fmt: skip
    assert keep.read_bytes().startswith(body)
    assert b"FIELD_ENCRYPTION_KEY" not in keep.read_bytes()
    # Neither success, nor what somebody asked for, nor a dry run.
    assert called(
        caplog, finished(), finished(status="paused", error="RunPaused"), attrs.evolve(FAILED, dry_run=True),
        command=("false",),
    ) == []  # fmt: skip
    assert called(caplog, webhook=f"{receiver}/500") == ["failure_webhook failed: status 500"]
    assert called(caplog, webhook=f"{receiver}/302") == ["failure_webhook failed: status 302"]
    assert len(Receiver.requests) == 3
    assert called(caplog, command=("false",)) == ["failure_command failed: exit code 1"]
    assert called(caplog, command=("/no/such",)) == ["failure_command failed: No such file or directory"]
    began = time.monotonic()
    assert called(caplog, command=("sh", "-c", "sleep 9 & wait"), timeout=0.2) == [
        "failure_command did not end within 0.2 seconds"
    ]
    assert called(caplog, webhook=f"{receiver}/1", timeout=0.2) == [
        "failure_webhook did not end within 0.2 seconds"
    ]
    assert time.monotonic() - began < 3


def test_a_webhook_is_https_or_on_this_host():
    for address in (
        "https://hooks.example/x",
        "http://localhost:1/x",
        "http://[::1]:1/",
        "http://127.0.0.9/",
    ):
        FailureHooks(webhook=address)
    for address in (
        "http://hooks.example/secret",
        "ftp://localhost/",
        "file:///etc/passwd",
        "https://",
        "secret",
    ):
        with pytest.raises(SettingsError, match="failure_webhook") as caught:
            FailureHooks(webhook=address)
        assert "secret" not in str(caught.value)


def test_a_monitor_that_breaks_is_told_once_and_left_out(caplog):
    heard = []

    def broken(event):
        heard.append(event)
        raise OSError(28, "No space left on device")

    hear = guarded(broken)
    hear(started())
    hear(finished())
    assert heard == [started()]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left" in caplog.text

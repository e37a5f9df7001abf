"""What watches a command: its log as JSON, its metrics, who is called when it fails."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import jsonschema
import pytest
from calling import KEY

from taaxdog_datamig_cli.main import main

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/reference/log-line.schema.json").read_text())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with monitors set up. The log of this process is afterwards as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", KEY)
    monkeypatch.setenv("LOG_LEVEL", "info")
    Path("datamig.toml").write_text(
        'metrics_dir = "metrics"\nmetrics_address = "127.0.0.1:0"\nfailure_command = ["tee", "called"]\n'
    )
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    yield tmp_path
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_a_run_that_succeeds_and_one_whose_database_does_not_answer(sample, folder, monkeypatch, capsys):
    def called(*words):
        code = main([*words, "--log-format", "json"])
        said = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        for line in said:
            if "event" in line:
                jsonschema.validate(line, SCHEMA)
        return code, [line for line in said if "event" in line]

    monkeypatch.setenv("DATABASE_URL", sample)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")  # and nothing for metrics: they go to nobody
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    code, lines = called("run", "encrypt-user-data", "--skip-backup", "--skip-validation")
    assert code == 0
    end = lines[-1]
    assert (end["event"], end["status"]) == ("run_finished", "succeeded")
    assert {line.get("run_id") for line in lines if line["event"] == "table_started"} == {end["run_id"]}
    (path,) = Path("metrics").iterdir()
    assert f" {float(end['changed_rows'])}\n" in path.read_text()
    assert not Path("called").exists()
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:hunter2@127.0.0.1:1/app")
    code, lines = called("run", "encrypt-user-data")
    assert code == 1
    assert [line["event"] for line in lines] == ["run_started", "run_finished", "command_failed"]
    assert "hunter2" not in json.dumps(lines)
    told = json.loads(Path("called").read_text())
    assert (told["database"], told["status"], told["error"]) == ("app", "failed", "DatabaseUnavailable")
    failed = Path("metrics/datamig-app-encrypt-user-data.prom").read_text()
    assert 'datamig_last_run_failed{action="run",database="app",migration="encrypt-user-data"} 1.0' in failed
    # What cannot be set up is refused before anything is tried.
    monkeypatch.setenv("FAILURE_WEBHOOK", "http://hooks.example/hunter2")
    code, lines = called("run", "encrypt-user-data")
    assert (code, lines[-1]["error"]) == (2, "SettingsError")
    assert "hunter2" not in json.dumps(lines)
    monkeypatch.delenv("FAILURE_WEBHOOK")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    code, lines = called("run", "encrypt-user-data")
    assert (code, lines[-1]["hint"]) == (2, "pip install 'taaxdog-datamig[prometheus]'")

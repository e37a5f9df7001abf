"""`encrypt-user-data` from the command line, on a small sample database."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from calling import KEY, SAMPLE_USERS, Datamig, environment

from taaxdog_datamig_cli.main import main

NAME = "encrypt-user-data"


async def rows(dsn: str, query: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query)
    finally:
        await connection.close()


async def checksum(dsn: str) -> list[asyncpg.Record]:
    return await rows(
        dsn,
        "SELECT (SELECT md5(string_agg(u::text, '|' ORDER BY id)) FROM users u),"
        " (SELECT md5(string_agg(b::text, '|' ORDER BY id)) FROM bank_accounts b)",
    )


async def sealed(dsn: str) -> int:
    [[number]] = await rows(dsn, "SELECT count(*) FROM users WHERE tfn LIKE 'encrypted:v1:%'")
    return int(number)


async def test_plan_run_and_rollback(migrating: Datamig, sample: str) -> None:
    """The main job, and undo: the tables are afterwards what they were before."""
    before = await checksum(sample)
    plan = migrating("plan", NAME)
    assert plan.returncode == 0
    assert "pending rows" in plan.stdout
    dry = migrating("run", NAME, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "nothing was changed" in dry.stdout
    assert await checksum(sample) == before
    live = migrating("run", NAME)
    assert live.returncode == 0, live.stderr
    assert f"{NAME} 1.0.0: done" in live.stdout
    assert await sealed(sample) > 0
    again = migrating("run", NAME)
    assert again.returncode == 0
    assert "already run" in again.stdout
    history = migrating("history")
    assert re.search(rf"{NAME} +1.0.0 +succeeded", history.stdout)
    undone = migrating("rollback", NAME)
    assert undone.returncode == 0, undone.stderr
    assert await checksum(sample) == before


async def test_the_guides_spelling_works_as_it_stands(migrating: Datamig, sample: str) -> None:
    words = ("run", f"--type={NAME}", "--batch-size=50", "--skip-backup", "--skip-validation", "--json")
    answer = migrating(*words)
    assert answer.returncode == 0, answer.stdout
    report = json.loads(answer.stdout)
    assert report["schema"] == "datamig/run-report/1"
    assert report["migration"] == NAME
    assert report["status"] == "succeeded"
    assert report["changed_rows"] == report["estimated_rows"] > 0
    assert migrating("run", f"--type={NAME}", "--force").returncode == 0


def test_every_json_document_names_its_shape(
    sample: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In this process, since many commands are called."""
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    monkeypatch.setenv("DATABASE_URL", sample)
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", KEY)

    def called(*words: str) -> dict[str, Any]:
        code = main([*words, "--json"])
        out = capsys.readouterr().out
        assert code == 0, (words, out)
        return json.loads(out)

    run = called("run", NAME)
    for words, schema in {
        ("list",): "datamig/migrations/1",
        ("plan", NAME): "datamig/plan/1",
        ("run", NAME): "datamig/run-report/1",
        ("status",): "datamig/status/1",
        ("status", run["run_id"]): "datamig/status/1",
        ("history",): "datamig/history/1",
        ("quarantine", "list", run["run_id"]): "datamig/quarantine/1",
        ("quarantine", "retry", run["run_id"]): "datamig/quarantine-retry/1",
        ("rollback", NAME, "--dry-run"): "datamig/rollback-report/1",
        ("doctor",): "datamig/doctor/1",
    }.items():
        assert called(*words)["schema"] == schema


async def test_a_pinned_plan_is_kept_to(migrating: Datamig, sample: str, tmp_path: Path) -> None:
    assert migrating("plan", NAME, "--out", "plan.json").returncode == 0
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "drifted.json").write_text(json.dumps(plan | {"fingerprint": "another"}))
    refused = migrating("run", NAME, "--plan", "drifted.json")
    assert refused.returncode == 4
    assert await sealed(sample) == 0
    assert migrating("run", NAME, "--plan", "plan.json").returncode == 0


async def test_an_unknown_migration_is_answered_with_the_nearest(migrating: Datamig) -> None:
    answer = migrating("run", "encrypt-users-data")
    assert answer.returncode == 2
    assert "Did you mean encrypt-user-data" in answer.stderr


async def test_without_a_key_nothing_is_changed(datamig: Datamig, sample: str) -> None:
    answer = datamig("run", NAME, DATABASE_URL=sample)
    assert answer.returncode == 4
    assert "FIELD_ENCRYPTION_KEY" in answer.stderr
    assert await sealed(sample) == 0


async def test_an_executor_that_is_not_there_is_refused(migrating: Datamig) -> None:
    answer = migrating("run", NAME, "--executor", "dask://127.0.0.1:9")
    assert answer.returncode == 2
    assert "dask" in answer.stderr


async def test_a_refused_row_is_named_and_makes_exit_code_5(migrating: Datamig, sample: str) -> None:
    [[key]] = await rows(
        sample,
        "UPDATE users SET tfn = 'encrypted:not a token'"
        " WHERE id = (SELECT min(id) FROM users WHERE tfn <> '') RETURNING id",
    )
    failed = migrating("run", NAME)
    assert failed.returncode == 1
    assert await sealed(sample) == 0
    answer = migrating("run", NAME, "--max-quarantine", "1")
    assert answer.returncode == 5, answer.stderr
    assert re.search("rows quarantined +1\n", answer.stdout)
    listed = migrating("quarantine", "list", NAME)
    assert key in listed.stdout
    assert "not a token" not in listed.stdout + answer.stdout + answer.stderr


async def test_a_row_changed_since_is_left_alone_and_makes_exit_code_5(
    migrating: Datamig, sample: str
) -> None:
    assert migrating("run", NAME).returncode == 0
    [[key]] = await rows(
        sample,
        "UPDATE users SET tfn = NULL"
        " WHERE id = (SELECT min(id) FROM users WHERE tfn LIKE 'encrypted:%') RETURNING id",
    )
    answer = migrating("rollback", NAME, "--json")
    assert answer.returncode == 5
    report = json.loads(answer.stdout)
    assert report["conflicts"] == 1
    assert key in str(report["conflict_keys"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_run_is_paused_and_can_be_resumed(
    migrating: Datamig, sample: str, tmp_path: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(  # noqa: ASYNC220  nothing else runs in this loop
        [sys.executable, "-m", "taaxdog_datamig", "run", NAME, "--batch-size", "1"],
        cwd=tmp_path,
        env=environment(DATABASE_URL=sample, FIELD_ENCRYPTION_KEY=KEY),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while not await sealed(sample):
        assert time.monotonic() < deadline
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert f"datamig resume {NAME}" in said
    assert "Traceback" not in said
    status = json.loads(migrating("status", NAME, "--json").stdout)
    assert [run["status"] for run in status["runs"]] == ["paused"]
    done = migrating("resume", NAME)
    assert done.returncode == 0, done.stderr
    [[left]] = await rows(
        sample, "SELECT count(*) FROM users WHERE tfn <> '' AND tfn NOT LIKE 'encrypted:v1:%'"
    )
    assert left == 0


async def test_no_tfn_is_ever_said(migrating: Datamig, sample: str) -> None:
    values = [row[0] for row in await rows(sample, "SELECT tfn FROM users WHERE tfn ~ '^[0-9]{8,9}$'")]
    assert len(values) > SAMPLE_USERS // 2
    said = ""
    for words in (("plan", NAME), ("run", NAME, "--verbose"), ("history",), ("rollback", NAME, "--verbose")):
        answer = migrating(*words)
        said += answer.stdout + answer.stderr
    assert not [place for place, value in enumerate(values) if value in said]


async def test_sample_load_fills_an_empty_database(datamig: Datamig, database: str) -> None:
    answer = datamig("sample", "load", "--users", "50", "--no-faults", "--json", DATABASE_URL=database)
    assert answer.returncode == 0, answer.stdout
    document = json.loads(answer.stdout)
    assert document["schema"] == "datamig/sample/1"
    assert document["rows"]["users"] == 50
    assert not any(document["faults"].values())
    again = datamig("sample", "load", "--users", "50", DATABASE_URL=database)
    assert again.returncode == 2

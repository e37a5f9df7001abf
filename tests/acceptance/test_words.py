"""What the command line does without a database: help, words that are wrong, keys, errors."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from calling import Datamig, environment, process_in


@pytest.fixture
def datamig(tmp_path: Path) -> Datamig:
    """As in a shell: nothing is imported beforehand."""
    return process_in(tmp_path)


def test_help_lists_commands_and_shows_examples(datamig: Datamig) -> None:
    for words in ((), ("--help",)):
        shown = datamig(*words)
        assert shown.returncode == 0
        assert shown.stderr == ""
        for command in ("demo", "plan", "run", "rollback", "history"):
            assert re.search(rf"^  {command}: ", shown.stdout, re.MULTILINE)
        assert "datamig run encrypt-user-data --dry-run" in shown.stdout


def test_help_in_a_pipe_is_plain_text(datamig: Datamig) -> None:
    shown = datamig("run", "--help").stdout
    assert "\x1b" not in shown
    assert not re.search("[╭│╰]", shown)
    assert "--max-quarantine" in shown
    assert "--database" in shown  # common options belong to every command


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """What keeps `--help` under 0.3 seconds; times alone would depend on the machine."""
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "taaxdog_datamig", "--help"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    imported = {line.rpartition("|")[2].strip() for line in report.splitlines()}
    heavy = {
        "asyncio",
        "asyncpg",
        "anyio",
        "bcrypt",
        "cryptography",
        "orjson",
        "phonenumbers",
        "prompt_toolkit",
        "questionary",
        "rich.progress",
        "taaxdog_datamig.engine.runner",
        "zstandard",
    }
    assert imported >= {"cyclopts", "taaxdog_datamig_cli.main"}
    assert not imported & heavy


def test_version(datamig: Datamig) -> None:
    shown = datamig("--version")
    assert shown.returncode == 0
    assert re.match(r"\d", shown.stdout)


def test_wrong_words_get_one_sentence_and_exit_code_2(datamig: Datamig) -> None:
    """More of them in tests/unit/test_cli_words.py."""
    answer = datamig("run", "x", "--batch-size", "0")
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr == (
        'error: Invalid value "0" for --batch-size. Must be >= 1\n  `datamig run --help` shows how\n'
    )


def test_a_server_that_is_not_there_is_named_without_its_password(datamig: Datamig) -> None:
    answer = datamig("list", DATABASE_URL="postgresql://somebody:hush@127.0.0.1:9/nowhere")
    assert answer.returncode == 1
    assert "127.0.0.1" in answer.stderr
    assert "hush" not in answer.stderr
    assert "Traceback" not in answer.stderr


def test_verbose_adds_the_traceback_without_the_password(datamig: Datamig) -> None:
    url = "postgresql://somebody:hush@127.0.0.1:9/nowhere"
    answer = datamig("list", "--verbose", DATABASE_URL=url)
    assert "Traceback" in answer.stderr
    assert "hush" not in answer.stderr


@pytest.mark.parametrize("words", [("list", "--json"), ("--json", "list")])
def test_an_error_is_one_json_document(datamig: Datamig, words: tuple[str, ...]) -> None:
    """Common options stand before or after the command."""
    answer = datamig(*words)
    document = json.loads(answer.stdout)
    assert document["schema"] == "datamig/error/1"
    assert document["error"]["type"] == "SettingsError"
    assert "no database" in document["error"]["what"]
    assert "DATABASE_URL" in document["error"]["todo"]
    assert document["exit_code"] == answer.returncode == 2


def test_wrong_words_are_a_json_document_too(datamig: Datamig) -> None:
    document = json.loads(datamig("run", "x", "--batch-size", "0", "--json").stdout)
    assert document["error"]["type"] == "UsageError"
    assert document["exit_code"] == 2


def test_a_generated_key_is_all_that_stdout_gets(datamig: Datamig) -> None:
    first, second = datamig("keys", "generate").stdout, datamig("keys", "generate").stdout
    assert re.fullmatch(r"[0-9a-f]{64}\n", first)
    assert first != second
    document = json.loads(datamig("keys", "generate", "--json").stdout)
    assert document["schema"] == "datamig/key/1"
    assert re.fullmatch(r"[0-9a-f]{64}", document["key"])


def test_a_key_file_is_its_owners_alone_and_never_overwritten(datamig: Datamig, tmp_path: Path) -> None:
    answer = datamig("keys", "generate", "--out", "new.key")
    path = tmp_path / "new.key"
    key = path.read_text()
    assert answer.returncode == 0
    assert re.fullmatch(r"[0-9a-f]{64}\n", key)
    assert key.strip() not in answer.stdout + answer.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = datamig("keys", "generate", "--out", "new.key")
    assert again.returncode == 2
    assert path.read_text() == key


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "taaxdog_datamig", "--help"],
        cwd=tmp_path,
        env=environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert ended.stderr == ""
    assert ended.returncode == 0

"""Every way out of a command says what is wrong, which it is and what to do: no traceback, nothing secret."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from calling import KEY, Datamig, environment

SECRET = "s3cret-pa55word"
MIGRATION = """
from taaxdog_datamig import ColumnMigration, Migration
class Mine(ColumnMigration):
    name, version, description, table, columns = "mine", "1", "d", "users", ("email",)
    pending = "{pending}"
    {body}
"""
TRANSFORM = "def transform(self, row): return {}"
IMPERATIVE = """
from taaxdog_datamig import Migration
class Mine(Migration):
    name, version, description = "mine", "1", "d"
    def estimate_affected_records(self): return 1
    async def up(self): pass
"""


def told(answer: subprocess.CompletedProcess[str], code: int, pattern: str) -> str:
    """What was said on stderr, after the rules for all errors were looked at."""
    assert answer.returncode == code, answer.stderr
    assert re.search(pattern, answer.stderr, re.DOTALL), answer.stderr
    assert "error: " in answer.stderr
    for never in ("Traceback", "unexpected", SECRET, KEY):
        assert never not in answer.stdout + answer.stderr
    return answer.stderr


@pytest.mark.parametrize(
    ("url", "pattern"),
    [
        (f"mysql://u:{SECRET}@h/x", "does not parse: it begins with mysql://.*postgresql://user@host"),
        (f"{SECRET} h x", "does not parse: it has no ://"),
        (f"postgresql://u:{SECRET}@h:abc/x", "does not parse: its port is no number"),
        (f"postgresql://u:{SECRET}@h/x?sslmode=sure", "its sslmode is none of disable, allow"),
        (f"postgresql://u:{SECRET}@127.0.0.1:1/x", r"cannot reach .*127\.0\.0\.1:1/x \(connection refused"),
        (f"postgresql://u:{SECRET}@/x?host=/nowhere", r"cannot reach .*/nowhere:5432/x \(no socket there"),
        ("embeded:./x", "no URL, and no embedded server.*Did you mean embedded"),
    ],
)
def test_a_url_that_leads_nowhere(datamig: Datamig, url: str, pattern: str) -> None:
    told(datamig("list", DATABASE_URL=url), 1 if "cannot reach" in pattern else 2, pattern)


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (("run", "x", "--batch-size=1.5"), '"1.5" is no whole number'),
        (("run", "x", "--batch-size=1e9"), '"1e9" is no whole number'),
        (("run", "x", "--workers=many"), '"many" is no whole number and not auto'),
        (("history", "--limit=99999999999"), "--limit: It is more than 1,000,000,000"),
        (("plan", "x", "--out=gone/plan.json"), "there is no folder gone"),
        (("keys", "generate", "--out=gone/key"), "cannot write gone/key"),
    ],
)
def test_words_that_mean_nothing(datamig: Datamig, words: tuple[str, ...], pattern: str) -> None:
    told(datamig(*words), 2, pattern)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        (b'backup_dri = "x"', "unknown setting 'backup_dri'.*Did you mean backup_dir"),
        (b'backup_dir = "\xff"', r"datamig\.toml is not UTF-8, at byte 14"),
        (None, r"cannot read datamig\.toml: Is a directory"),
    ],
)
def test_a_settings_file_with_rubbish(
    datamig: Datamig, tmp_path: Path, text: bytes | None, pattern: str
) -> None:
    path = tmp_path / "datamig.toml"
    path.mkdir() if text is None else path.write_bytes(text)
    told(datamig("list"), 2, pattern)


def test_a_key_that_is_none_or_a_folder_of_keys(migrating: Datamig, tmp_path: Path) -> None:
    run = ("plan", "encrypt-user-data")
    told(migrating(*run, FIELD_ENCRYPTION_KEY="z" * 64), 2, "64 characters, not all of them hex digits")
    told(migrating(*run, FIELD_ENCRYPTION_KEY="", FIELD_ENCRYPTION_KEY_FILE=str(tmp_path)), 2, "is a folder")
    told(migrating("keys", "verify", FIELD_ENCRYPTION_KEY=""), 4, "no key is configured.*keys list")


@pytest.mark.parametrize(
    ("source", "code", "pattern"),
    [
        ("def f(:", 2, r"cannot import migrations from mine: SyntaxError at mine\.py:1"),
        (f'raise ValueError("{SECRET}")', 2, r"ValueError at mine\.py:1"),
        ("x = 1", 2, "there is no migration in mine.*new-migration"),
        (MIGRATION.format(pending="true", body="x = 1"), 2, r"mine\.Mine lacks transform\(\)"),
        (MIGRATION.format(pending="true", body=TRANSFORM.format(5)), 1, "transform returned int.*Changes"),
        (MIGRATION.format(pending="x AND", body=TRANSFORM.format(5)), 1, "42601.*such as `pending`"),
        (IMPERATIVE, 1, r"estimate_affected_records\(\) of mine is no coroutine.*async def"),
    ],
)
def test_a_migration_that_is_none(
    migrating: Datamig, tmp_path: Path, source: str, code: int, pattern: str
) -> None:
    (tmp_path / "mine.py").write_text(source, "utf-8")
    (tmp_path / "datamig.toml").write_text('migrations = ["mine"]', "utf-8")
    told(migrating("run", "mine", "--skip-backup", "--skip-validation"), code, pattern)


def test_what_a_server_refuses_and_what_is_not_there(migrating: Datamig, sample: str, tmp_path: Path) -> None:
    done = migrating("run", "normalize-phones", "--skip-validation")
    assert done.returncode == 0, done.stderr
    (backup,) = (tmp_path / "backups").iterdir()
    told(migrating("rollback", "normalise-phones"), 2, "no run 'normalise-phones'.*mean normalize-phones")
    told(migrating("backup", "create", "--tables=users", "--exclude=users"), 2, "nothing is left to back up")
    read_only = f"{sample}{'&' if '?' in sample else '?'}options=-c%20default_transaction_read_only%3Don"
    for words in (("restore", "latest", "--yes"), ("runs", "purge", "--older-than=0d", "--apply")):
        told(migrating(*words, DATABASE_URL=read_only), 1, "the server is read-only.*Connect to the primary")
    parameter = f"{sample}{'&' if '?' in sample else '?'}nonsense=1"
    told(migrating("list", DATABASE_URL=parameter), 2, r"refuses a parameter of the database URL \(42704\)")
    renamed = backup.rename(backup.with_name("20200101T000000Z-aaaaaaaa"))
    told(migrating("restore", renamed.name, "--yes"), 1, "holds the backup .*Give it its name back")


def test_what_to_do_next_is_said_with_the_database_and_the_settings_of_this_call(
    datamig: Datamig, sample: str, tmp_path: Path
) -> None:
    (tmp_path / "my.toml").write_text("", "utf-8")
    with_password = re.sub("//([^:@/]+)@", rf"//\1:{SECRET}@", sample)
    assert SECRET in with_password
    database = ("--database", with_password, "--config", "my.toml", "--skip-backup", "--skip-validation")
    assert datamig("run", "normalize-phones", *database[:-1], FIELD_ENCRYPTION_KEY=KEY).returncode == 0
    said = told(datamig("status", "nothing", *database[:4]), 2, "`datamig history --database '?postgresql://")
    assert "--config my.toml` lists the runs" in said


@pytest.mark.parametrize("words", [("validate", "--list", "--json"), ("--help",)])
def test_an_answer_that_a_full_disk_does_not_take(tmp_path: Path, words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "taaxdog_datamig", *words],
            cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert answer.returncode == 1
    assert "No space left on device" in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("<&- >&- 2>&-", 2)])
def test_standard_streams_that_are_closed(tmp_path: Path, closed: str, code: int) -> None:
    words = "validate --list" if code == 0 else "lst"
    answer = subprocess.run(
        ["sh", "-c", f'"$0" -m taaxdog_datamig {words} {closed}', sys.executable],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (answer.returncode, answer.stderr) == (code, "")


@pytest.mark.parametrize("seconds", [0.1, 0.2])
def test_ctrl_c_before_anything_has_begun(tmp_path: Path, seconds: float) -> None:
    """While Python imports, a word and the exit code of an interruption."""
    started = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "taaxdog_datamig", "run", "encrypt-user-data"],
        cwd=tmp_path, env=environment(DATABASE_URL="postgresql://u@127.0.0.1:1/x"),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr is not None
    for line in started.stderr:  # the door is open: whatever is imported from here on may be cut off
        if "cyclopts" in line:
            break
    time.sleep(seconds)
    started.send_signal(signal.SIGINT)
    said = started.stderr.read()
    started.stderr.close()
    assert started.wait(30) in {130, 1}, said  # 1: it was through, and met no server
    assert "Traceback" not in said

"""`backup` and `restore` from the command line, as a script calls them."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from calling import KEY, Datamig, environment

from tests.sample import script, state
from tests.terminal import CTRL_C, ENTER, Terminal

BROKEN = """
UPDATE users SET name = 'Changed' WHERE id IN (SELECT id FROM users ORDER BY id LIMIT 5);
DELETE FROM sessions WHERE id IN
    (SELECT s.id FROM sessions AS s JOIN users AS u ON u.id = s."userId" ORDER BY s.id LIMIT 20);
DELETE FROM bank_connections WHERE id IN (SELECT id FROM bank_connections ORDER BY id LIMIT 2);
"""
NEWER = """INSERT INTO sessions (id, "sessionToken", "userId", expires)
    SELECT 's', 't', min(id), '2099-01-01' FROM users"""


def document(datamig: Datamig, *words: str, code: int = 0, **env: str) -> dict:
    done = datamig(*words, "--json", **env)
    assert done.returncode == code, done.stderr + done.stdout
    return dict(json.loads(done.stdout))


def by_table(report: dict) -> dict[str, tuple[int, ...]]:
    """What changed: table to rows inserted, updated, deleted, kept."""
    found = {
        table["table"].removeprefix("public."): tuple(
            table[verb] for verb in ("inserted", "updated", "deleted", "kept")
        )
        for table in report["tables"]
    }
    return {table: rows for table, rows in found.items() if any(rows)}


async def test_rows_that_were_broken_come_back_and_the_dry_run_says_which(
    migrating: Datamig, sample: str
) -> None:
    before = await state(sample)
    made = document(migrating, "backup", "create", "--name", "before")
    await script(sample, BROKEN)
    broken = await state(sample)
    dry = document(migrating, "restore", "before", "--dry-run")
    assert await state(sample) == broken
    assert (dry["schema"], dry["backup_id"], dry["mode"]) == ("datamig/restore/1", made["id"], "converge")
    found = by_table(dry)
    assert (found["users"], found["sessions"]) == ((0, 5, 0, 0), (20, 0, 0, 0))
    assert found["bank_transactions"][0] > 0
    report = document(migrating, "restore", "before")
    assert by_table(report) == found
    assert await state(sample) == before
    page = migrating("restore", "latest", "--yes")
    assert page.returncode == 0, page.stderr
    assert "tables that are as the backup has them" in page.stdout


async def test_a_person_sees_the_counts_and_is_asked(migrating: Datamig, sample: str, tmp_path: Path) -> None:
    before = await state(sample)
    assert migrating("backup", "create").returncode == 0
    await script(sample, BROKEN)
    broken = await state(sample)
    command = [sys.executable, "-m", "taaxdog_datamig", "restore", "latest"]
    env = environment(DATABASE_URL=sample, FIELD_ENCRYPTION_KEY=KEY, TERM="xterm")
    for keys, code, after in ((CTRL_C, 130, broken), ("y" + ENTER, 0, before)):
        with Terminal(command, folder=tmp_path, env=env, lines=40) as terminal:
            terminal.wait_for(r"Restore it\? \[y/N\]\s*\Z", "public.sessions")
            assert await state(sample) == broken
            terminal.press(keys)
            assert terminal.leave() == code, terminal.told
        assert ("nothing was changed" in terminal.told) == (code != 0)
        assert await state(sample) == after


async def test_tables_by_their_logical_names_and_exact(migrating: Datamig, sample: str) -> None:
    before = await state(sample)
    assert migrating("backup", "create").returncode == 0
    await script(sample, BROKEN)
    await script(sample, NEWER)
    report = document(migrating, "restore", "latest", "--tables=transactions", code=4)
    assert "bank_transactions_bank_account_id_fkey" in report["error"]["what"]
    one = document(migrating, "restore", "latest", "--tables=bank_connections,bank_accounts,transactions")
    assert {"bank_connections", "bank_accounts", "bank_transactions"} <= {
        table["table"].removeprefix("public.") for table in one["tables"]
    }
    assert by_table(document(migrating, "restore", "latest"))["sessions"] == (20, 0, 0, 1)
    assert by_table(document(migrating, "restore", "latest", "--exact"))["sessions"] == (0, 0, 1, 0)
    assert await state(sample) == before


async def test_an_empty_database_gets_everything(migrating: Datamig, sample: str, database: str) -> None:
    assert migrating("backup", "create").returncode == 0
    dry = document(migrating, "restore", "latest", "--dry-run", DATABASE_URL=database)
    assert (dry["mode"], set(await state(database))) == ("empty", {"catalog"})
    report = document(migrating, "restore", "latest", DATABASE_URL=database)
    assert by_table(report) == by_table(dry)
    assert await state(database) == await state(sample)


async def test_exit_codes_of_what_goes_wrong(migrating: Datamig, datamig: Datamig, tmp_path: Path) -> None:
    made = document(migrating, "backup", "create")
    assert datamig("restore", "latest").returncode == 2  # no database is named
    assert migrating("restore", "nothing").returncode == 2
    assert migrating("restore", "latest", "--tables", "nobody").returncode == 2
    assert migrating("restore", "latest", "--tables", ",").returncode == 2
    assert migrating("restore", "latest", "--cascade").returncode == 2
    assert migrating("restore", "latest", FIELD_ENCRYPTION_KEY="").returncode == 4
    part = max((tmp_path / "backups" / made["id"] / "data").iterdir(), key=lambda path: path.stat().st_size)
    part.write_bytes(part.read_bytes()[:-1])
    done = migrating("restore", "latest")
    assert done.returncode == 1
    assert part.name in done.stderr


async def test_verify_restores_where_it_is_told_to(migrating: Datamig, server_dsn: str) -> None:
    assert migrating("backup", "create").returncode == 0
    shown = document(migrating, "backup", "verify", "latest", "--restore", "--database", server_dsn)
    assert (shown["verified"]["proof"], shown["verified"]["definitions"]) == ("restore", True)
    assert "restored and compared" in migrating("backup", "list").stdout


@pytest.mark.parametrize("failpoint", ["after-begin-run", "after-backup", "after-update"])
async def test_a_run_that_is_killed_makes_one_backup(
    failpoint: str, migrating: Datamig, tmp_path: Path
) -> None:
    killed = migrating("run", "cleanup-audit-logs", DATAMIG_FAILPOINT=failpoint)
    assert killed.returncode == -signal.SIGKILL
    report = document(migrating, "run", "cleanup-audit-logs")
    assert report["resumed"]
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [report["backup_id"]]


async def test_a_run_that_began_without_a_backup_makes_none_once_it_has_changed_something(
    migrating: Datamig, tmp_path: Path
) -> None:
    words = ("run", "cleanup-audit-logs", "--batch-size=10")
    killed = migrating(*words, "--skip-backup", DATAMIG_FAILPOINT="after-commit")
    assert killed.returncode == -signal.SIGKILL
    done = migrating(*words, "--json")
    report = json.loads(done.stdout)
    assert (report["resumed"], report["backup_id"]) == (True, None)
    assert "without a backup" in done.stderr
    assert not (tmp_path / "backups").exists()

"""`archive list`, `show` and `restore` from the command line, after a cleanup that was killed on its way."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import asyncpg
import pytest
from calling import Datamig

NAME = "cleanup-audit-logs"
OLD = 50
ALL_LOGS = "SELECT count(*), md5(string_agg(a::text, '|' ORDER BY id)) FROM audit_logs AS a"


async def row(dsn: str, query: str) -> asyncpg.Record:
    connection = await asyncpg.connect(dsn)
    try:
        found = await connection.fetchrow(query)
        assert found is not None
        return found
    finally:
        await connection.close()


def document(datamig: Datamig, *words: str, code: int = 0, **env: str) -> dict[str, object]:
    done = datamig("archive", *words, "--json", **env)
    assert done.returncode == code, done.stderr + done.stdout
    return dict(json.loads(done.stdout))


async def test_list_show_and_restore(
    migrating: Datamig, datamig: Datamig, sample: str, tmp_path: Path
) -> None:
    """There and back; neither list nor show needs a database, and no row is ever shown."""
    before = await row(sample, ALL_LOGS)
    [agent] = await row(sample, 'SELECT "userAgent" FROM audit_logs LIMIT 1')
    assert datamig("archive", "list").stdout == "No archive in archives.\n"
    assert migrating("run", NAME).returncode == 0
    assert (await row(sample, ALL_LOGS))[0] == before[0] - OLD
    listed = datamig("archive", "list")
    assert listed.returncode == 0, listed.stderr
    assert "complete" in listed.stdout
    [found] = document(datamig, "list")["archives"]  # type: ignore[misc]
    ref = found["id"][:8]
    assert (found["rows"], found["state"]) == (OLD, "complete")
    assert (tmp_path / "archives" / found["id"] / "manifest.json").is_file()
    without_key = document(datamig, "show", ref)
    assert (without_key["verified"], without_key["signed"]) == ("checksums", False)
    shown = migrating("archive", "show", ref)
    assert "every part opened" in shown.stdout
    assert "audit_logs" in shown.stdout
    assert agent not in shown.stdout
    dry = document(migrating, "restore", ref, "--dry-run")
    assert (dry["inserted_rows"], dry["dry_run"]) == (OLD, True)
    assert (await row(sample, ALL_LOGS))[0] == before[0] - OLD
    restored = migrating("archive", "restore", ref, "--tables=audit_logs")
    assert restored.returncode == 0, restored.stderr
    assert await row(sample, ALL_LOGS) == before
    again = document(migrating, "restore", ref, "--yes")
    assert (again["inserted_rows"], again["present_rows"]) == (0, OLD)


async def test_refused_rows_are_an_exit_code_of_their_own(migrating: Datamig, sample: str) -> None:
    assert migrating("run", NAME).returncode == 0
    connection = await asyncpg.connect(sample)
    await connection.execute("ALTER TABLE audit_logs ADD CONSTRAINT only_new CHECK (id = 'none') NOT VALID")
    await connection.close()
    [found] = document(migrating, "list")["archives"]  # type: ignore[misc]
    report = document(migrating, "restore", found["id"], code=5)
    assert report["refused_rows"] == OLD
    refused = report["refused"]
    assert isinstance(refused, list)
    assert refused[0]["code"] == "refused-23514"
    assert "only_new" in refused[0]["reason"]


async def test_exit_codes_of_what_goes_wrong(migrating: Datamig, datamig: Datamig, tmp_path: Path) -> None:
    assert migrating("run", NAME).returncode == 0
    [found] = document(datamig, "list")["archives"]  # type: ignore[misc]
    assert datamig("archive", "show", "ffff").returncode == 2
    assert datamig("archive", "restore", found["id"]).returncode == 2  # no database is named
    assert migrating("archive", "restore", found["id"], "--tables", "nobody").returncode == 2
    assert migrating("archive", "restore", found["id"], "--tables", ",").returncode == 2
    assert migrating("archive", "restore", found["id"], FIELD_ENCRYPTION_KEY="").returncode == 4
    part = next((tmp_path / "archives" / found["id"]).glob("*.sealed"))
    part.write_bytes(part.read_bytes()[:-1])
    for words in (("show",), ("restore",)):
        done = migrating("archive", *words, found["id"])
        assert done.returncode == 1
        assert part.name in done.stdout + done.stderr
    assert "damaged" in datamig("archive", "list").stdout


@pytest.mark.parametrize("failpoint", ["after-part", "after-part:3", "after-archive"])
async def test_a_run_killed_beside_its_archive(
    failpoint: str, migrating: Datamig, sample: str, tmp_path: Path
) -> None:
    """The part of a chunk that was never committed belongs to no archive, and no row is lost or doubled."""
    before = await row(sample, ALL_LOGS)
    killed = migrating("run", NAME, "--batch-size=10", DATAMIG_FAILPOINT=failpoint)
    assert killed.returncode == -signal.SIGKILL
    [folder] = (tmp_path / "archives").iterdir()
    names = {path.name for path in folder.iterdir()}
    [committed] = await row(sample, "SELECT coalesce(array_agg(name), '{}') FROM datamig.archive_parts")
    orphans = {name for name in names - {"manifest.json"} if name not in committed}
    assert len(orphans) == (failpoint != "after-archive")
    [found] = document(migrating, "list")["archives"]  # type: ignore[misc]
    assert found["state"] == ("complete" if failpoint == "after-archive" else "incomplete")
    refused = migrating("archive", "restore", folder.name)
    assert refused.returncode == 4, refused.stderr
    assert "resume" in refused.stderr
    report = json.loads(migrating("run", NAME, "--batch-size=10", "--json").stdout)
    assert (report["resumed"], report["deleted_rows"]) == (True, {"audit_logs": OLD})
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    parts = {part["name"] for part in manifest["parts"]}
    assert {path.name for path in folder.iterdir()} == parts | {"manifest.json"}
    assert not parts & orphans
    assert manifest["tables"]["audit_logs"]["rows"] == OLD
    assert document(migrating, "restore", folder.name)["inserted_rows"] == OLD
    assert await row(sample, ALL_LOGS) == before

"""Archives that cannot be written, or are not as they were written: one clear error, and no row touched."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import uuid
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from taaxdog_datamig import ArchiveManager, Purge, PurgeMigration, RunOptions, Settings
from taaxdog_datamig.archive import Archive, writer
from taaxdog_datamig.archive.reader import Found
from taaxdog_datamig.crypto import BlobSealer, Keyring
from taaxdog_datamig.crypto.document import unkeyed
from taaxdog_datamig.errors import ArchiveError, DatamigError, KeyMissing, KeyWrong, PreflightFailed
from tests.sample import KEY, engine, has_ledger, rows, script, state, told

SECRET = "Secret Street 5"
OTHER_KEY = bytes(range(100, 132)).hex()
TABLES = f"""
CREATE TABLE logs (id int PRIMARY KEY, said text) WITH (fillfactor = 10);
INSERT INTO logs SELECT i, '{SECRET} ' || md5(i::text) FROM generate_series(1, 60) AS i;
CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1);
ANALYZE logs;
"""


class Clear(PurgeMigration):
    name = "clear"
    version = "1.0.0"
    description = "Takes all logs."

    async def purges(self, _):
        return [Purge("logs", "true")]


@pytest.fixture
async def logs(database, keyed, tmp_path, monkeypatch):
    monkeypatch.setenv("ARCHIVE_DIR", str(tmp_path / "archives"))
    await script(database, TABLES)
    return database


async def clear(dsn, *, dry_run=False, **settings):
    async with engine(dsn, Clear, **settings) as runner:
        return await runner.run("clear", RunOptions(batch_size=7, dry_run=dry_run))


async def cleared(dsn, **settings):
    """Run the purge, with several parts; returns the archive's folder."""
    report = await clear(dsn, **settings)
    folder = Path(os.environ["ARCHIVE_DIR"], report.archive_id)
    assert len(parts_of(folder)) > 1
    return folder


def parts_of(folder):
    return sorted(path for path in folder.iterdir() if path.name != "manifest.json")


def opened(folder):
    """Everything that is in an archive, as a restore reads it."""
    settings = Settings.load()
    found = Found(id=uuid.UUID(folder.name), path=folder, state="complete")
    archive = Archive.open(found, Keyring.from_settings(settings))
    return [archive.lines(part) for part in archive.manifest.parts]


async def assert_refused(dsn, folder, pattern, *kinds):
    """The restore raises one of these, `show` says that it is damaged, and nothing is changed."""
    before = await state(dsn)
    async with engine(dsn) as runner:
        manager = ArchiveManager(runner.db)
        for dry_run in (True, False):
            with pytest.raises(DatamigError, match=pattern) as caught:
                await manager.restore(folder.name, dry_run=dry_run)
            assert type(caught.value) in (kinds or (ArchiveError,))
            assert SECRET not in told(caught.value)
            assert KEY not in told(caught.value)
    assert await state(dsn) == before


async def show(folder):
    return await ArchiveManager(settings=Settings.load()).show(folder.name)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
async def test_a_flipped_bit_anywhere_is_found(sealed, form, logs, monkeypatch):
    if not sealed:
        monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    folder = await cleared(logs, archive_format=form)
    whole = opened(folder)
    for file in (folder / "manifest.json", parts_of(folder)[0]):
        data = file.read_bytes()
        for place in range(0, len(data), max(1, len(data) // 300)):
            file.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
            with pytest.raises((ArchiveError, KeyWrong)) as caught:
                opened(folder)
            assert SECRET not in told(caught.value)
        file.write_bytes(data)
    assert opened(folder) == whole


async def test_a_damaged_part_is_named_and_stops_a_restore_before_its_first_row(logs):
    folder = await cleared(logs)
    part = parts_of(folder)[-1]
    data = part.read_bytes()
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    await assert_refused(logs, folder, f"part {part.name} .*its checksum is another")
    assert await rows(logs, "SELECT FROM logs") == []
    details = await show(folder)
    assert (details.state, details.verified) == ("damaged", "nothing")
    assert part.name in details.problem


async def test_a_part_that_is_cut_short_or_longer_or_missing(logs):
    folder = await cleared(logs)
    part = parts_of(folder)[0]
    data = part.read_bytes()
    for changed in (data[:-1], b"", data + b"x"):
        part.write_bytes(changed)
        await assert_refused(logs, folder, rf"part {part.name} .* bytes instead of")
        (record,) = await ArchiveManager(settings=Settings.load()).list()
        assert (record.state, record.rows) == ("damaged", 60)
    part.unlink()
    await assert_refused(logs, folder, rf"part {part.name} .*No such file")


async def test_parts_that_were_swapped(logs):
    folder = await cleared(logs)
    one, two = parts_of(folder)[:2]
    third = folder / "third"
    one.rename(third)
    two.rename(one)
    third.rename(two)
    await assert_refused(logs, folder, r"part .* is damaged")
    # Also when the manifest agrees with them, as one made by somebody without the key might.
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    names = {one.name: two.name, two.name: one.name}
    for part in manifest["parts"]:
        part["name"] = names.get(part["name"], part["name"])
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
    await assert_refused(logs, folder, r"manifest\.json is damaged or was changed")


async def test_an_edited_manifest(logs):
    folder = await cleared(logs)
    file = folder / "manifest.json"
    data = file.read_bytes()
    for old, new in (
        (b'"clear"', b'"cleaR"'),
        (b'public\\".\\"logs', b'public\\".\\"other'),
        (b'"said": "text"', b'"said": "bytea"'),
    ):
        assert old in data
        file.write_bytes(data.replace(old, new))
        await assert_refused(logs, folder, "damaged or was changed")
    for rubbish in (
        b"",
        b"{}",
        b"[1]",
        b"null",
        data[:-10],
        data.replace(b"archive/1", b"archive/2"),
        b"\xff",
    ):
        file.write_bytes(rubbish)
        await assert_refused(logs, folder, r"manifest\.json")
        assert (await show(folder)).state == "damaged"


async def test_a_forged_archive_in_the_place_of_a_sealed_one(logs, tmp_path, monkeypatch):
    """Whoever can write the folder but has no key cannot bring rows of theirs in, where the ledger is."""
    folder = await cleared(logs)
    genuine = orjson.loads((folder / "manifest.json").read_bytes())
    shutil.rmtree(folder)
    forger = writer.ArchiveWriter(
        folder=folder.parent, run_id=uuid.UUID(folder.name), sealer=BlobSealer(None)
    )
    line = orjson.dumps({"table": "logs", "row": {"id": "1", "said": "forged"}}) + b"\n"
    table = {name: genuine["tables"]["logs"][name] for name in ("relation", "key", "columns", "loose")}
    parts = forger.write(uuid.uuid4(), [line], {"logs": 1}, {"logs": table})
    about = {name: genuine[name] for name in ("migration", "version", "database")}
    moment = datetime.fromisoformat(genuine["created_at"])
    forger.finish(parts, created_at=moment, kid=None, data_key=None, **about)
    await assert_refused(logs, folder, "not the one that the ledger here recorded")


async def test_an_archive_under_another_archives_name(logs):
    folder = await cleared(logs)
    other = folder.with_name("00000000-0000-4000-8000-000000000000")
    shutil.copytree(folder, other)
    await assert_refused(logs, other, "is that of archive")


async def test_a_name_that_leads_out_of_the_folder_is_not_followed(logs, monkeypatch):
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    folder = await cleared(logs)
    file = folder / "manifest.json"
    name = parts_of(folder)[0].name
    text = file.read_bytes().replace(name.encode(), b"../" + name.encode())
    body = text[:-68] + b"0" * 64 + text[-4:]
    file.write_bytes(text[:-68] + unkeyed(body).hex().encode() + text[-4:])
    (folder.parent / name).write_bytes((folder / name).read_bytes())
    await assert_refused(logs, folder, "damaged or was changed")


async def test_a_missing_and_a_wrong_key(logs, monkeypatch):
    folder = await cleared(logs)
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    details = await show(folder)
    assert (details.state, details.verified, details.signed) == ("complete", "checksums", False)
    await assert_refused(logs, folder, f"sealed under key {details.kid}.*FIELD_ENCRYPTION_KEY", KeyMissing)
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", OTHER_KEY)
    await assert_refused(logs, folder, f"key {details.kid} is not configured", KeyWrong)
    monkeypatch.delenv("FIELD_ENCRYPTION_KEY")
    monkeypatch.setenv("FIELD_ENCRYPTION_KEYS", f"{details.kid}:{OTHER_KEY}")
    await assert_refused(logs, folder, "does not open under key", KeyWrong)
    monkeypatch.setenv("FIELD_ENCRYPTION_KEYS", f"new:{OTHER_KEY},{details.kid}:{KEY}")
    async with engine(logs) as runner:
        assert (await ArchiveManager(runner.db).restore(folder.name)).inserted_rows == 60


# -- writing


def failing(monkeypatch, times, code=errno.ENOSPC):
    """Files are written so many times, and no more."""
    real, left = writer._write_durably, [times]

    def write(path, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        real(path, data)

    monkeypatch.setattr(writer, "_write_durably", write)


async def archived_and_left(dsn):
    """Rows that the ledger says were archived, and rows still there."""
    [[archived]] = await rows(
        dsn, "SELECT coalesce(sum((rows ->> 'logs')::int), 0)::int FROM datamig.archive_parts"
    )
    [[left]] = await rows(dsn, "SELECT count(*)::int FROM logs")
    return archived, left


async def test_a_disk_that_is_full_from_the_start(logs, monkeypatch):
    before = await state(logs)
    with monkeypatch.context() as patch:
        failing(patch, 0)
        with pytest.raises(
            ArchiveError, match=r"cannot write the archive.*No space left.*nothing was changed"
        ):
            await clear(logs)
    assert await state(logs) == before
    assert (await clear(logs)).changed_rows == 60


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
async def test_a_disk_that_fills_up_pauses_the_run(code, logs, monkeypatch):
    before = await state(logs)
    with monkeypatch.context() as patch:
        failing(patch, 1, code)
        with pytest.raises(ArchiveError, match=r"cannot write the archive.*the run is paused") as caught:
            await clear(logs)
        assert SECRET not in told(caught.value)
    archived, left = await archived_and_left(logs)
    assert archived > 0
    assert left > 0
    assert archived + left == 60
    (record,) = await ArchiveManager(settings=Settings.load()).list()
    assert record.state == "incomplete"
    # Another folder has not what was archived before.
    with pytest.raises(PreflightFailed, match=r"part .* is not in .*archive_dir"):
        await clear(logs, archive_dir=Path(os.environ["ARCHIVE_DIR"], "elsewhere"))
    report = await clear(logs)
    assert report.resumed
    assert report.deleted_rows == {"logs": 60}
    async with engine(logs) as runner:
        assert (await ArchiveManager(runner.db).restore(report.archive_id)).inserted_rows == 60
    assert await state(logs) == before


async def test_a_manifest_that_cannot_be_written_leaves_the_run_unfinished(logs, monkeypatch):
    real = writer._write_durably

    def write(path, data):
        if path.name == "manifest.json":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(writer, "_write_durably", write)
        with pytest.raises(ArchiveError, match=r"cannot write the archive's manifest.*paused"):
            await clear(logs)
    assert (await ArchiveManager(settings=Settings.load()).list())[0].state == "incomplete"
    assert (await clear(logs)).status == "succeeded"
    assert (await ArchiveManager(settings=Settings.load()).list())[0].state == "complete"


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
async def test_a_disk_that_gives_back_something_else_stops_the_delete(form, logs, monkeypatch):
    before = await state(logs)
    real = writer._write_durably
    with monkeypatch.context() as patch:
        patch.setattr(
            writer, "_write_durably", lambda path, data: real(path, data[:-1] + bytes([data[-1] ^ 1]))
        )
        with pytest.raises(ArchiveError, match="does not read back as it was written"):
            await clear(logs, archive_format=form)
    assert await state(logs) == before


@pytest.fixture
def tiny_disk(tmp_path, monkeypatch):
    """Archives go to a file system of 32 kiB; call it for more room."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a file system, and not everywhere")
    monkeypatch.setenv("ARCHIVE_DIR", str(place))
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True, capture_output=True)


async def test_a_disk_that_is_really_full(logs, tiny_disk):
    long = "SELECT string_agg(md5(i::text || id), '') FROM generate_series(1, 100) AS i"
    await script(logs, f"UPDATE logs SET said = ({long})")
    await script(logs, "VACUUM FULL ANALYZE logs")
    before = await state(logs)
    with pytest.raises(ArchiveError, match=r"No space left.*paused"):
        await clear(logs)
    archived, left = await archived_and_left(logs)
    assert archived + left == 60
    tiny_disk()
    report = await clear(logs)
    assert report.deleted_rows == {"logs": 60}
    async with engine(logs) as runner:
        assert (await ArchiveManager(runner.db).restore(report.archive_id)).inserted_rows == 60
    assert await state(logs) == before


@pytest.mark.parametrize("dry_run", [True, False])
async def test_a_folder_that_is_a_file(dry_run, logs, tmp_path):
    before = await state(logs)
    (tmp_path / "archives").write_text("in the way")
    with pytest.raises(PreflightFailed, match=r"archives is no folder.*ARCHIVE_DIR"):
        await clear(logs, dry_run=dry_run)
    assert await state(logs) == before
    assert not await has_ledger(logs)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_parquet_without_pyarrow(dry_run, logs, monkeypatch):
    before = await state(logs)
    folder = await cleared(logs, archive_format="parquet") if not dry_run else None
    migrated = await state(logs)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    if folder is not None:
        await assert_refused(logs, folder, r"pyarrow is not installed.*")
        await script(logs, "INSERT INTO logs VALUES (1, 'again'); DROP SCHEMA datamig CASCADE")
        migrated = await state(logs)
    with pytest.raises(
        PreflightFailed, match=r"pyarrow is not installed.*pip install 'taaxdog-datamig\[parquet\]'"
    ):
        await clear(logs, dry_run=dry_run, archive_format="parquet")
    assert await state(logs) == (before if dry_run else migrated)
    assert not await has_ledger(logs)


async def test_two_tables_of_one_name(logs):
    await script(
        logs,
        "CREATE SCHEMA attic;"
        "CREATE TABLE attic.logs (id int PRIMARY KEY, log int REFERENCES logs ON DELETE CASCADE)",
    )
    before = await state(logs)
    with pytest.raises(PreflightFailed, match=r"would both be logs in an archive.*profile\.tables"):
        await clear(logs)
    assert await state(logs) == before

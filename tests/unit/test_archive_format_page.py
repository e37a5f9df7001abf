"""The reader on docs/reference/archive-format.md, extracted and run against the archives of tests/data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taaxdog_datamig.archive import Archive, find
from taaxdog_datamig.archive.forms import parsed
from taaxdog_datamig.crypto import Keyring, MasterKey

ROOT = Path(__file__).parents[2]
ARCHIVES = ROOT / "tests" / "data" / "archives"
ROWS = json.loads((ARCHIVES / "rows.json").read_text("utf-8"))
FOLDERS = sorted(path for path in ARCHIVES.iterdir() if path.is_dir())
KEYS = {"main": bytes(range(32))}


def page():
    text = (ROOT / "docs" / "reference" / "archive-format.md").read_text("utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return block


def reader():
    names: dict[str, object] = {"__name__": "page"}
    exec(compile(page(), "archive-format.md", "exec"), names)
    return lambda folder, keys: [
        {"table": table, "row": row}
        for table, row in names["read_archive"](folder, keys)  # type: ignore[operator]
    ]


def test_the_reader_is_short_and_the_vectors_are_of_every_kind():
    assert page().count("\n") < 100
    endings = {"".join(part.suffixes) for folder in FOLDERS for part in folder.iterdir()}
    kinds = {".jsonl.zst", ".jsonl.zst.sealed", ".000.parquet", ".000.parquet.sealed"}
    assert endings == {".json", *kinds}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name[:8])
def test_the_page_and_this_package_read_every_vector(folder):
    assert reader()(folder, KEYS) == ROWS
    archive = Archive.open(find(ARCHIVES, folder.name), Keyring.of(MasterKey("main", KEYS["main"])))
    lines = [line for part in archive.manifest.parts for line in archive.lines(part)]
    assert [{"table": table, "row": row} for table, row in parsed(lines)] == ROWS


def test_the_reader_runs_as_a_program(tmp_path):
    (tmp_path / "reader.py").write_text(page(), "utf-8")
    words = [sys.executable, "reader.py", str(FOLDERS[1]), "main", KEYS["main"].hex()]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert [json.loads(line) for line in done.stdout.splitlines()] == ROWS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name[:8])
def test_the_reader_refuses_every_changed_byte(folder, tmp_path):
    read, copy = reader(), tmp_path / folder.name
    shutil.copytree(folder, copy)
    for file in copy.iterdir():
        data = file.read_bytes()
        for place in range(0, len(data), max(1, len(data) // 40)):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(Exception):  # noqa: B017, PT011 -- whichever way a plain reader refuses
                read(copy, KEYS)
        file.write_bytes(data)
    assert read(copy, KEYS) == ROWS
    with pytest.raises(Exception):  # noqa: B017, PT011
        read(copy.rename(tmp_path / FOLDERS[0].name[::-1]), KEYS)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed")
def test_zstd_alone_reads_what_is_not_sealed():
    parts = sorted(str(path) for path in FOLDERS[0].glob("*.jsonl.zst"))
    done = subprocess.run(["zstd", "-dc", *parts], capture_output=True, check=True, timeout=60)
    assert [json.loads(line) for line in done.stdout.splitlines()] == ROWS

"""docs/reference/backup-format.md: its reader, which knows nothing of ours, and its test vectors."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
import zstandard
from cryptography.exceptions import InvalidTag

from taaxdog_datamig import Settings
from taaxdog_datamig.backup import BackupManager, Manifest
from taaxdog_datamig.backup.manifest import BackedUpLargeObjects, BackedUpSequence, BackedUpTable
from taaxdog_datamig.backup.parts import Part, part_writer, read_part
from taaxdog_datamig.backup.stores import DirectoryStore
from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.crypto.chunked import ChunkedSealer, opened
from taaxdog_datamig.errors import BackupError

ROOT = Path(__file__).parents[2]
READER = ROOT / "docs" / "reference" / "read_backup.py"
PAGE = (ROOT / "docs" / "reference" / "backup-format.md").read_text("utf-8")
VECTORS = json.loads((ROOT / "tests" / "data" / "backup-vectors.json").read_text("utf-8"))
BACKUPS = ROOT / "tests" / "data" / "backups"
FOLDERS = sorted(path.parent for path in BACKUPS.glob("*/manifest.json"))
KEY = bytes(range(32))
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)


def read(folder: Path, *words: str, key: str = KEY.hex()) -> bytes:
    """What the reader writes to stdout, run as a program that has no way to this package."""
    done = subprocess.run(
        [sys.executable, "-I", str(READER), str(folder), *words],
        cwd=folder.parent,
        capture_output=True,
        check=True,
        timeout=60,
        env={**os.environ, "BACKUP_KEY": key},
    )
    return done.stdout


def reader() -> dict[str, Any]:
    """The reader's functions."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(compile(READER.read_text("utf-8"), "read_backup.py", "exec"), names)
    return names


def binary(*rows: list[bytes | None]) -> bytes:
    """COPY's binary form."""
    out = HEADER
    for row in rows:
        out += len(row).to_bytes(2, "big")
        for field in row:
            out += b"\xff" * 4 if field is None else len(field).to_bytes(4, "big") + field
    return out + b"\xff\xff"


def int4(number: int) -> bytes:
    return number.to_bytes(4, "big")


def test_the_reader_is_short_and_imports_nothing_of_ours():
    text = READER.read_text("utf-8")
    assert text.count("\n") < 150
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    others = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert others == {"cryptography", "zstandard"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name[-8:])
async def test_the_reader_and_this_package_read_every_vector(folder):
    assert read(folder, "public.notes") == binary(
        [int4(1), None, b"\x00\xff"], [int4(2), b"", b""], [int4(3), "naïve ☃\n\\.".encode(), None]
    )
    assert read(folder, "public.moods") == b"1\t{sad,NULL}\ta\\tb\\\\\n2\t\\N\t\n"
    assert read(folder, "public.nothing") == binary([])
    assert read(folder, "large_objects.list") == b"700001\tpostgres\t\\N\ta comment\n"
    assert read(folder, "large_objects.pages") == binary([int4(700001), int4(0), b"an object"])
    assert read(folder, "schema").startswith(b"PGDMP")
    listed = read(folder).decode().splitlines()
    assert len(listed) == 6
    settings = Settings(field_encryption_keys=f"main:{KEY.hex()}", backup_dir=BACKUPS)
    manifest, key = await BackupManager(None, settings).find(folder.name)
    assert manifest.rows == 6
    assert (key is None) == (manifest.kid is None)


def test_the_vectors_are_one_sealed_and_one_not():
    assert sorted(json.loads((folder / "manifest.json").read_text())["name"] for folder in FOLDERS) == [
        "bare",
        "sealed",
    ]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name[-8:])
def test_the_reader_refuses_every_changed_byte(folder, tmp_path):
    names = reader()
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)

    def read_all() -> int:
        manifest, key = names["read_manifest"](copy, KEY)
        parts = [part["name"] for part in manifest["parts"]]
        return sum(len(b"".join(names["read_part"](copy, manifest, key, name))) for name in parts)

    whole = read_all()
    for file in [path for path in copy.rglob("*") if path.is_file()]:
        data = file.read_bytes()
        for place in range(0, len(data), max(1, len(data) // 40)):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            with pytest.raises(Exception):  # noqa: B017, PT011 -- whichever way a plain reader refuses
                read_all()
        file.write_bytes(data[:-1])
        with pytest.raises(Exception):  # noqa: B017, PT011
            read_all()
        file.write_bytes(data)
    assert read_all() == whole


def told_of(part: Part) -> dict[str, Any]:
    """What a manifest says of it, as the reader takes it."""
    return {"id": "b", "parts": [attrs.asdict(part) | {"sha256": part.sha256.hex()}]}


def test_what_the_compressor_got_wrong_is_found_by_the_frames_own_checksum(tmp_path):
    """The SHA-256 of what is stored cannot tell: it is of what the compressor gave."""
    store, name, data = DirectoryStore(tmp_path), "data/1.00000.txt.zst", os.urandom(40_000)
    with part_writer(store, "b", name, key=None, level=1) as writer:
        writer.feed(data)
        part = writer.finish()
    path = tmp_path / "b" / name
    stored = bytearray(path.read_bytes())
    stored[stored.index(data[20_000:20_016])] ^= 1
    path.write_bytes(stored)
    part = attrs.evolve(part, sha256=hashlib.sha256(stored).digest())
    with pytest.raises(zstandard.ZstdError):
        b"".join(reader()["read_part"](tmp_path / "b", told_of(part), None, name))
    with pytest.raises(BackupError, match=name):
        b"".join(read_part(store, "b", part, key=None))


@pytest.mark.parametrize("key", [None, KEY], ids=["bare", "sealed"])
def test_a_part_of_several_frames_is_read_by_both_and_missed_where_one_is_gone(key, tmp_path):
    store, name, pieces = DirectoryStore(tmp_path), "data/1.00000.txt.zst", [os.urandom(40_000)] * 3
    sizes = []
    with part_writer(store, "b", name, key=key, level=1) as writer:
        for piece in pieces:
            writer.feed(piece)
            sizes.append(writer._stored_size)
        part = writer.finish()
    told = told_of(part)
    assert b"".join(reader()["read_part"](tmp_path / "b", told, key, name)) == b"".join(pieces)
    assert b"".join(read_part(store, "b", part, key=key)) == b"".join(pieces)
    path = tmp_path / "b" / name
    path.write_bytes(path.read_bytes()[: sizes[1]])
    with pytest.raises((ValueError, InvalidTag)):
        b"".join(reader()["read_part"](tmp_path / "b", told, key, name))
    with pytest.raises(BackupError, match=name):
        b"".join(read_part(store, "b", part, key=key))


def test_keys_and_signatures_are_those_of_the_vectors():
    keyring = Keyring.of(MasterKey("main", KEY))
    wrapping, signing = VECTORS["wrapping"], VECTORS["signing"]
    wrapped = bytes.fromhex(wrapping["wrapped"])
    assert keyring.unwrap("main", wrapped, wrapping["context"]).hex() == wrapping["data_key"]
    assert keyring.sign("main", bytes.fromhex(signing["data"])).hex() == signing["checksum"]
    for purpose, subkey in VECTORS["subkeys"].items():
        assert keyring._subkey("main", f"taaxdog_datamig/{purpose}/v1").hex() == subkey


@pytest.mark.parametrize("vector", VECTORS["chunks"]["messages"], ids=lambda vector: vector["name"])
def test_sealed_messages_are_those_of_the_vectors(vector):
    given = VECTORS["chunks"]
    key, salt = bytes.fromhex(given["key"]), bytes.fromhex(given["salt"])
    message = bytes(number % 251 for number in range(vector["length"]))
    sealer = ChunkedSealer(key, given["context"], salt)
    sealed = sealer.header + sealer.update(message) + sealer.finish()
    assert (len(sealed), hashlib.sha256(sealed).hexdigest()) == (vector["size"], vector["sha256"])
    assert vector.get("sealed", sealed.hex()) == sealed.hex()
    assert b"".join(opened([sealed], key, given["context"])) == message


def test_the_page_names_every_field_of_the_manifest():
    table = PAGE.partition("## Manifest")[2].partition("## Parts")[0]
    named = set(re.findall(r"`(\w+)`", table))
    for kind in (Manifest, BackedUpTable, BackedUpSequence, BackedUpLargeObjects, Part):
        assert {field.name for field in attrs.fields(kind)} <= named, kind

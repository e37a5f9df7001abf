"""Read a backup of taaxdog_datamig without it; backup-format.md describes what this does.

    python read_backup.py FOLDER                 lists what the backup holds
    python read_backup.py FOLDER WHAT > FILE     writes a table (schema.name) as one file for COPY ... FROM,
                                                 `schema` as an archive for pg_restore

BACKUP_KEY is the master key in hex, where the backup is sealed. Needs cryptography and zstandard.
"""

import base64
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import sys

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

CHUNK, TAG = 16384, 16
INFO = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"
#: Of COPY's binary form: signature, flags, length of the extension; and the end of the rows.
HEADER, TRAILER = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


def subkey(master, purpose):
    return HKDF(SHA256(), 32, None, f"taaxdog_datamig/{purpose}/v1".encode()).derive(master)


def read_manifest(folder, master):
    """The manifest, authenticated, and the key of the parts (None: they are not sealed)."""
    data = (folder / "manifest.json").read_bytes()
    manifest = json.loads(data)
    if manifest["schema"] != "datamig/backup/1" or manifest["id"] != folder.name:
        raise ValueError("not this backup")
    kid, signed = manifest["kid"], data[:-68] + b"0" * 64 + b'"\n}\n'
    if kid is None:
        expected = hashlib.sha256(signed).hexdigest()
    elif master is None:
        raise ValueError(f"BACKUP_KEY must hold the master key {kid}, in hex")
    else:
        expected = hmac.new(subkey(master, "manifest"), signed, "sha256").hexdigest()
    if not hmac.compare_digest(data[-68:], expected.encode() + b'"\n}\n'):
        raise ValueError("the manifest was changed, or this is another key")
    if kid is None:
        return manifest, None
    wrapped = base64.b64decode(manifest["data_key"], validate=True)
    context = f"backup|{manifest['id']}".encode()
    return manifest, AESGCM(subkey(master, "wrap")).decrypt(wrapped[:12], wrapped[12:], context)


def unsealed(pieces, key, context):
    """chunked-encryption of C2SP, SHA-512 and AES-256-GCM."""
    held = b""
    while len(held) < 56:
        held += next(pieces, None) or fail(context)
    salt, commitment, held = held[:24], held[24:56], held[56:]
    derived = HKDFExpand(SHA512(), 76, INFO + salt + context.encode()).derive(key)
    if not hmac.compare_digest(derived[44:], commitment):
        fail(context)
    cipher, base, number = AESGCM(derived[:32]), int.from_bytes(derived[32:44], "big"), 0
    for piece in itertools.chain(pieces, [b""]):
        held += piece
        # At the end of the file what is left is the last chunk, which is always shorter.
        while len(held) >= CHUNK + TAG or not piece:
            chunk, held = held[: CHUNK + TAG], held[CHUNK + TAG :]
            yield cipher.decrypt((base ^ number).to_bytes(12, "big"), chunk, None)
            number += 1
            if not piece and len(chunk) < CHUNK + TAG:
                return


def read_part(folder, manifest, key, name):
    """The stream of a part, in pieces. It is known to be whole when the last has been read."""
    part = next(part for part in manifest["parts"] if part["name"] == name)
    stored, size = hashlib.sha256(), 0

    def pieces():
        with (folder / name).open("rb") as file:
            while piece := file.read(1 << 20):
                stored.update(piece)
                yield piece

    opened = pieces() if key is None else unsealed(pieces(), key, f"backup|{manifest['id']}|{name}")
    decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompressobj(read_across_frames=True)
    for piece in opened:
        data = decompressor.decompress(piece)
        size += len(data)
        yield data
    if (stored.hexdigest(), size) != (part["sha256"], part["plain_size"]):
        fail(name)


def fail(where):
    raise ValueError(f"{where} is damaged, or was sealed with another key or for another place")


def joined(streams, form):
    """Several streams of COPY as one."""
    if form != "binary":
        yield from itertools.chain.from_iterable(streams)
        return
    yield HEADER
    for stream in streams:
        held, begun = b"", False
        for piece in stream:
            held += piece
            if not begun and len(held) >= len(HEADER):
                if not held.startswith(HEADER):
                    fail("a part in COPY's binary form")
                held, begun = held[len(HEADER) :], True
            if begun and len(held) > len(TRAILER):
                yield held[: -len(TRAILER)]
                held = held[-len(TRAILER) :]
        if held != TRAILER:
            fail("a part in COPY's binary form")
    yield TRAILER


def contents(manifest):
    """What can be extracted: name to (names of parts, form, description)."""
    found = {}
    if manifest["schema_part"] is not None:
        found["schema"] = [manifest["schema_part"]], "dump", f"pg_dump {manifest['pg_dump_version']}"
    for table in manifest["tables"]:
        columns = ", ".join(f"{name} {kind}" for name, kind in table["columns"].items())
        label = f"{table['schema']}.{table['name']}"
        found[label] = table["parts"], table["format"], f"{table['rows']} rows, {table['format']}: {columns}"
    if (objects := manifest["large_objects"]) is not None:
        found["large_objects.list"] = objects["list_parts"], "text", f"{objects['objects']} objects"
        found["large_objects.pages"] = objects["page_parts"], "binary", f"of {objects['page_size']} bytes"
    return found


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    manifest, key = read_manifest(folder, bytes.fromhex(os.environ.get("BACKUP_KEY", "")) or None)
    found = contents(manifest)
    if len(sys.argv) == 2:
        for name, (_, _, description) in found.items():
            print(f"{name}\t{description}")
    else:
        names, form, _ = found[sys.argv[2]]
        for piece in joined((read_part(folder, manifest, key, name) for name in names), form):
            sys.stdout.buffer.write(piece)

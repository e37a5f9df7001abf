"""The readers on docs/reference/field-token.md, extracted and run against the test vectors."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from taaxdog_datamig.crypto import Keyring, MasterKey
from taaxdog_datamig.errors import TokenError

ROOT = Path(__file__).parents[2]
VECTORS_FILE = ROOT / "tests" / "data" / "field-token-vectors.json"
VECTORS = json.loads(VECTORS_FILE.read_text("utf-8"))
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def from_page(language: str) -> str:
    page = (ROOT / "docs" / "reference" / "field-token.md").read_text("utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return block


def run_node(folder: Path, script: str, *arguments: str, given: str = "") -> str:
    assert NODE is not None
    (folder / "reader.mjs").write_text(from_page("js"), "utf-8")
    (folder / "main.mjs").write_text(script, "utf-8")
    done = subprocess.run(
        [NODE, str(folder / "main.mjs"), *arguments],
        input=given,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


READ_ALL = """
import { readFileSync } from "node:fs";
import { openFieldToken } from "./reader.mjs";
const v = JSON.parse(readFileSync(process.argv[2], "utf8"));
const keys = Object.fromEntries(Object.entries(v.keys).map(([kid, hex]) => [kid, Buffer.from(hex, "hex")]));
const open = (t) => {
  try { return openFieldToken(t.token, t.table, t.column, t.key, keys); } catch { return null; }
};
console.log(JSON.stringify({ tokens: v.tokens.map(open), refused: v.refused.map(open) }));
"""


@needs_node
def test_the_javascript_reader_opens_every_vector_and_refuses_what_it_must(tmp_path):
    answers = json.loads(run_node(tmp_path, READ_ALL, str(VECTORS_FILE)))
    assert answers["tokens"] == [vector["plaintext"] for vector in VECTORS["tokens"]]
    assert answers["refused"] == [None] * len(VECTORS["refused"])


@needs_node
def test_the_javascript_reader_opens_what_was_sealed_just_now(tmp_path):
    kid = "2026-spare_key"
    ring = Keyring.of(MasterKey(kid, bytes.fromhex(VECTORS["keys"][kid])))
    rows = [("users", "tfn", [f"id-{n}"], f"value {n} \u20ac") for n in range(50)]
    tokens = [
        {"table": table, "column": column, "key": key, "token": ring.field(table, column).seal(value, key)}
        for table, column, key, value in rows
    ]
    file = tmp_path / "fresh.json"
    file.write_text(json.dumps({"keys": VECTORS["keys"], "tokens": tokens, "refused": []}), "utf-8")
    assert json.loads(run_node(tmp_path, READ_ALL, str(file)))["tokens"] == [row[3] for row in rows]


def python_reader():
    names: dict[str, object] = {}
    exec(compile(from_page("python"), "field-token.md", "exec"), names)
    keys = {kid: bytes.fromhex(text) for kid, text in VECTORS["keys"].items()}
    return lambda v: names["open_field_token"](v["token"], v["table"], v["column"], v["key"], keys)  # type: ignore[operator]


def test_the_python_reader_opens_every_vector_and_refuses_what_it_must():
    read = python_reader()
    assert [read(vector) for vector in VECTORS["tokens"]] == [v["plaintext"] for v in VECTORS["tokens"]]
    for vector in VECTORS["refused"]:
        with pytest.raises(Exception):  # noqa: B017, PT011 -- whichever way a plain reader refuses
            read(vector)


def test_this_package_opens_every_vector_and_refuses_what_the_readers_refuse():
    ring = Keyring.of(*(MasterKey(kid, bytes.fromhex(text)) for kid, text in VECTORS["keys"].items()))
    for vector in VECTORS["tokens"]:
        field = ring.field(vector["table"], vector["column"])
        assert field.open(vector["token"], vector["key"]) == vector["plaintext"]
    for vector in VECTORS["refused"]:
        field = ring.field(vector["table"], vector["column"])
        with pytest.raises(TokenError):
            field.open(vector["token"], vector["key"])
        assert field.classify(vector["token"], vector["key"]).plaintext is None, vector["why"]


def test_sealing_with_a_vectors_nonce_gives_its_token(monkeypatch):
    for vector in VECTORS["tokens"]:
        kid = vector["token"].split(":")[2]
        field = Keyring.of(MasterKey(kid, bytes.fromhex(VECTORS["keys"][kid]))).field(
            vector["table"], vector["column"]
        )
        monkeypatch.setattr(
            "taaxdog_datamig.crypto.field.urandom", lambda _, nonce=vector["nonce"]: bytes.fromhex(nonce)
        )
        assert field.seal(vector["plaintext"], vector["key"]) == vector["token"]


SEAL_AS_THE_APPLICATION = """
import { readFileSync } from "node:fs";
import { createCipheriv, scryptSync } from "node:crypto";
const keyOf = (text) =>
  /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, "hex")
  : text.length === 44 ? Buffer.from(text, "base64") : scryptSync(text, "salt", 32);
const seal = ({ key, iv, plaintext }) => {
  const nonce = Buffer.from(iv, "hex");
  const cipher = createCipheriv("aes-256-gcm", keyOf(key), nonce);
  const sealed = Buffer.concat([cipher.update(plaintext, "utf8"), cipher.final()]);
  return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString("base64");
};
console.log(JSON.stringify(JSON.parse(readFileSync(process.argv[2], "utf8")).legacy.map(seal)));
"""


@needs_node
def test_the_legacy_vectors_are_what_node_makes(tmp_path):
    made = json.loads(run_node(tmp_path, SEAL_AS_THE_APPLICATION, str(VECTORS_FILE)))
    assert made == [vector["value"] for vector in VECTORS["legacy"]]

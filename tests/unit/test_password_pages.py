"""The password pages: the JavaScript is run by node, alone and with the libraries of npm; the tables and the
Python say what the code does.
"""

from __future__ import annotations

import inspect
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from taaxdog_datamig import passwords
from taaxdog_datamig.passwords import CHEAPEST_COST, Pepper, hash_password, modern, recognise, verify, wrap

ROOT = Path(__file__).parents[2]
VECTORS_FILE = ROOT / "tests" / "data" / "password-hash-vectors.json"
VECTORS = json.loads(VECTORS_FILE.read_text("utf-8"))
PEPPER = Pepper({name: bytes.fromhex(secret) for name, secret in VECTORS["peppers"].items()})
#: What the reader leaves to the application's own code.
LEFT_OUT = ("scrypt", "pbkdf2-", "django-pbkdf2-sha1", "django-argon2", "django-bcrypt", "django-scrypt")
ACCEPTED = [vector for vector in VECTORS["accepted"] if not vector["scheme"].startswith(LEFT_OUT)]
LIBRARIES = ("bcryptjs@3.0.3", "@node-rs/argon2@2.2.1")
NODE, NPM = shutil.which("node"), shutil.which("npm")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def from_page(page: str) -> str:
    (block,) = re.findall(r"```js\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    return block


def run_node(folder: Path, script: str, given: object) -> object:
    assert NODE is not None
    (folder / "verify-password.mjs").write_text(from_page("reference/password-hashes.md"), "utf-8")
    (folder / "sign-in.mjs").write_text(from_page("how-to/passwords.md"), "utf-8")
    (folder / "main.mjs").write_text(script, "utf-8")
    done = subprocess.run(
        [NODE, str(folder / "main.mjs")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> Path:
    """A folder with the hash libraries of npm in it."""
    folder = tmp_path_factory.mktemp("libraries")
    if NPM is None:
        pytest.skip("npm is not installed")
    (folder / "package.json").write_text("{}", "utf-8")
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000")
    try:
        done = subprocess.run(
            [NPM, "install", *quiet, *LIBRARIES], cwd=folder, capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip("the npm registry does not answer in time")
    if done.returncode != 0:
        pytest.skip("the npm registry gives no bcryptjs and @node-rs/argon2")
    return folder


START = """
import { readFileSync } from "node:fs";
import { verifyPassword } from "./verify-password.mjs";
const given = JSON.parse(readFileSync(0, "utf8"));
const peppers = {};
for (const [id, hex] of Object.entries(given.peppers)) peppers[id] = Buffer.from(hex, "hex");
"""

PREPARE = """
const seen = [];
const bcryptCompare = async (password, hash) => { seen.push([password, hash]); return true; };
const argon2Verify = async (hash, password) => { seen.push([password, hash]); return true; };
for (const { stored, password } of given.wrapped) {
  await verifyPassword(stored, password, { bcryptCompare, argon2Verify, peppers });
}
const wrapped = seen.splice(0);
const refused = [];
for (const { stored } of given.refused) {
  refused.push(await verifyPassword(stored, "anything", { bcryptCompare, argon2Verify, peppers }));
}
const bare = [];
for (const { stored, password } of given.accepted.filter((v) => v.kind === "legacy")) {
  bare.push(await verifyPassword(stored, password, { bcryptCompare }));
  bare.push(!(await verifyPassword(stored, password + "x", { bcryptCompare })));
}
let lost = "verified";
const peppered = given.wrapped.find((v) => v.stored.includes("hmac"));
try {
  await verifyPassword(peppered.stored, peppered.password, { bcryptCompare });
} catch (error) {
  lost = error.message;
}
console.log(JSON.stringify({ wrapped, refused, bare, lost, seen: seen.length }));
"""


@needs_node
def test_the_reader_prepares_every_vector_as_this_package_does(tmp_path):
    """Without any library: what it hands to bcrypt and argon2 is the vector's."""
    answers = run_node(tmp_path, START + PREPARE, VECTORS)
    outer = [recognise(vector["stored"]).wrapped.outer for vector in VECTORS["wrapped"]]
    assert answers == {
        "wrapped": [[v["prepared"], text] for v, text in zip(VECTORS["wrapped"], outer, strict=True)],
        "refused": [False] * len(VECTORS["refused"]),
        "bare": [True] * 10,
        "lost": "pepper 2026 is not configured",
        "seen": 0,
    }


VERIFY = """
import bcrypt from "bcryptjs";
import { verify } from "@node-rs/argon2";
const libraries = { bcryptCompare: bcrypt.compare, argon2Verify: verify, peppers };
const answers = [];
for (const { stored, password } of given.values) {
  answers.push([
    await verifyPassword(stored, password, libraries),
    await verifyPassword(stored, "x" + password, libraries),
  ]);
}
console.log(JSON.stringify(answers));
"""


@needs_node
def test_the_reader_verifies_every_vector_with_the_libraries_of_npm(libraries):
    values = ACCEPTED + VECTORS["wrapped"]
    answers = run_node(libraries, START + VERIFY, {"peppers": VECTORS["peppers"], "values": values})
    assert answers == [[True, False]] * len(values)


@needs_node
def test_the_reader_verifies_what_was_wrapped_just_now(libraries):
    legacy = [vector for vector in VECTORS["accepted"] if vector["kind"] == "legacy"]
    values = [
        {
            "password": vector["password"],
            "stored": wrap(vector["stored"], to=to, cost=CHEAPEST_COST, pepper=pepper),
        }
        for vector in legacy
        for to in ("bcrypt", "argon2id")
        for pepper in (None, PEPPER)
    ]
    answers = run_node(libraries, START + VERIFY, {"peppers": VECTORS["peppers"], "values": values})
    assert answers == [[True, False]] * 20


SIGN_IN = """
import bcrypt from "bcryptjs";
import { verify } from "@node-rs/argon2";
import { signIn } from "./sign-in.mjs";
const rows = given.rows;
let meanwhile = null;
const query = async (sql, values) => {
  if (sql.startsWith("SELECT")) {
    return { rows: rows.filter((row) => row.email === values[0]).map((row) => ({ ...row })) };
  }
  if (meanwhile !== null) rows.find((row) => row.id === values[0]).password = meanwhile;
  for (const row of rows) if (row.id === values[0] && row.password === values[2]) row.password = values[1];
  return { rows: [] };
};
const libraries = { bcryptCompare: bcrypt.compare, bcryptHash: bcrypt.hash, argon2Verify: verify };
const answers = [];
for (const [email, candidate, changed] of given.calls) {
  meanwhile = changed;
  answers.push(await signIn(query, email, candidate, libraries));
}
console.log(JSON.stringify({ answers, rows }));
"""


@needs_node
def test_the_login_upgrades_what_it_verified_and_nothing_else(libraries):
    md5 = VECTORS["accepted"][0]["stored"]
    long = next(vector for vector in VECTORS["wrapped"] if "longer" in vector["why"])
    argon2 = hash_password("password", to="argon2id", cost=CHEAPEST_COST)
    stored = {
        "wrapped": wrap(md5, cost=CHEAPEST_COST),
        "bare": md5,
        "long": long["stored"],
        "argon2": argon2,
        "changed": wrap(md5, cost=CHEAPEST_COST),
        "wrong": wrap(md5, cost=CHEAPEST_COST),
        "none": None,
        "marker": "!",
    }
    rows = [{"id": name, "email": f"{name}@example.com", "password": text} for name, text in stored.items()]
    calls = [
        (row["email"], "password", None) for row in rows if row["id"] not in {"long", "changed", "wrong"}
    ]
    calls += [("long@example.com", long["password"], None), ("changed@example.com", "password", "another")]
    calls += [("wrong@example.com", "Password", None), ("nobody@example.com", "password", None)]
    given = {"peppers": {}, "rows": rows, "calls": calls}
    answers = run_node(libraries, START + SIGN_IN, given)
    assert answers["answers"] == ["wrapped", "bare", "argon2", None, None, "long", "changed", None, None]
    after = {row["id"]: row["password"] for row in answers["rows"]}
    for name in ("wrapped", "bare"):
        assert after[name].startswith("$2b$12$")
        assert verify(after.pop(name), "password")
    assert after.pop("changed") == "another"  # written by somebody else meanwhile, and left
    assert after == {name: stored[name] for name in after}


@pytest.mark.parametrize("page", ["reference/password-hashes.md", "how-to/passwords.md"])
def test_the_python_of_the_pages_runs(page, monkeypatch):
    monkeypatch.setenv("PASSWORD_PEPPER_2026", "5e" * 32)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict[str, object] = {}
        exec(compile(block, page, "exec"), names)
        if "values" in names:
            assert sorted(names["values"]) == ["password", "passwordResetExpires", "passwordResetToken"]


def test_the_reference_names_every_scheme_and_every_function_with_its_arguments():
    text = (ROOT / "docs" / "reference" / "password-hashes.md").read_text("utf-8")
    kinds = text[text.index("| kind |") : text.index("- Hex digits name")]
    schemes = {
        name for row in re.findall(r"^\|[^|]*\|([^|]*)\|", kinds, re.MULTILINE) for name in row.split(", ")
    }
    schemes = {name.strip() for name in schemes}
    assert schemes >= modern.SCHEMES | {
        "md5",
        "sha1",
        "sha256",
        "sha512",
        "wrapped-bcrypt",
        "wrapped-argon2id",
    }
    rows = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", text, re.MULTILINE))
    assert rows.pop("Pepper") == "{id: secret, ...}"
    assert set(rows) == {name for name in passwords.__all__ if inspect.isfunction(getattr(passwords, name))}
    names = {id(passwords.DEFAULT_COST): "DEFAULT_COST", id(passwords.RESET_LIFETIME): "RESET_LIFETIME"}
    for name, written in rows.items():
        arguments = [
            argument.name
            if argument.default is argument.empty
            else f"{argument.name}={names.get(id(argument.default)) or json.dumps(argument.default)}"
            for argument in inspect.signature(getattr(passwords, name)).parameters.values()
        ]
        said = written.replace("=None", "=null").replace("=()", "=[]")
        assert said == ", ".join(arguments), name

"""Every code block of README and docs is executed, page by page, from the top down, as a reader would.

SCENES says what a page takes for granted; a page that is not in it finds the sample in DATABASE_URL.
LEFT_OUT says what cannot be executed here, and why.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import attrs
import pytest
from blocks import (
    LANGUAGES,
    LISTINGS,
    PAGES,
    ROOT,
    Block,
    Failed,
    Folder,
    Scene,
    blocks_of,
    is_settings,
    matching,
)
from door import opened

from taaxdog_datamig import Settings
from taaxdog_datamig.demo import load_sample
from tests.sample import KEY

USERS = 300

#: `validate` finds what the sample is there for.
FOUND = {"datamig validate": 3}
ENCRYPT = "datamig run encrypt-user-data"
UNDO = "datamig rollback encrypt-user-data"

ROLE = "sql 'DROP ROLE IF EXISTS migrator; CREATE ROLE migrator'"

SCENES = {
    "README.md": Scene(
        ends={".venv/bin/datamig validate": 3},
        read_as={r"^export FIELD": "unset FIELD_ENCRYPTION_KEY\nexport FIELD"},
    ),
    "docs/tutorial/first-migration.md": Scene(first="unset DATABASE_URL FIELD_ENCRYPTION_KEY"),
    "docs/how-to/archives.md": Scene(first="datamig run cleanup-audit-logs"),
    "docs/how-to/back-up-and-restore.md": Scene(
        before={'datamig restore "before cleanup-orphaned"': "datamig run cleanup-orphaned --force"}
    ),
    "docs/how-to/be-gentle.md": Scene(
        first=f"""{ROLE}; sql "CREATE TABLE jobs (state text)"; mkdir myapp
            echo "async def is_busy(): return False" > myapp/operations.py""",
        last="sql 'DROP ROLE migrator'",
    ),
    "docs/how-to/pgbouncer.md": Scene(
        first=ROLE, ends={'pooler = "transaction"': 2}, last="sql 'DROP ROLE migrator'"
    ),
    "docs/how-to/cleanups.md": Scene(
        first="""sql 'ALTER TABLE users ADD "deletedAt" timestamp;
            UPDATE users SET "deletedAt" = now() - interval $$60 days$$
            WHERE id = (SELECT min(id) FROM users)'"""
    ),
    "docs/how-to/backup-stores.md": Scene(read_as={"s3://my-backups/taaxdog": "backups"}),
    "docs/how-to/compare-databases.md": Scene(
        before={"datamig checksum --diff": 'createdb -T "$PGDATABASE" "$OTHER"'},
        arguments={"here_url": "$DATABASE_URL", "there_url": "$OTHER_URL"},
    ),
    "docs/how-to/custom-migration.md": Scene(
        first="""sql 'DROP SCHEMA public CASCADE; CREATE SCHEMA public;
            CREATE TABLE users (id bigint PRIMARY KEY, state text);
            CREATE TABLE cards (owner bigint PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
            INSERT INTO users SELECT n, $$nsw$$ FROM generate_series(1, 3000) AS n'""",
        before={"datamig new-migration uppercase-state --imperative": "rm *uppercase_state.py"},
        ends={"DATAMIG_FAILPOINT=before-commit:3": 137},
    ),
    "docs/how-to/deploy-script.md": Scene(before={"datamig plan": UNDO}),
    "docs/how-to/find-leaks.md": Scene(ends=FOUND),
    "docs/how-to/keys.md": Scene(
        first="unset FIELD_ENCRYPTION_KEY",
        before={"export FIELD_ENCRYPTION_KEYS=": "datamig keys generate --out new.key"},
    ),
    "docs/how-to/monitor.md": Scene(
        first="mkdir metrics", read_as={"/var/lib/node_exporter/textfile": "metrics", "127.0.0.1:9464": ":0"}
    ),
    "docs/how-to/passwords.md": Scene(
        first="export PASSWORD_PEPPERS=2026:$(printf 5e6f%.0s {1..16})",
        arguments={"email": "$(sql 'SELECT min(email) FROM users')", "candidate": "a guess"},
    ),
    "docs/how-to/production.md": Scene(
        first="datamig backup create",
        before={"datamig plan encrypt-user-data --out": UNDO},
        ends={"datamig validate --output": 3},
    ),
    "docs/how-to/stop-and-undo.md": Scene(
        before={
            "datamig pause": "going_run encrypt-user-data",
            "datamig cancel": UNDO + "; killed_run encrypt-user-data --batch-size 50",
            UNDO: ENCRYPT,
        }
    ),
    "docs/how-to/troubleshoot.md": Scene(first="datamig run cleanup-sessions", ends=FOUND),
    "docs/how-to/validate-in-ci.md": Scene(ends={**FOUND, "datamig validate --baseline": 0}),
    "docs/reference/archive-format.md": Scene(
        needs=("zstd", "jq"),
        first="datamig run cleanup-audit-logs",
        read_as={r"7f3a\.\.\.": '"$(archive_id)"'},
    ),
    "docs/reference/field-token.md": Scene(needs=("node",)),
    "docs/reference/password-hashes.md": Scene(needs=("node",)),
    "docs/reference/backup-format.md": Scene(
        first=f"export BACKUP_KEY={KEY}; datamig backup create",
        read_as={"20260131T100000Z-01234567": '"$(backup_id)"'},
    ),
    "docs/reference/settings.md": Scene(first="mkdir myapp; touch myapp/__init__.py myapp/migrations.py"),
    "docs/reference/checksum.md": Scene(first="sql 'CREATE TABLE t (b text, a integer, c numeric(10,2))'"),
    "docs/reference/cli.md": Scene(
        before={
            "datamig validate --baseline": "datamig validate --output report.json || true",
            "datamig archive show": "datamig run cleanup-audit-logs",
            "datamig restore latest --database": 'datamig backup create; createdb "$OTHER"',
            'datamig restore "before cleanup-orphaned"': "datamig run cleanup-orphaned",
            "datamig run encrypt-user-data --plan": "datamig plan encrypt-user-data --out plan.json",
            "datamig rollback encrypt-user-data": "datamig rollback migrate-passwords",
            "datamig new-migration uppercase-state --imperative": "mkdir -p myapp/migrations",
            "datamig pause": "going_run encrypt-user-data",
            "datamig cancel": UNDO + "; killed_run encrypt-user-data --batch-size 50",
            "datamig keys rotate --dry-run": 'export FIELD_ENCRYPTION_KEYS="new:$(datamig keys generate)"',
            "datamig checksum --diff": 'dropdb "$OTHER"; createdb -T "$PGDATABASE" "$OTHER"',
        },
        ends={
            **FOUND,
            "datamig validate --baseline": 0,
            "datamig validate --list": 0,
            "datamig interactive": 2,
        },
        read_as={r"demo$": "demo --users 300", r"--users 50000": "--users 300"},
    ),
}

#: What stands for something of the reader's own, on any page.
READ_AS = {
    r"postgresql://user@host/database": "$DATABASE_URL",
    r"postgresql://\w+-host/taaxdog": "$OTHER_URL",
    r"createdb -h \S+ taaxdog": 'createdb "$OTHER"',
    r"\bRUN_ID\b": '"$(run_id)"',
    r"\bUSER_ID\b": '"$(user_id)"',
    r"\bARCHIVE_ID\b": '"$(archive_id)"',
    r"\bBACKUP_ID\b": '"$(backup_id)"',
    r"\.venv/bin/datamig": "datamig",
    r"--users 1000\b": f"--users {USERS}",
}

#: By page: how a line begins, or the first line of a block of another language, and why it is not executed.
LEFT_OUT = {
    "README.md": {"python3 -m venv": "installs from a registry; see tests/docs/test_readme.py"},
    "docs/tutorial/first-migration.md": {
        "python3 -m venv": "installs from a registry",
        ".venv/bin/python -m pip": "installs from a registry",
    },
    "docs/how-to/backup-stores.md": {"pip install": "installs from a registry"},
    "docs/how-to/custom-migration.md": {
        "DATAMIG_FAILPOINT=after-transform:1:stop": "waits for SIGCONT, as tests/unit/test_forking.py gives"
    },
    "docs/how-to/monitor.md": {"pip install": "installs from a registry"},
    "docs/how-to/passwords.md": {
        "// @ts-check": "needs its sibling and npm's libraries: tests/unit/test_password_pages.py",
        'import { compare, hash } from "bcryptjs";': "the calls of tests/unit/test_password_pages.py",
    },
}

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
CODE = [block for block in BLOCKS if block.language not in LISTINGS]
OF_PAGE = {page: [block for block in CODE if block.page == page] for page in {block.page for block in CODE}}


def scene_of(page: str) -> Scene:
    scene = SCENES.get(page, Scene())
    return attrs.evolve(scene, read_as={**scene.read_as, **READ_AS})


def of_language(*languages: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return pytest.mark.parametrize("block", [b for b in CODE if b.language in languages], ids=str)


def test_every_block_says_what_it_is() -> None:
    """A block without a language, or with one that nothing here executes, would pass unseen."""
    assert {str(block): block.language for block in CODE if block.language not in LANGUAGES} == {}


def test_scenes_and_exceptions_are_of_lines_that_are_there() -> None:
    """What is no longer used is taken out."""
    unused = []
    for page in {*SCENES, *LEFT_OUT}:
        scene = SCENES.get(page, Scene())
        lines = [line.strip() for block in OF_PAGE.get(page, []) for line in block.lines]
        keys = [*scene.before, *scene.ends, *LEFT_OUT.get(page, {})]
        unused += [(page, key) for key in keys if not any(matching(line, [key]) for line in lines)]
        unused += [(page, key) for key in scene.read_as if not any(re.search(key, line) for line in lines)]
    assert unused == []


def test_exceptions_that_are_executed_elsewhere_are() -> None:
    for page, reasons in LEFT_OUT.items():
        for reason in reasons.values():
            for path in re.findall(r"tests/\S+\.py", reason):
                assert (ROOT / path).is_file(), f"{path} of {page}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs/how-to").glob("*.md")), ids=lambda page: page.stem)
def test_a_how_to_begins_with_what_it_is_for(page: Path) -> None:
    title, _, rest = page.read_text("utf-8").partition("\n\n")
    assert title.startswith("# ")
    assert re.match(r"[A-Z`]", rest), "words come before code, tables and lists"
    assert not rest.startswith("```")


@of_language("toml")
def test_settings_are_settings(block: Block, tmp_path: Path) -> None:
    if is_settings(block):
        (tmp_path / "datamig.toml").write_text(block.text)
        Settings.load(config=tmp_path / "datamig.toml", environ={})
    else:
        assert tomllib.loads(block.text)["project"]


@of_language("json")
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@of_language("python")
def test_python_is_whole(block: Block) -> None:
    """It is what a file may hold."""
    compile(block.text, str(block), "exec")


async def build(dsn: str) -> None:
    await load_sample(dsn, users=USERS, faults=True, seed=1)


@pytest.fixture(scope="module")
def datamig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with opened(tmp_path_factory.mktemp("door")) as words:
        yield words


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where an embedded server's account finds a way to, too."""
    with tempfile.TemporaryDirectory(prefix="datamig-docs-", dir="/tmp") as path:
        Path(path).chmod(0o755)
        yield Path(path)


def failure_of(place: Folder, block: Block, scene: Scene, left_out: list[str]) -> Failed | None:
    try:
        place.execute(block, scene, left_out)
    except Failed as failed:
        return failed
    return None


@pytest.mark.slow  # nox -s docs
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", sorted(OF_PAGE))
def test_a_page_is_done_from_the_top_down(
    page: str,
    folder: Path,
    datamig: str,
    template_database: Callable[[str, Callable[[str], Awaitable[None]]], str],
    database_from: Callable[[str], str],
) -> None:
    database = database_from(template_database("docs_sample", build))
    scene, left_out = scene_of(page), list(LEFT_OUT.get(page, {}))
    if missing := [tool for tool in scene.needs if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    # Given back to whoever drops it.
    other = database_from("template0")
    place = Folder.prepare(folder, datamig, database, other, FIELD_ENCRYPTION_KEY=KEY)
    place.shell('dropdb "$OTHER"\n' + scene.first)
    for block in OF_PAGE[page]:
        problem = failure_of(place, block, scene, left_out)
        if problem:
            pytest.fail(f"{block}\n{problem}", pytrace=False)
    place.shell(scene.last)

"""Code blocks of the documentation, and how each kind is executed in a reader's folder."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import attrs

from taaxdog_datamig.embedded.binaries import find_binaries

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

#: What is read, not executed: listings and forms, and what the site's builder executes.
LISTINGS = ("text", "{eval-rst}")

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"\s+# .*$")


@attrs.frozen
class Block:
    """A fenced block."""

    #: The page's path from the root of the project.
    page: str
    #: Where its code begins.
    line: int
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its lines; those that go on behind a backslash as one."""
        return self.text.replace("\\\n", " ").splitlines()

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, from the top down."""
    text = page.read_text("utf-8")
    return [
        Block(
            page=str(page.relative_to(ROOT)),
            line=text.count("\n", 0, found.start(3)) + 1,
            language=found[2],
            text=textwrap.dedent(found[3]),
        )
        for found in _FENCE.finditer(text)
    ]


@attrs.frozen(kw_only=True)
class Scene:
    """What a page takes for granted.

    Keys are how a line of a shell's block begins, or the first line of a block of another language.
    """

    #: Shell commands before the page.
    first: str = ""
    #: Shell commands after it.
    last: str = ""
    #: Shell commands before a line.
    before: Mapping[str, str] = attrs.field(factory=dict)
    #: How a command ends, where that is not 0: its exit code. The longest key counts.
    ends: Mapping[str, int] = attrs.field(factory=dict)
    #: What stands on the page for something of the reader's own (a regular expression), and what it is here.
    read_as: Mapping[str, str] = attrs.field(factory=dict)
    #: Programs without which the page is skipped.
    needs: tuple[str, ...] = ()
    #: Arguments of the page's functions, by name; variables of the shell stand for their values.
    arguments: Mapping[str, str] = attrs.field(factory=dict)

    def script(self, block: Block, left_out: Sequence[str]) -> str:
        """The block as bash runs it here."""
        lines = []
        for line in block.lines:
            bare = _COMMENT.sub("", line).strip()
            if matching(bare, left_out):
                continue
            lines += [self.before[key] for key in matching(bare, self.before)]
            lines.append(self.ended(bare, bare))
        return self.here("\n".join(lines))

    def ended(self, command: str, line: str) -> str:
        """The command, which ends as that line's does."""
        code = self.ends[max(keys, key=len)] if (keys := matching(line, self.ends)) else 0
        return f"{command} && false || [ $? = {code} ]" if code else command

    def here(self, text: str) -> str:
        """The text with what it is here."""
        for pattern, here in self.read_as.items():
            text = re.sub(pattern, lambda _, here=here: here, text, flags=re.MULTILINE)
        return text


def matching(line: str, keys: Sequence[str] | Mapping[str, object]) -> list[str]:
    """The keys with which the line begins."""
    return [key for key in keys if f"{line} ".startswith(key if key.endswith("=") else f"{key} ")]


#: Commands of the reader's machine, and what tells us the ids that a page stands for.
_PRELUDE = """
set -eE
trap 'echo "failed ($?): $BASH_COMMAND" >&2' ERR
killed_run() { DATAMIG_FAILPOINT=before-commit:3 datamig run "$@" || [ $? = 137 ]; }
going_run() {
  datamig run "$@" --batch-size 1 &
  until [ "$(sql "SELECT count(*) FROM datamig.chunks JOIN datamig.runs r ON r.id = run_id
                  WHERE r.status = 'running'")" -gt 3 ]; do sleep 0.1; done
}
run_id() { sql "SELECT id FROM datamig.runs WHERE status <> 'rolled_back' ORDER BY started_at DESC LIMIT 1"; }
user_id() { sql "SELECT min(id) FROM users"; }
archive_id() { basename "$(ls -td archives/*/ | head -n 1)"; }
backup_id() { basename "$(ls -td backups/*/ | head -n 1)"; }
"""


class Failed(Exception):
    """A block did not do what its page says."""


@attrs.frozen
class Folder:
    """A reader's folder, with this checkout's `datamig` on PATH. What a block exports, the next one has."""

    path: Path
    _exported: dict[str, str]

    @classmethod
    def prepare(cls, path: Path, datamig: str, database: str, other: str, **more: str) -> Folder:
        """Make one.

        Args:
            path: an empty folder.
            datamig: a shell's words for the command.
            database: URL of the page's database.
            other: URL of a second one that need not exist.
            more: further variables.
        """
        shims = path / ".bin"
        shims.mkdir()
        for name, command in {
            "datamig": f'{datamig} "$@"',
            "python": f'{shlex.quote(sys.executable)} "$@"',
            "pip": "false  # nothing is installed here: see LEFT_OUT",
            "sql": 'psql -XAtq -v ON_ERROR_STOP=1 "$DATABASE_URL" <<< "$1"',
        }.items():
            (shims / name).write_text(f"#!/bin/bash\nexec {command}\n")
            (shims / name).chmod(0o755)
        (path / "docs").symlink_to(ROOT / "docs")
        server = urlsplit(database)
        asked = parse_qs(server.query)
        return cls(
            path,
            {
                # The client programs of the embedded server are as new as any server here.
                "PATH": f"{shims}:{find_binaries().folder}:{os.environ['PATH']}",
                "PYTHONPATH": f"{ROOT}:{ROOT / 'cli'}",
                "HOME": str(path),
                "SHELL": "/bin/bash",
                "LANG": "C.UTF-8",
                "DATABASE_URL": database,
                "OTHER_URL": other,
                "OTHER": urlsplit(other).path.lstrip("/"),
                "PGDATABASE": server.path.lstrip("/"),
                "PGHOST": asked.get("host", [server.hostname or ""])[0],
                "PGPORT": asked.get("port", [str(server.port or 5432)])[0],
                "PGUSER": server.username or "",
                "PGPASSWORD": server.password or "",
                **more,
            },
        )

    def shell(self, script: str, timeout: float = 300) -> None:
        """Run a script; what it exports is kept.

        Raises:
            Failed: with the end of what it said.
        """
        kept, said = self.path / ".exported", self.path / ".said"
        whole = f"{_PRELUDE}\n{script}\nenv -0 > {shlex.quote(str(kept))}\n"
        with said.open("w+") as out:
            process = subprocess.Popen(
                ["bash", "-c", whole],
                cwd=self.path,
                env=self._exported,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if code:
            raise Failed(f"{script}\n--\n{said.read_text()[-4000:]}")
        pairs = (entry.partition("=") for entry in kept.read_text().split("\0") if entry)
        self._exported.clear()
        self._exported.update({name: value for name, _, value in pairs})

    def execute(self, block: Block, scene: Scene, left_out: Sequence[str]) -> None:
        """Execute a block by its language."""
        beginning = block.lines[0]
        if block.language == "sh":
            self.shell(scene.script(block, left_out))
            return
        if matching(beginning, left_out):
            return
        for key in matching(beginning, scene.before):
            self.shell(scene.before[key])
        for command in self._commands(block, beginning, scene):
            self.shell(command)

    def _commands(self, block: Block, beginning: str, scene: Scene) -> Iterator[str]:
        driver = shlex.join([sys.executable, str(Path(__file__).with_name("driver.py"))])
        match block.language:
            case "python":
                named = re.fullmatch(r"# (\S+\.py)", beginning)
                file = self.path / (named[1] if named else f"block_{block.line}.py")
                file.parent.mkdir(parents=True, exist_ok=True)
                with file.open("a") as code:
                    code.write(scene.here(block.text))
                words = [f'{name}="{value}"' for name, value in scene.arguments.items()]
                yield " ".join([driver, shlex.quote(str(file)), only_coroutine(block) or "''", *words])
            case "toml" if is_settings(block):
                (self.path / "datamig.toml").write_text(scene.here(block.text))
                yield scene.ended("datamig list", beginning)
            case "sql":
                yield f"sql {shlex.quote(block.text)}"
            case "js":
                file = self.path / f"block_{block.line}.mjs"
                file.write_text(block.text)
                yield f"node {file.name}"


#: How each language is executed, for whoever meets another one.
LANGUAGES = ("sh", "python", "toml", "sql", "json", "js", "ts")


def only_coroutine(block: Block) -> str:
    """The function that the block defines with `async def`, if there is exactly one."""
    found = [node.name for node in ast.parse(block.text).body if isinstance(node, ast.AsyncFunctionDef)]
    return found[0] if len(found) == 1 else ""


def is_settings(block: Block) -> bool:
    """A toml block of datamig.toml, and not of a package's pyproject.toml."""
    return not block.text.startswith("[project")

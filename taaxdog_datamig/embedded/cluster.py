"""The data folder: made by `initdb`, or copied from a template of it that is kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from taaxdog_datamig.embedded.account import Account
from taaxdog_datamig.embedded.binaries import Binaries
from taaxdog_datamig.errors import EmbeddedError

#: Counts up whenever INITDB or the layout of a template changes, so that older templates are not used.
TEMPLATE_FORMAT = 1

#: Superuser `postgres` without a password: whoever can enter the socket's folder may connect.
INITDB = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")

#: Keeps owners, modes and times, and shares blocks where the file system can (GNU cp does so by itself).
COPY = ("cp", "-a", "-c") if sys.platform == "darwin" else ("cp", "-a")


def prepare(data: Path, binaries: Binaries, account: Account, *, durable: bool) -> None:
    """Make `data` a cluster that `binaries` can open. An existing one is left as it is.

    Unless it is to be `durable`, a new one is copied from a template.

    Raises:
        EmbeddedError: `data` was made by another major version, is no cluster, or cannot be made.
    """
    version = data / "PG_VERSION"
    if version.exists():
        made_by = version.read_text("ascii").strip()
        if made_by != str(binaries.major):
            raise EmbeddedError(
                f"{data} was made by PostgreSQL {made_by}, and {binaries.folder} holds {binaries.version}",
                f"Name the programs of version {made_by} in DATAMIG_POSTGRES_BIN, or choose another folder",
            )
        return
    if data.exists():
        # A cluster gets its name when it is complete, so this is not one of ours.
        raise EmbeddedError(f"{data} is in the way and is no PostgreSQL cluster", "Choose another folder")
    # The template is copied, by root where we are root, before the account can plant links in the folder.
    new = data.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    # A durable cluster gets an initdb of its own: its files are synced, its system identifier is unique.
    template = None if durable else Template.locate(binaries, account)
    if template is None or not template.copy_to(new):
        _initdb(new, binaries, account, sync=durable)
        if template is not None:
            template.keep(new)
    new.rename(data)


def _initdb(data: Path, binaries: Binaries, account: Account, *, sync: bool) -> None:
    account.take(data.parent)
    options = INITDB if sync else (*INITDB, "--no-sync")
    result = account.run(binaries.folder / "initdb", "-D", data, *options)
    if result.returncode:
        shutil.rmtree(data, ignore_errors=True)
        raise EmbeddedError(f"initdb could not make {data}: {result.stderr.strip()[-500:]}")


@attrs.frozen
class Template:
    """A cluster as initdb leaves it, kept per server version and account.

    Layout of `folder`: `data/`, the cluster, and `files`, the number of files in it.
    """

    folder: Path

    @classmethod
    def locate(cls, binaries: Binaries, account: Account) -> Template | None:
        """Where the template for this server lies or will lie; None when nothing can be kept."""
        key = hashlib.sha256(binaries.version.encode()).hexdigest()[:12]
        uid = os.geteuid() if account.uid is None else account.uid
        for cache in _caches():
            if _private(cache):
                return cls(cache / f"postgres-{binaries.major}-{key}-format{TEMPLATE_FORMAT}-uid{uid}")
        return None

    def copy_to(self, data: Path) -> bool:
        """Copy the cluster to `data`, which does not exist; False when there is none to copy."""
        try:
            files = int((self.folder / "files").read_text("ascii"))
        except (OSError, ValueError):
            return False
        if _copy(self.folder / "data", data) and _count(data) == files:
            return True
        # Cleaners of caches remove single files: such a template is given up.
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def keep(self, data: Path) -> None:
        """Keep a copy of the cluster, if that is possible; whoever is first wins."""
        try:
            new = Path(tempfile.mkdtemp(prefix="new-", dir=self.folder.parent))
        except OSError:
            return
        try:
            if _copy(data, new / "data"):
                (new / "files").write_text(str(_count(data)), "ascii")
                new.rename(self.folder)
        except OSError:
            pass  # another process kept its copy first, or there is no room: the next start runs initdb
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _copy(source: Path, target: Path) -> bool:
    return subprocess.run([*COPY, source, target], check=False, capture_output=True).returncode == 0


def _count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))


def _caches() -> Iterator[Path]:
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the XDG base directory specification says to ignore such a value
        base = Path("~/.cache").expanduser()
    if base.is_absolute():
        yield base / "taaxdog-datamig"
    yield Path(tempfile.gettempdir()) / f"taaxdog-datamig-cache-{os.geteuid()}"


def _private(folder: Path) -> bool:
    """Make `folder`; whether it is ours and closed to everybody else, who could otherwise plant a cluster."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return (
        found.st_uid == os.geteuid()
        and found.st_mode & 0o077 == 0
        and not folder.is_symlink()
        and os.access(folder, os.W_OK)
    )

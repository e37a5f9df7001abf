"""The account a server runs under: ours, or, because PostgreSQL refuses root, another one that exists."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import attrs

from taaxdog_datamig.errors import EmbeddedError

#: The whole environment of what we start: no PGDATA, PGOPTIONS or locale of the caller leaks in.
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

#: Accounts that root steps down to, the first that exists.
UNPRIVILEGED = ("postgres", "nobody")


@attrs.frozen(kw_only=True)
class Account:
    """Who runs the server."""

    name: str
    #: None: the account of this process, nothing has to change.
    uid: int | None = None
    gid: int | None = None

    @classmethod
    def choose(cls, data: Path) -> Account:
        """Our own account; for root, the owner of the cluster in `data`, else `postgres` or `nobody`.

        Raises:
            EmbeddedError: we are root and there is no account to step down to.
        """
        if os.geteuid() != 0:
            return cls(name=str(os.geteuid()))
        if data.is_dir() and (owner := data.stat()).st_uid != 0:
            return cls(name=str(owner.st_uid), uid=owner.st_uid, gid=owner.st_gid)
        for name in UNPRIVILEGED:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(name=name, uid=entry.pw_uid, gid=entry.pw_gid)
        raise EmbeddedError(
            "PostgreSQL does not run as root, and there is neither an account 'postgres' nor 'nobody'",
            "Run as an ordinary user, or set DATABASE_URL",
        )

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end; its exit code is the caller's to judge.

        Raises:
            EmbeddedError: it cannot be started at all.
        """
        try:
            return subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                cwd="/",
                stdin=subprocess.DEVNULL,
                env=ENVIRONMENT,
                user=self.uid,
                group=self.gid,
                extra_groups=self._groups,
            )
        except OSError as error:
            raise self._refused(command, error) from None

    def spawn(
        self, *command: str | Path, stdin: int, output: int | IO[bytes], keep: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """Start `command` in a session of its own, so that a Ctrl-C meant for us does not reach it.

        Args:
            command: program and arguments.
            stdin: as in `subprocess.Popen`.
            output: where its standard output and error go.
            keep: descriptors it inherits.

        Raises:
            EmbeddedError: it cannot be started.
        """
        try:
            return subprocess.Popen(
                command,
                bufsize=0,  # a word to a process that is gone fails at once, not again when closing
                cwd="/",
                stdin=stdin,
                stdout=output,
                stderr=output,
                env=ENVIRONMENT,
                pass_fds=keep,
                start_new_session=True,
                user=self.uid,
                group=self.gid,
                extra_groups=self._groups,
            )
        except OSError as error:
            raise self._refused(command, error) from None

    def take(self, folder: Path) -> None:
        """Make `folder` this account's own."""
        if self.uid is not None and self.gid is not None:
            os.chown(folder, self.uid, self.gid, follow_symlinks=False)

    def enters(self, folder: Path) -> bool:
        """Whether this account may pass through all parents of `folder` and write into it."""
        return (
            self.run("/bin/sh", "-c", 'test -x "$0" && test -r "$0" && test -w "$0"', folder).returncode == 0
        )

    @property
    def _groups(self) -> list[int] | None:
        return None if self.uid is None else []

    def _refused(self, command: Sequence[str | Path], error: OSError) -> EmbeddedError:
        return EmbeddedError(
            f"cannot run {command[0]} as account {self.name}: {error.strerror}",
            "Run as an ordinary user, or set DATABASE_URL",
        )

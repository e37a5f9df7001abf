"""The server's process: how it is launched and ended, and where it listens once it is ready."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import attrs

from taaxdog_datamig.embedded.account import Account
from taaxdog_datamig.errors import EmbeddedError

#: Longest path of a Unix socket, bytes: sun_path holds 104 with its end on macOS, 108 on Linux.
SOCKET_PATH_LIMIT = 103

#: How long a server may take to shut down before it is told more firmly, seconds.
PATIENCE = 60.0

#: No network. The log never quotes a statement or a value (promise P5): only the server's own doings.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
}

#: For what need not outlive the machine, so nothing waits for the disk. It still survives a crash of the
#: server itself, except for the last commits; set `synchronous_commit` to `on` to keep those too.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@attrs.frozen
class Address:
    """Where a server listens."""

    pid: int
    #: The folder of its Unix socket.
    host: str
    port: str

    @property
    def socket(self) -> str:
        """Path of the Unix socket."""
        return f"{self.host}/.s.PGSQL.{self.port}"

    def dsn(self, database: str) -> str:
        """The URL of a database, as superuser."""
        return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(self.host)}&port={self.port}"

    @classmethod
    def of(cls, data: Path) -> Address | None:
        """Of the server that runs on `data` and takes connections; None when there is none.

        Lines of postmaster.pid: 1 process id, 4 port, 5 socket folder, 8 state (PostgreSQL's
        `utils/pidfile.h`).
        """
        try:
            lines = (data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return None
        if len(lines) < 8 or lines[7].strip() != "ready":  # noqa: PLR2004  see above
            return None
        address = cls(int(lines[0]), lines[4], lines[3])
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(address.socket)
            except OSError:
                return None  # the file was left behind by a server that was killed
        return address


class Postmaster:
    """A server process that we started.

    Args:
        programs: the folder of `postgres`.
        data: the cluster.
        settings: server settings.
        account: who runs it.
        log: the file its output is added to.
        lock: a locked descriptor, which all its processes inherit and so keep locked while they live.
    """

    def __init__(
        self,
        programs: Path,
        data: Path,
        settings: Mapping[str, str],
        *,
        account: Account,
        log: Path,
        lock: int,
    ) -> None:
        self._data, self._log = data, log
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # Not through a link: for root, `log` lies in a folder of a lesser account.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        with open(os.open(log, flags, 0o600), "ab") as output:  # noqa: PTH123  a descriptor
            self._said_before = output.tell()
            self._process = account.spawn(
                programs / "postgres",
                "-D",
                data,
                *options,
                stdin=subprocess.DEVNULL,
                output=output,
                keep=[lock],
            )
        self.pid = self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_ready(self, deadline: float) -> Address:
        """Wait until the server takes connections; `deadline` is a time of `time.monotonic`.

        Raises:
            EmbeddedError: it ended, or the deadline passed; the message holds what the server said.
        """
        while (address := Address.of(self._data)) is None:
            alive = self.alive
            if not alive or time.monotonic() > deadline:
                state = "is not ready in time" if alive else "does not start"
                raise EmbeddedError(
                    f"PostgreSQL {state} on {self._data}: {self._said() or 'no word from it'}"
                )
            time.sleep(0.005)
        return address

    def end(self, *, gently: bool) -> None:
        """End the server and wait until it has: gently with a checkpoint, else at once."""
        gentle = [signal.SIGINT] if gently else []
        for number in (*gentle, signal.SIGQUIT, signal.SIGKILL):
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE)
                return

    def crash(self) -> None:
        """Kill the process and wait until it is gone; its children end when they notice."""
        self._process.kill()
        self._process.wait()

    def _said(self) -> str:
        with self._log.open("rb") as log:
            log.seek(self._said_before)
            return log.read().decode(errors="replace").strip()[-1000:]

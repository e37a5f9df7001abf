"""EmbeddedServer: start, attach to, and stop a PostgreSQL server of our own."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread

from taaxdog_datamig.embedded.account import Account
from taaxdog_datamig.embedded.binaries import find_binaries
from taaxdog_datamig.embedded.claim import Claim
from taaxdog_datamig.embedded.cluster import prepare
from taaxdog_datamig.embedded.guard import MARKER, PREFIX, Guard
from taaxdog_datamig.embedded.postmaster import (
    FAST,
    PATIENCE,
    SETTINGS,
    SOCKET_PATH_LIMIT,
    Address,
    Postmaster,
)
from taaxdog_datamig.errors import EmbeddedError

LOG = "server.log"

#: Environment variable naming the folder in which throw-away servers lie.
FOLDER = "DATAMIG_EMBEDDED_DIR"

#: Where they lie otherwise: not $TMPDIR, whose path may be too long for a socket, or closed to the server's
#: account.
FOLDERS = ("/tmp", "/var/tmp")  # noqa: S108


class EmbeddedServer:
    """A PostgreSQL server that lives no longer than this process, not even after `kill -9`.

    Use it as a context manager, `async with` or `with`, or call `start` and `stop`.

    When another process runs the server of the same folder already, this one attaches to it: same
    `dsn`, and the server goes when its owner goes. After the server itself died, `start` starts it
    again at the same address.

    Args:
        data: a folder to keep the database in: one of ours, or an empty or new one. None: a temporary
            one that is removed with the server, in DATAMIG_EMBEDDED_DIR, else in /tmp. In memory
            (/dev/shm) a server makes databases and copies of them several times as fast.
        durable: what is committed survives a power cut. False trades that for speed. A throw-away
            server is never durable.
        settings: server settings that override ours, for example `{"max_connections": "200"}`.
    """

    def __init__(
        self, data: Path | None = None, *, durable: bool = True, settings: Mapping[str, str] | None = None
    ) -> None:
        self._kept = None if data is None else data.expanduser().absolute()
        self._durable = durable and data is not None
        self._settings = {**SETTINGS, **({} if self._durable else FAST), **(settings or {})}
        self._run: Path | None = None
        self._claim: Claim | None = None
        self._guard: Guard | None = None
        self._postmaster: Postmaster | None = None
        self._address: Address | None = None
        self._creator = os.getpid()
        # A stop after a cancelled start waits until the start, in its thread, is over.
        self._busy = threading.Lock()

    @property
    def dsn(self) -> str:
        """Where to connect, as superuser, to the database `postgres`.

        Raises:
            EmbeddedError: the server is not started.
        """
        return self.dsn_for("postgres")

    def dsn_for(self, database: str) -> str:
        """As `dsn`, for another database, which need not exist."""
        return self._running.dsn(database)

    @property
    def pid(self) -> int:
        """The postmaster's process id.

        Raises:
            EmbeddedError: the server is not started.
        """
        return self._running.pid

    def start(self, timeout: float = PATIENCE) -> str:
        """Start the server, or attach to it, and return `dsn`. When it runs already, nothing happens.

        Args:
            timeout: how long the server may take to be ready (after a crash it recovers first), seconds.

        Raises:
            EmbeddedError: no PostgreSQL, a folder that cannot be used, or the server does not start.
        """
        with self._busy:
            atexit.register(self.stop)
            try:
                self._address = self._start(time.monotonic() + timeout)
            except OSError as error:
                self._stop()
                raise EmbeddedError(
                    f"cannot use {error.filename or self._kept or 'a temporary folder'}: {error.strerror}",
                    "The embedded server needs a folder that belongs to this account",
                ) from None
            except BaseException:
                self._stop()
                raise
        return self.dsn

    def stop(self) -> None:
        """Stop the server if this process started it, and remove what was temporary. May be repeated."""
        # A forked child inherits this object, but not the right to end its parent's server.
        if os.getpid() == self._creator:
            with self._busy:
                self._stop()

    def crash(self) -> None:
        """Kill the server with SIGKILL, for tests of what happens then. `start` starts it again.

        Raises:
            EmbeddedError: this process does not own a running server.
        """
        with self._busy:
            if self._postmaster is None:
                raise EmbeddedError("the embedded server is not this process's own", "Its owner can kill it")
            self._postmaster.crash()

    async def aclose(self) -> None:
        """As `stop`."""
        # Under cancellation too: a server must not be left behind.
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self.stop)

    async def __aenter__(self) -> Self:
        try:
            await anyio.to_thread.run_sync(self.start)
        except BaseException:
            # asyncio's own cancellation passes through at once, with the start under way in its thread.
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _running(self) -> Address:
        if self._address is None:
            raise EmbeddedError("the embedded server is not started", "Call start() or use `async with`")
        return self._address

    def _start(self, deadline: float) -> Address:
        if self._postmaster is not None and self._postmaster.alive:
            return self._postmaster.wait_ready(deadline)
        self._let_go()
        root = self._kept or self._make_run_folder()
        self._claim = Claim(root)
        attached = self._claim.settle(deadline)
        return attached or self._launch(root, self._claim).wait_ready(deadline)

    def _launch(self, root: Path, claim: Claim) -> Postmaster:
        data = root / "data"
        account = Account.choose(data)
        run = self._make_run_folder()
        binaries = find_binaries().reachable(account)
        if self._kept is not None:
            _hand_over(root, account)
        if self._guard is None:
            quit_signal = signal.SIGQUIT if self._kept is None else signal.SIGINT
            self._guard = Guard(run, account, data, quit_signal)
        prepare(data, binaries, account, durable=self._durable)
        account.take(run)
        if stranger := Address.of(data):
            raise EmbeddedError(
                f"a server that was started by other means (process {stranger.pid}) runs on {data}",
                "Stop it first, or set DATABASE_URL to its address",
            )
        # What is left of it is stale: we hold the lock. PostgreSQL cannot know, since ids are used again.
        (data / "postmaster.pid").unlink(missing_ok=True)
        settings = {"unix_socket_directories": str(run), **self._settings}
        self._postmaster = Postmaster(
            binaries.folder, data, settings, account=account, log=root / LOG, lock=claim.descriptor
        )
        self._guard.watch(self._postmaster.pid)
        return self._postmaster

    def _make_run_folder(self) -> Path:
        """A temporary folder for the socket, and for everything when the server is a throw-away one."""
        if self._run is None:
            named = os.environ.get(FOLDER)
            base = named or next((folder for folder in FOLDERS if os.access(folder, os.W_OK)), None)
            self._run = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base)).absolute()
            (self._run / MARKER).touch()
            if len(os.fsencode(Address(0, str(self._run), "65535").socket)) > SOCKET_PATH_LIMIT:
                todo = f"Name a shorter one in {FOLDER}" if named else "Make /tmp writable"
                raise EmbeddedError(f"the path {self._run} is too long for a socket", todo)
        return self._run

    def _let_go(self) -> None:
        """End our server, or detach from another's; the temporary folder and the guard stay."""
        self._address = None
        if self._claim is not None:
            self._claim.resign()
        if self._postmaster is not None:
            self._postmaster.end(gently=self._kept is not None)
            self._postmaster = None
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    def _stop(self) -> None:
        self._let_go()
        run, self._run = self._run, None
        if run is not None:
            shutil.rmtree(run, ignore_errors=True)
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None
        atexit.unregister(self.stop)


def _hand_over(root: Path, account: Account) -> None:
    """Let the server's account work in `root`, and be sure that it gets there."""
    account.take(root)
    if not account.enters(root):
        raise EmbeddedError(
            f"account {account.name}, which runs the server because root cannot, has no way to {root}",
            "Choose a folder outside of closed ones such as /root, for example under /var/tmp",
        )

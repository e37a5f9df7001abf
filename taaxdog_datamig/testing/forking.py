"""Processes that start in milliseconds: one that has imported everything forks them.

Python takes the better part of a second to import the engine. Who starts dozens of processes, to kill them,
pays that once. What is forked is a process like any other: its own memory, descriptors, environment and
folder; a signal ends it, and its exit code tells how it ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Self

import anyio
import attrs
import orjson

#: What the server and its children say: a process id, an exit code, a length.
NUMBER = struct.Struct("!i")
#: Said in place of an exit code when the child has stopped.
STOPPED = 256


@attrs.frozen
class Forked:
    """A process that the server has forked."""

    pid: int
    _status: socket.socket

    def wait(self) -> int:
        """Wait for its end; returns its code as `subprocess` has it, negative after a signal.

        When the wait is broken off the process is killed, and is gone afterwards.
        """
        with self._status:
            try:
                return self._code()
            except ChildProcessError:
                raise
            except BaseException:
                self._kill()
                raise

    async def ended(self, when_stopped: Callable[[], Awaitable[None]] | None = None) -> int:
        """As `wait`. When it stops itself `when_stopped` is called, and then it goes on."""
        with self._status:
            try:
                while True:
                    await anyio.wait_readable(self._status)
                    number = _read(self._status)
                    if number != STOPPED:
                        return number
                    if when_stopped is not None:
                        await when_stopped()
                        os.kill(self.pid, signal.SIGCONT)
            except ChildProcessError:
                raise
            except BaseException:
                self._kill()
                raise

    def _code(self) -> int:
        while (number := _read(self._status)) == STOPPED:
            pass
        return number

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._code()


class ForkServer:
    """Forks processes that have these modules imported. A context manager.

    Args:
        modules: what is imported beforehand. It sees this process's environment, not the children's.
    """

    def __init__(self, *modules: str) -> None:
        self._door, theirs = socket.socketpair()
        path = os.pathsep.join(part for part in sys.path if part)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__spec__.parent}.forkserver", str(theirs.fileno()), *modules],
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                # Neither is a terminal, and a child's would be seen as one otherwise.
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(
        self,
        target: str,
        *words: str,
        stdin: int,
        stdout: int,
        stderr: int = 2,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Forked:
        """Fork a process that calls `target`, a "module:function", and exits with what it returns.

        Args:
            target: called without arguments.
            words: `sys.argv` after the program's name.
            stdin: a descriptor, as are `stdout` and `stderr`.
            stdout: not closed here.
            stderr: by default ours.
            cwd: its folder, by default ours. It imports from there first, and then from where we do.
            env: its whole environment; by default ours.

        Raises:
            ChildProcessError: the server is gone.
        """
        call = {
            "target": target,
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "path": sys.path,
            "env": dict(os.environ if env is None else env),
        }
        request = orjson.dumps(call)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                descriptors = [stdin, stdout, stderr, theirs.fileno()]
                socket.send_fds(self._door, [NUMBER.pack(len(request))], descriptors)
                self._door.sendall(request)
            return Forked(_read(ours), ours)
        except OSError as error:
            ours.close()
            raise ChildProcessError("the fork server is gone") from error

    def close(self) -> None:
        """End the server; children go on to their end."""
        self._door.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _read(status: socket.socket) -> int:
    data = status.recv(NUMBER.size, socket.MSG_WAITALL)
    if len(data) < NUMBER.size:
        raise ChildProcessError("the fork server is gone")  # which is an OSError
    return int(NUMBER.unpack(data)[0])

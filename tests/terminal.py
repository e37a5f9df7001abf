"""A pseudo-terminal: keys in, screen out."""

from __future__ import annotations

import codecs
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

ENTER, SPACE, UP, DOWN, ESCAPE = "\r", " ", "\x1b[A", "\x1b[B", "\x1b"
CTRL_C, CTRL_D, BACKSPACE = "\x03", "\x04", "\x7f"

#: Seconds; a loaded machine is slow.
PATIENCE = 60


class _Answering(pyte.Screen):
    """A screen that answers where its cursor is, as terminals do."""

    master: int

    def write_process_input(self, data: str) -> None:
        os.write(self.master, data.encode())


class Terminal:
    """A command at a terminal of its own, which is also its controlling one: Ctrl-C is a signal there.

    Args:
        command: the words of the command.
        folder: where it is called.
        env: its whole environment; TERM among it.
        columns: of the screen.
        lines: of the screen.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        folder: Path,
        env: dict[str, str],
        columns: int = 80,
        lines: int = 24,
    ) -> None:
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen = _Answering(columns, lines)
        self.screen.master = self._master
        self._stream, self._decoder = pyte.Stream(self.screen), codecs.getincrementaldecoder("utf-8")()
        #: All that was ever written to it.
        self.written = ""
        # The leader of a session gets the terminal that it opens first.
        opening = ["/bin/sh", "-c", 'exec <>"$1"; shift; exec "$@"', "sh", os.ttyname(slave)]
        self.process = subprocess.Popen(
            [*opening, *command],
            stdin=subprocess.DEVNULL,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=env,
            start_new_session=True,
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    @property
    def told(self) -> str:
        """All that was ever written, without what steers the terminal."""
        return re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[()].|[=>78])", "", self.written)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            os.write(self._master, key.encode())

    def wait_for(self, *patterns: str) -> str:
        """Read until the screen shows all of them at once; returns the screen.

        A screen is drawn bit by bit: what stands below a pattern may still be missing.

        Raises:
            AssertionError: it does not.
        """
        until = time.monotonic() + PATIENCE
        while missing := [pattern for pattern in patterns if not re.search(pattern, self.text)]:
            assert self.read(until - time.monotonic()), f"no {missing} on the screen:\n{self.text}"
        return self.text

    def leave(self) -> int:
        """Read until the command ends; returns its exit code."""
        until = time.monotonic() + PATIENCE
        while self.read(until - time.monotonic()):
            pass
        return self.process.wait(max(until - time.monotonic(), 0))

    def read(self, seconds: float) -> bool:
        """Show what comes within that time; whether there was something."""
        ready, _, _ = select.select([self._master], [], [], max(seconds, 0))
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # how Linux says that nobody holds the other end
            data = b""
        text = self._decoder.decode(data)
        self.written += text
        self._stream.feed(text)
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

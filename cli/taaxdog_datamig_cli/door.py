"""The way in: what must hold before anything else is imported, which takes a moment.

Ctrl-C in that moment would show where Python was; nothing has begun then, and a word is enough.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run the command line that this process was called with and return its exit code."""
    _open_streams()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else ignored, as by `nohup`
        signal.signal(signal.SIGINT, _leave)
    from taaxdog_datamig_cli.main import main as command

    return command()


def begun() -> None:
    """From here on Ctrl-C is `KeyboardInterrupt`, as usual."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"error: interrupted; nothing was begun\n")
    os._exit(130)


def _open_streams() -> None:
    """Open the standard streams that the caller has closed (`>&-`): the next file would be in their place."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115

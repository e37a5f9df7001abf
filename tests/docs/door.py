"""`datamig` on a reader's PATH without Python's start each time: a fork server behind a Unix socket."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from taaxdog_datamig.testing.forking import ForkServer
from tests.acceptance.calling import modules

#: Hands over its descriptors, folder, words and environment; ends as the command ends.
_CALLER = """
import json, os, signal, socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect(sys.argv[1])
call = json.dumps({"words": sys.argv[2:], "cwd": os.getcwd(), "env": dict(os.environ)}).encode()
socket.send_fds(door, [len(call).to_bytes(4, "big")], [0, 1, 2])
door.sendall(call)
code = int.from_bytes(door.recv(4, socket.MSG_WAITALL), "big", signed=True)
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[str]:
    """A shell's words for a program that is `datamig`."""
    caller, path = folder / "caller.py", folder / "door"
    caller.write_text(_CALLER)
    with ForkServer(*modules()) as server, socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        threading.Thread(target=_serve, args=(door, server), daemon=True).start()
        yield shlex.join([sys.executable, "-S", "-E", str(caller), str(path)])
        door.shutdown(socket.SHUT_RDWR)


#: The fork server takes one request after the other.
_TURN = threading.Lock()


def _serve(door: socket.socket, server: ForkServer) -> None:
    with contextlib.suppress(OSError):  # it was closed
        while True:
            caller, _ = door.accept()
            threading.Thread(target=_answer, args=(caller, server), daemon=True).start()


def _answer(caller: socket.socket, server: ForkServer) -> None:
    with caller:
        head, descriptors, _, _ = socket.recv_fds(caller, 4, 3)
        call = json.loads(caller.recv(struct.unpack("!i", head)[0], socket.MSG_WAITALL))
        stdin, stdout, stderr = descriptors
        try:
            with _TURN:
                process = server.start(
                    "taaxdog_datamig_cli.main:main",
                    *call["words"],
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    cwd=Path(call["cwd"]),
                    env=call["env"],
                )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        with contextlib.suppress(BrokenPipeError):
            caller.sendall(process.wait().to_bytes(4, "big", signed=True))

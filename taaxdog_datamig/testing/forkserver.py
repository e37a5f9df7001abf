"""The process that forks: `python -m taaxdog_datamig.testing.forkserver DESCRIPTOR MODULE...`.

It imports the modules, and reads requests from the socket of that descriptor until its other end is closed. A
request is its length, with the child's three descriptors and the socket for its status, and then JSON. The
status is the child's process id, `STOPPED` each time it stops, and its exit code. Numbers are four bytes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any

import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.testing.forking import NUMBER, STOPPED


def _serve(door: socket.socket) -> dict[str, Any] | None:
    """Fork a child for each request. Returns in each child, with its request; None: the end."""
    bell, rung = socket.socketpair()
    rung.setblocking(False)  # noqa: FBT003  its only parameter
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(rung.fileno())
    children: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([door, bell], [], [])
        if bell in ready:
            bell.recv(4096)
            _reap(children)
        if door not in ready:
            continue
        head, descriptors, _, _ = socket.recv_fds(door, NUMBER.size, 4)
        if not head:
            return None
        (size,) = NUMBER.unpack(head)
        request: dict[str, Any] = orjson.loads(door.recv(size, socket.MSG_WAITALL))
        status = socket.socket(fileno=descriptors.pop())
        if pid := os.fork():
            status.sendall(NUMBER.pack(pid))
            children[pid] = status
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        signal.set_wakeup_fd(-1)
        for open_one in (door, bell, rung, status, *children.values()):
            open_one.close()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return request


def _reap(children: dict[int, socket.socket]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
        if not pid:
            return
        # Nobody may be waiting for it any more.
        with contextlib.suppress(BrokenPipeError):
            if os.WIFSTOPPED(status):
                children[pid].sendall(NUMBER.pack(STOPPED))
                continue
            with children.pop(pid) as door:
                door.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def main() -> Any:
    """The server, and what each of its children does."""
    number, *modules = sys.argv[1:]
    for name in modules:
        importlib.import_module(name)
    # Ctrl-C goes to the whole group: the children's to answer.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    request = _serve(socket.socket(fileno=int(number)))
    if request is None:
        return 0
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, before)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[:] = [request["cwd"], *request["path"]]
    sys.argv[1:] = request["words"]
    failpoints.arm()
    module, _, function = request["target"].partition(":")
    return getattr(importlib.import_module(module), function)()


if __name__ == "__main__":
    sys.exit(main())

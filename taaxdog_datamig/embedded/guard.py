"""The guard: a small shell process that ends the server and removes our folder when we cannot.

Its standard input is a pipe from us. It reads the server's process id from it, again after a restart,
and the word `stopped` when we have cleaned up ourselves. When the pipe ends without that word we are
dead, even by SIGKILL.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

from taaxdog_datamig.embedded.account import Account

#: Our folders are called this, plus eight random characters from `tempfile.mkdtemp`.
PREFIX = "datamig-"

#: A file in each folder that may be removed.
MARKER = ".datamig-temporary"

# $1 our folder, $2 the signal, $3 the server's postmaster.pid, which it removes when it ends by itself.
# While we live, the server's id cannot pass to another process: the server is our child, and it is only
# reaped right before `stopped` or the next id is written. The guard has the server's account, not root's.
SCRIPT = f"""
pid=
while read -r word; do
    case $word in
        stopped) exit 0 ;;
        *) pid=$word ;;
    esac
done
if [ -n "$pid" ]; then
    kill -s "$2" "$pid"
    tries=0
    while kill -0 "$pid" && [ -e "$3" ] && [ $tries -lt 600 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
fi
case ${{1##*/}} in
    {PREFIX}????????)
        [ -f "$1/{MARKER}" ] && [ ! -L "$1" ] && rm -rf -- "$1"
        ;;
esac
"""


class Guard:
    """Watches over one server for as long as this process lives."""

    def __init__(self, folder: Path, account: Account, data: Path, quit_signal: signal.Signals) -> None:
        """Start the guard for `folder`, which holds MARKER."""
        self._process = account.spawn(
            "/bin/sh",
            "-c",
            SCRIPT,
            "datamig-guard",
            folder,
            quit_signal.name.removeprefix("SIG"),
            data / "postmaster.pid",
            stdin=subprocess.PIPE,
            output=subprocess.DEVNULL,
        )

    def watch(self, pid: int) -> None:
        """Make `pid` the server that is ended when we die."""
        self._tell(str(pid))

    def dismiss(self) -> None:
        """Let the guard go: the server is stopped and the folder removed."""
        self._tell("stopped")
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _tell(self, word: str) -> None:
        assert self._process.stdin is not None
        # Somebody may have killed the guard; then there is nobody to tell.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{word}\n".encode())

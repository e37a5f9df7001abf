"""Who owns a cluster: two lock files in its folder say so.

Every process of the server inherits the descriptor of `datamig.lock`, so it is locked exactly as long as
some process of the cluster lives, also after `kill -9` of the postmaster or of its owner, and a stale
`postmaster.pid` deceives nobody. `datamig.owner` is locked by the owner alone, for as long as it means to
keep the server: nobody attaches to a server that is about to go.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from taaxdog_datamig.embedded.guard import MARKER
from taaxdog_datamig.embedded.postmaster import Address
from taaxdog_datamig.errors import EmbeddedError

LOCK = "datamig.lock"
OWNER = "datamig.owner"


class Claim:
    """The open lock files of the cluster in `root`.

    Raises:
        EmbeddedError: the folder holds other things; for root, its owner is about to change.
    """

    def __init__(self, root: Path) -> None:
        found = {item.name for item in root.iterdir()} if root.exists() else set()
        if found and not found & {LOCK, MARKER}:
            raise EmbeddedError(f"{root} is not empty and holds no embedded server", "Choose another folder")
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        #: Of the lock that the server's processes share.
        self.descriptor = os.open(root / LOCK, flags, 0o600)
        try:
            self._owner = os.open(root / OWNER, flags, 0o600)
        except OSError:
            os.close(self.descriptor)
            raise

    def settle(self, deadline: float) -> Address | None:
        """Become the owner (None), or find the address of the owner's server.

        Raises:
            EmbeddedError: neither until `deadline`, a time of `time.monotonic`.
        """
        while time.monotonic() < deadline:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                fcntl.flock(self._owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if self._has_owner() and (address := Address.of(self._root / "data")):
                    return address
                time.sleep(0.02)
            else:
                return None
        raise EmbeddedError(
            f"{self._root} is in use by a server that does not become ready",
            "Wait until the process that uses it has ended, or end it",
        )

    def resign(self) -> None:
        """Say that the server is about to go."""
        fcntl.flock(self._owner, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the claim up; the server's processes may still hold theirs."""
        os.close(self._owner)
        os.close(self.descriptor)

    def _has_owner(self) -> bool:
        try:
            fcntl.flock(self._owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._owner, fcntl.LOCK_UN)
        return False

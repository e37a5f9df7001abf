"""A streaming standby of an embedded server."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

import pytest

from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.embedded.account import Account
from taaxdog_datamig.embedded.binaries import find_binaries
from taaxdog_datamig.embedded.guard import MARKER
from tests.sample import rows


@contextlib.asynccontextmanager
async def standby_of(primary: str, folder, *options: str, settings: dict[str, str]) -> AsyncIterator[str]:
    """The URL of a standby that keeps its data in `folder`; `options` are further ones of pg_basebackup."""
    program = find_binaries().folder / "pg_basebackup"
    if not program.exists():
        pytest.skip(f"there is no {program}")
    ((host,), (port,)) = await rows(
        primary,
        "SELECT setting FROM pg_settings WHERE name IN ('port', 'unix_socket_directories')"
        " ORDER BY name DESC",
    )
    account = Account.choose(folder)
    folder.mkdir()
    if account.uid is not None:
        os.chown(folder, account.uid, account.gid)
    place = ("-D", folder / "data", "-h", host, "-p", port, "-U", "postgres")
    copied = account.run(program, *place, "-R", "-c", "fast", "-N", *options)
    assert copied.returncode == 0, copied.stderr
    (folder / MARKER).touch()
    async with EmbeddedServer(folder, durable=False, settings=settings) as standby:
        yield standby.dsn

"""The embedded server when somebody is killed: the owner, the server, the guard; and two owners at once."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest

from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.embedded.account import Account
from taaxdog_datamig.embedded.guard import MARKER, Guard
from taaxdog_datamig.errors import EmbeddedError

#: A process that starts a server, says where it is, and stops it when its standard input ends.
OWNER = """
import json, sys
from pathlib import Path
from taaxdog_datamig.embedded import EmbeddedServer
server = EmbeddedServer(*map(Path, sys.argv[1:]), durable=False)
server.start()
print(json.dumps([server.dsn, server.pid, str(server._run)]), flush=True)
sys.stdin.read()
"""


class Owner:
    def __init__(self, *data: Path, script: str = OWNER) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *data], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def wait_started(self) -> None:
        self.dsn, self.pid, folder = json.loads(self.process.stdout.readline())
        self.folder = Path(folder)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def owner():
    """`owner(*data)`: another process that owns a server, or attaches to one."""
    with contextlib.ExitStack() as stack:

        def start(*data, wait=True, script=OWNER):
            other = Owner(*data, script=script)
            stack.enter_context(other.process)  # ends its input, waits
            if wait:
                other.wait_started()
            return other

        yield start


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # Nobody may have collected a process whose parent is gone; it is over all the same.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


def wait_until(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


async def run(dsn: str, statement: str):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


def test_a_killed_owner_takes_server_and_folder_with_it(owner):
    killed = owner()
    assert alive(killed.pid)
    assert killed.folder.exists()
    killed.kill()
    wait_until(lambda: not alive(killed.pid) and not killed.folder.exists())


async def test_a_killed_owner_of_kept_data_leaves_the_data_only(owner, data_folder):
    killed = owner(data_folder)
    await run(killed.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    killed.kill()
    # Not waiting for the guard: the next start waits for the old server, and does not attach to it.
    async with EmbeddedServer(data_folder, durable=False) as server:
        assert await run(server.dsn, "SELECT n FROM kept") == 7
    assert not alive(killed.pid)
    wait_until(lambda: not killed.folder.exists())


async def test_a_killed_server_is_started_again_at_the_same_address_with_its_data(data_folder):
    async with EmbeddedServer(data_folder) as server:
        before = server.dsn, server.pid
        await run(server.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        server.crash()
        server.start()
        assert server.dsn == before[0]
        assert server.pid != before[1]
        assert await run(server.dsn, "SELECT n FROM kept") == 7


async def test_a_throw_away_server_survives_its_kill_too():
    async with EmbeddedServer(settings={"synchronous_commit": "on"}) as server:
        await run(server.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        server.crash()
        server.start()
        assert await run(server.dsn, "SELECT n FROM kept") == 7


def test_after_a_restart_the_guard_watches_the_new_server(owner):
    restarted = owner(script=OWNER.replace("print", "server.crash(); server.start(); print", 1))
    restarted.kill()
    wait_until(lambda: not alive(restarted.pid) and not restarted.folder.exists())


async def test_owner_and_server_killed_together_leave_nothing_that_deceives(owner, data_folder):
    killed = owner(data_folder)
    await run(killed.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    await run(killed.dsn, "CHECKPOINT")
    os.kill(killed.pid, signal.SIGKILL)
    killed.kill()
    assert "ready" in (data_folder / "data" / "postmaster.pid").read_text()
    async with EmbeddedServer(data_folder, durable=False) as server:
        assert await run(server.dsn, "SELECT n FROM kept") == 7


async def test_a_stale_pid_file_naming_a_living_process_is_no_obstacle(data_folder):
    server = EmbeddedServer(data_folder, durable=False)
    server.start()
    running = (data_folder / "data" / "postmaster.pid").read_text()
    server.stop()
    (data_folder / "data" / "postmaster.pid").write_text(
        running.replace(running.split()[0], str(os.getpid()), 1)
    )
    async with server:
        assert await run(server.dsn, "SELECT 1") == 1


async def test_a_killed_guard_does_not_disturb_the_stop():
    server = EmbeddedServer()
    server.start()
    folder, pid = server._run, server.pid
    server._guard._process.kill()
    server._guard._process.wait()
    server.stop()
    assert not folder.exists()
    assert not alive(pid)


async def test_two_processes_at_once_share_one_server(owner, data_folder):
    both = [owner(data_folder, wait=False) for _ in range(2)]
    for one in both:
        one.wait_started()
    assert both[0].pid == both[1].pid
    assert both[0].dsn == both[1].dsn
    # One more that comes and goes changes nothing.
    async with EmbeddedServer(data_folder, durable=False) as third:
        assert third.pid == both[0].pid
    assert await run(both[0].dsn, "SELECT 1") == 1


def test_a_server_started_by_other_means_is_left_alone(owner, data_folder):
    other = owner(data_folder)
    for lock in ("datamig.lock", "datamig.owner"):  # now it looks like one: alive, and without our locks
        (data_folder / lock).unlink()
        (data_folder / lock).touch()
    with pytest.raises(EmbeddedError, match=f"by other means .process {other.pid}"):
        EmbeddedServer(data_folder).start()
    assert alive(other.pid)


FORKING = OWNER.replace("sys.stdin.read()", "").replace(
    "server.start()",
    """server.start()
import os
if (child := os.fork()) == 0:
    sys.exit()  # runs what was registered with atexit
os.waitpid(child, 0)
server.start()""",
)


def test_a_forked_child_does_not_end_its_parents_server(owner):
    parent = owner(
        script=FORKING.replace("server.start()\nimport os", "server.start()\nimport os; first = server.pid")
        + "\nassert server.pid == first\n"
    )
    parent.process.wait()
    assert parent.process.returncode == 0
    # Its normal end, by contrast, does.
    assert not alive(parent.pid)
    assert not parent.folder.exists()


@pytest.mark.parametrize(
    ("name", "marked", "removed"),
    [
        ("datamig-abcd1234", True, True),
        ("datamig-abcd1234", False, False),
        ("datamig-abcd1234 and more", True, False),
        ("precious", True, False),
    ],
)
def test_the_guard_removes_nothing_but_a_folder_of_ours(data_folder, name, marked, removed):
    account = Account.choose(data_folder)
    account.take(data_folder.parent)
    folder = data_folder.parent / name
    folder.mkdir()
    account.take(folder)
    if marked:
        (folder / MARKER).touch()
    link = data_folder.parent / "datamig-linklink"
    link.symlink_to(folder)
    for given in (link, folder):
        guard = Guard(given, account, data_folder, signal.SIGQUIT)
        guard._process.stdin.close()  # as when we die
        guard._process.wait()
        if given is link:
            assert folder.exists()
    assert folder.exists() is not removed

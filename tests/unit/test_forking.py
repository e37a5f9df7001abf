"""What is forked is a process like any other."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import anyio
import pytest

from taaxdog_datamig import failpoints
from taaxdog_datamig.testing.forking import ForkServer


def tell() -> int:
    """What the children do: tell who and where they are, and end with what they are told to."""
    print(Path.cwd(), sys.path[0], sys.argv[1:], dict(os.environ), sys.stdin.read())  # noqa: T201
    print("said", file=sys.stderr)  # noqa: T201
    failpoints.hit("before-commit")
    time.sleep(float(os.environ.get("SLEEP", "0")))
    return int(sys.argv[1])


@pytest.fixture(scope="module")
def server():
    with ForkServer() as started:
        yield started


@pytest.fixture
def start(server, tmp_path):
    """`start(*words, **env)`: the process, and what it has said on its two outputs."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write("given")
        given.seek(0)
        pipes = {"stdin": given.fileno(), "stdout": out.fileno(), "stderr": err.fileno()}

        def said():
            out.seek(0)
            err.seek(0)
            return out.read(), err.read()

        yield (
            lambda *words, **env: server.start(f"{__name__}:tell", *words, cwd=tmp_path, env=env, **pipes),
            said,
        )


def test_it_has_words_folder_environment_descriptors_and_an_exit_code_of_its_own(start, tmp_path):
    fork, said = start
    assert fork("3", "x", ONE="1").wait() == 3
    assert said() == (f"{tmp_path} {tmp_path} ['3', 'x'] {{'ONE': '1'}} given\n", "said\n")


def test_it_can_be_killed_from_within_and_from_without(start):
    fork, _ = start
    assert fork("0", **{failpoints.VARIABLE: "before-commit"}).wait() == -signal.SIGKILL
    process = fork("0", SLEEP="60")
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM
    assert fork("0").wait() == 0


async def test_what_is_done_when_it_stops_itself_is_done_before_it_goes_on(start):
    fork, said = start
    seen = []

    async def when_stopped():
        seen.append(said()[1])

    assert await fork("7", **{failpoints.VARIABLE: "before-commit:1:stop"}).ended(when_stopped) == 7
    assert seen == ["said\n"]


async def test_it_is_gone_when_the_wait_for_it_is_broken_off(start):
    fork, _ = start
    process = fork("0", SLEEP="60")
    with anyio.move_on_after(0.05) as scope:
        await process.ended()
    assert scope.cancelled_caught
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_server_that_is_gone_is_an_error():
    server = ForkServer()
    server.close()
    with pytest.raises(ChildProcessError, match="the fork server is gone"):
        server.start(f"{__name__}:tell", stdin=0, stdout=1, stderr=2)

"""What the embedded server promises while nothing is killed. For the rest see faults/."""

# ruff: noqa: ASYNC240  nothing else runs in these event loops that could be held up

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import asyncpg
import pytest

from taaxdog_datamig.embedded import EmbeddedServer, account, binaries, cluster, find_binaries
from taaxdog_datamig.embedded.account import Account
from taaxdog_datamig.embedded.postmaster import SOCKET_PATH_LIMIT
from taaxdog_datamig.embedded.server import FOLDER
from taaxdog_datamig.errors import EmbeddedError

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root steps down to another account")


async def ask(dsn: str, *statements: str):
    """Execute the statements; the first value of the last one."""
    connection = await asyncpg.connect(dsn)
    try:
        *first, last = statements
        for statement in first:
            await connection.execute(statement)
        return await connection.fetchval(last)
    finally:
        await connection.close()


@pytest.fixture
def own_cache(monkeypatch):
    """A cache for templates that nobody else uses."""
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setenv("XDG_CACHE_HOME", folder)
        yield Path(folder, "taaxdog-datamig")


async def test_a_throw_away_server_serves_and_leaves_nothing_behind():
    async with EmbeddedServer(settings={"work_mem": "5MB"}) as server:
        socket_folder = Path(await ask(server.dsn, "SHOW unix_socket_directories"))
        assert await ask(server.dsn, "SHOW work_mem") == "5MB"
        assert await ask(server.dsn, "SHOW fsync") == "off"
        await ask(server.dsn, 'CREATE DATABASE "odd / name?"', "SELECT 1")
        assert await ask(server.dsn_for("odd / name?"), "SELECT current_database()") == "odd / name?"
        assert socket_folder.exists()
        # Nobody else gets in: no network, and a folder closed to other accounts.
        assert await ask(server.dsn, "SHOW listen_addresses") == ""
        assert socket_folder.stat().st_mode & 0o077 == 0
    assert not socket_folder.exists()
    with pytest.raises(EmbeddedError, match="not started"):
        _ = server.dsn
    server.stop()


async def test_the_server_never_runs_as_root_and_no_account_is_created():
    accounts = Path("/etc/passwd").read_bytes()
    async with EmbeddedServer() as server:
        folder = Path(await ask(server.dsn, "SHOW unix_socket_directories"))
        owner = (folder / ".s.PGSQL.5432").stat().st_uid
    assert owner != 0
    assert owner == os.geteuid() or os.geteuid() == 0
    assert Path("/etc/passwd").read_bytes() == accounts


async def test_a_long_tmpdir_does_not_lengthen_the_socket_path(tmp_path, monkeypatch):
    long = tmp_path / ("long" * 25)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    async with EmbeddedServer() as server:
        folder = await ask(server.dsn, "SHOW unix_socket_directories")
    assert len(f"{folder}/.s.PGSQL.65535".encode()) <= SOCKET_PATH_LIMIT < len(str(long))


async def test_kept_data_is_there_after_a_restart(data_folder):
    server = EmbeddedServer(data_folder)
    await ask(server.start(), "CREATE TABLE kept AS SELECT 7 AS n", "SELECT 1")
    assert await ask(server.dsn, "SHOW fsync") == "on"
    server.stop()
    with server:
        assert await ask(server.dsn, "SELECT n FROM kept") == 7


def test_data_of_another_major_version_is_refused_and_both_are_named(data_folder):
    (data_folder / "data").mkdir(parents=True)
    (data_folder / "data" / "PG_VERSION").write_text("12\n")
    (data_folder / "datamig.lock").touch()
    with pytest.raises(EmbeddedError, match=rf"made by PostgreSQL 12, .*{find_binaries().major}\."):
        EmbeddedServer(data_folder).start()


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_folder_with_other_things_in_it_is_left_alone(data_folder, place):
    precious = data_folder / "precious"
    data_folder.mkdir()
    precious.write_text("mine")
    before = data_folder.stat()
    with pytest.raises(EmbeddedError, match=r"not empty|Not a directory"):
        EmbeddedServer(data_folder if place == "folder" else precious).start()
    after = data_folder.stat()
    assert (after.st_uid, after.st_mode, after.st_mtime_ns) == (
        before.st_uid,
        before.st_mode,
        before.st_mtime_ns,
    )


def test_a_server_that_does_not_start_says_why_and_leaves_nothing_behind(monkeypatch):
    server = EmbeddedServer(settings={"shared_buffers": "nonsense"})
    made = []
    monkeypatch.setattr(
        tempfile, "mkdtemp", lambda *a, real=tempfile.mkdtemp, **k: made.append(real(*a, **k)) or made[-1]
    )
    with pytest.raises(EmbeddedError, match=r'does not start.*"shared_buffers": "nonsense"'):
        server.start()
    assert made
    assert not [folder for folder in made if Path(folder).exists()]


async def test_a_cancelled_start_leaves_no_server(monkeypatch):
    server = EmbeddedServer()
    starting = asyncio.create_task(server.__aenter__())
    while server._run is None:
        await asyncio.sleep(0.001)
    folder = server._run
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not folder.exists()
    assert server._postmaster is None
    assert server._guard is None


async def test_the_log_holds_no_values(data_folder):
    async with EmbeddedServer(data_folder, durable=False) as server:
        await ask(server.dsn, "CREATE TABLE t (v text PRIMARY KEY)", "INSERT INTO t VALUES ('s3cret')")
        with pytest.raises(asyncpg.UniqueViolationError):
            await ask(server.dsn, "INSERT INTO t VALUES ('s3cret')")
        with pytest.raises(asyncpg.InvalidTextRepresentationError):
            await ask(server.dsn, "SELECT 's3cret'::int")
        with pytest.raises((asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)):
            await ask(server.dsn, "SELECT 's3cret', pg_terminate_backend(pg_backend_pid())")
    log = (data_folder / "server.log").read_text()
    assert "terminating connection" in log
    assert "s3cret" not in log


# --- the cached template


async def test_the_second_server_copies_the_template_instead_of_running_initdb(own_cache, monkeypatch):
    with EmbeddedServer():
        pass
    monkeypatch.setattr(cluster, "_initdb", lambda *_, **__: pytest.fail("initdb ran again"))
    async with EmbeddedServer() as server:
        assert await ask(server.dsn, "SELECT 1") == 1


def test_a_damaged_template_is_made_anew(own_cache):
    with EmbeddedServer():
        (template,) = own_cache.iterdir()
    (template / "data" / "global" / "pg_control").unlink()
    with EmbeddedServer():
        assert (template / "data" / "global" / "pg_control").exists()


def test_without_a_place_for_templates_initdb_runs_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    with EmbeddedServer() as server:
        assert server.pid


def test_a_template_in_a_folder_that_others_can_open_is_not_used(own_cache, tmp_path, monkeypatch):
    own_cache.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    chosen = cluster.Template.locate(find_binaries(), Account.choose(own_cache))
    assert chosen is not None
    assert chosen.folder.parent.parent == tmp_path


# --- finding the programs


def fake(folder: Path, version: str = "", *, program: str | None = None) -> Path:
    """A folder with scripts in the place of PostgreSQL's programs."""
    folder.mkdir(parents=True)
    for name in ("postgres", "initdb"):
        (folder / name).write_text(program or f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(binaries, "WHEELS", ())
    monkeypatch.setattr(binaries, "USUAL_FOLDERS", ())


def test_without_postgresql_the_error_says_what_to_install_or_set(nothing_installed):
    with pytest.raises(EmbeddedError) as caught:
        find_binaries({"PATH": ""})
    for way_out in ("taaxdog-datamig[demo]", "PATH", "DATAMIG_POSTGRES_BIN", "DATABASE_URL"):
        assert way_out in caught.value.todo


def test_a_wheel_is_found_before_path_and_never_imported(nothing_installed, tmp_path, monkeypatch):
    bin_folder = fake(tmp_path / "site" / "a_postgres_wheel" / "pginstall" / "bin", "18.1")
    (tmp_path / "site" / "a_postgres_wheel" / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(binaries, "WHEELS", ("missing_wheel", "a_postgres_wheel"))
    on_path = fake(tmp_path / "path", "19.0")
    assert find_binaries({"PATH": str(on_path)}).folder == bin_folder
    assert "a_postgres_wheel" not in sys.modules


def test_usual_folders_are_tried_newest_first_and_what_does_not_run_is_passed_over(
    nothing_installed, tmp_path, monkeypatch
):
    for version in ("9.6", "10.2", "17.4"):
        fake(tmp_path / version / "bin", version)
    fake(tmp_path / "18" / "bin", program="\x7fELF not of this machine")
    monkeypatch.setattr(binaries, "USUAL_FOLDERS", (str(tmp_path / "*/bin"),))
    assert find_binaries({"PATH": ""}).major == 17
    # What is on PATH was chosen by somebody and comes first, whatever its version.
    assert find_binaries({"PATH": str(tmp_path / "10.2" / "bin")}).major == 10


def test_a_link_on_path_leads_to_the_real_folder_and_a_wrapper_is_taken_as_it_is(nothing_installed, tmp_path):
    real = fake(tmp_path / "real", "16.0")
    links = tmp_path / "links"
    links.mkdir()
    (links / "postgres").symlink_to(real / "postgres")
    assert find_binaries({"PATH": str(links)}).folder == real
    wrapped = fake(tmp_path / "wrapped", "15.0")
    (tmp_path / "wrapper").write_text((wrapped / "postgres").read_text())
    (tmp_path / "wrapper").chmod(0o755)
    (wrapped / "postgres").unlink()
    (wrapped / "postgres").symlink_to(tmp_path / "wrapper")
    assert find_binaries({"PATH": str(wrapped)}).folder == wrapped


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda folder: (folder / "initdb").unlink(), "holds no initdb"),
        (lambda folder: (folder / "postgres").chmod(0o644), "is not executable"),
        (lambda folder: (folder / "postgres").write_text("\x7fELF"), "does not run here"),
        (
            lambda folder: (folder / "postgres").write_text("#!/bin/sh\necho no library >&2; exit 127"),
            "no lib",
        ),
    ],
)
def test_the_folder_named_on_purpose_is_used_or_the_error_says_what_is_wrong(tmp_path, damage, why):
    folder = fake(tmp_path / "bin", "18.0")
    assert find_binaries({"DATAMIG_POSTGRES_BIN": str(folder)}).folder == folder
    damage(folder)
    with pytest.raises(EmbeddedError, match=rf"{why}.*DATAMIG_POSTGRES_BIN"):
        find_binaries({"DATAMIG_POSTGRES_BIN": str(folder)})


# --- as root


@pytest.fixture
def closed_binaries(tmp_path, monkeypatch):
    """PostgreSQL in a folder that only root can read, and a place for a copy of it."""
    install = find_binaries().folder.parent
    closed = tmp_path / "closed" / install.parent.name
    closed.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    (closed / install.name).mkdir()
    for part in binaries.PARTS:
        subprocess.run(["cp", "-a", install / part, closed / install.name / part], check=True)
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    if libraries.is_dir():
        subprocess.run(["cp", "-a", libraries, tmp_path / "closed" / libraries.name], check=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as shared:
        Path(shared).chmod(0o1777)
        monkeypatch.setattr(binaries, "SHARED", Path(shared))
        monkeypatch.setenv("DATAMIG_POSTGRES_BIN", str(closed / install.name / "bin"))
        yield Path(shared)


@root_only
async def test_programs_that_the_account_cannot_read_are_copied_once(closed_binaries):
    async with EmbeddedServer() as server:
        assert await ask(server.dsn, "SELECT 1") == 1
    (copy,) = closed_binaries.iterdir()
    made = copy.stat().st_ino
    some_file = next(file for file in copy.rglob("*.bki"))
    with EmbeddedServer():
        assert copy.stat().st_ino == made
    some_file.unlink()  # as cleaners of temporary folders do
    with EmbeddedServer():
        assert some_file.exists()
    # Somebody else's folder under that name is refused, not run.
    os.chown(copy, 65534, 65534)
    with pytest.raises(EmbeddedError, match="only root can write"):
        EmbeddedServer().start()


@root_only
def test_root_says_when_the_account_has_no_way_to_the_folder(tmp_path):
    (tmp_path / "closed").mkdir(mode=0o700)
    with pytest.raises(EmbeddedError, match=r"no way to .*closed.*/var/tmp"):
        EmbeddedServer(tmp_path / "closed" / "data").start()


@root_only
async def test_root_opens_a_users_data_as_that_user(data_folder, monkeypatch):
    monkeypatch.setattr(account, "UNPRIVILEGED", ("nobody",))
    with EmbeddedServer(data_folder, durable=False):
        pass
    owner = (data_folder / "data").stat().st_uid
    monkeypatch.setattr(account, "UNPRIVILEGED", ("daemon",))
    async with EmbeddedServer(data_folder, durable=False) as server:
        assert await ask(server.dsn, "SELECT 1") == 1
    assert data_folder.stat().st_uid == (data_folder / "data").stat().st_uid == owner


AS_USER = """
import asyncio, os, asyncpg
from taaxdog_datamig.embedded import EmbeddedServer
async def main():
    async with EmbeddedServer() as server:
        connection = await asyncpg.connect(server.dsn)
        print(os.geteuid(), await connection.fetchval("SELECT 'served by ' || current_user"))
        await connection.close()
# Once as root, since the other account may have no way to modules that are imported late.
asyncio.run(main())
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
asyncio.run(main())
"""


@root_only
def test_an_ordinary_user_without_a_home_needs_nothing_special(monkeypatch):
    reachable = find_binaries().reachable(Account(name="nobody", uid=65534, gid=65534))
    monkeypatch.setenv("DATAMIG_POSTGRES_BIN", str(reachable.folder))
    monkeypatch.setenv("HOME", "/nonexistent")
    done = subprocess.run([sys.executable, "-c", AS_USER], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0 served by postgres\n65534 served by postgres\n", "")


async def test_a_throw_away_server_lies_where_the_environment_says(tmp_path, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="dm", dir="/tmp") as named:
        Path(named).chmod(0o755)
        monkeypatch.setenv(FOLDER, named)
        with EmbeddedServer() as server:
            folder = Path(await ask(server.dsn, "SHOW data_directory"))
            assert folder.is_relative_to(named)
        assert not list(Path(named).iterdir())
    monkeypatch.setenv(FOLDER, str(tmp_path / "not there"))
    with pytest.raises(EmbeddedError, match=r"cannot use .*not there"):
        EmbeddedServer().start()
    monkeypatch.setenv(FOLDER, str(tmp_path / ("long" * 25)))
    (tmp_path / ("long" * 25)).mkdir()
    with pytest.raises(EmbeddedError, match=f"shorter one in {FOLDER}"):
        EmbeddedServer().start()
    monkeypatch.delenv(FOLDER)
    with EmbeddedServer() as server:
        assert Path(await ask(server.dsn, "SHOW data_directory")).is_relative_to("/tmp")

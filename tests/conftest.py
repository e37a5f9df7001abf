"""One server for the whole run, and databases made from templates in milliseconds.

Exactly one server runs, also under pytest-xdist: the process that the user started owns it, hands its
address to the workers, and stops it; when that process is killed, the server goes with it.
Set DATAMIG_TEST_DATABASE_URL to a superuser's URL to test against a server of your own.
Ours lie in memory where there is room, since a database is some seven hundred files, and a disk takes ten
times as long to copy them; DATAMIG_EMBEDDED_DIR names another folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import attrs
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.embedded.server import FOLDER
from tests import sample as sample_module

URL = "DATAMIG_TEST_DATABASE_URL"

#: Key of the advisory lock under which templates are made; any number that nobody else uses.
TEMPLATE_LOCK = 8_224_711_039


#: A file system in memory, and the room that the run's databases need there, bytes.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30


@attrs.define
class TestServer:
    """The run's server as the process that owns it sees it."""

    __test__ = False

    #: Part of the name of each database of this run.
    run: str = attrs.field(factory=lambda: secrets.token_hex(4))
    _embedded: EmbeddedServer | None = None
    _dsn: str | None = None

    def dsn(self) -> str:
        """Start the server when it is first asked for."""
        if self._dsn is None:
            self._dsn = os.environ.get(URL)
        if self._dsn is None:
            self._embedded = EmbeddedServer()
            self._dsn = self._embedded.start()
        return self._dsn

    def close(self) -> None:
        if self._embedded is not None:
            self._embedded.stop()
        elif self._dsn is not None:
            with start_blocking_portal() as portal:
                portal.call(_drop_all, self._dsn, self.run)


SERVER = pytest.StashKey[TestServer]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _prepare_environment(config)
        config.stash[SERVER] = TestServer()


def _prepare_environment(config: pytest.Config) -> None:
    """For this process, its workers, and all that they start."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        # The second is where `tmp_path` lies.
        for variable in (FOLDER, "PYTEST_DEBUG_TEMPROOT"):
            os.environ.setdefault(variable, str(MEMORY))
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        # Not beside the sources, then: but dozens of processes would compile all of them, each for itself.
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(config.rootpath / ".pytest_cache" / "bytecode"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist in the owning process, once for each worker."""
    server = node.config.stash[SERVER]
    node.workerinput["datamig"] = (server.dsn(), server.run)


def pytest_unconfigure(config: pytest.Config) -> None:
    if SERVER in config.stash:
        config.stash[SERVER].close()


@pytest.fixture(scope="session")
def run_server(request: pytest.FixtureRequest) -> tuple[str, str]:
    """URL of the run's server, and the part of database names that marks this run."""
    if given := getattr(request.config, "workerinput", {}).get("datamig"):
        return tuple(given)
    server = request.config.stash[SERVER]
    return server.dsn(), server.run


@pytest.fixture(scope="session")
def server_dsn(run_server: tuple[str, str]) -> str:
    """The maintenance database of the run's server. Tests work in their own `database`."""
    return run_server[0]


@attrs.frozen
class Databases:
    """Makes and drops databases over one connection, in a thread: for async and other tests alike."""

    _portal: BlockingPortal
    _connection: asyncpg.Connection
    _dsn: str
    _run: str

    def create(self, template: str = "template0") -> str:
        """A new database; returns its URL."""
        name = f"datamig_test_{self._run}_{secrets.token_hex(4)}"
        self._portal.call(self._copy, name, template)
        return with_database(self._dsn, name)

    def drop(self, dsn: str) -> None:
        name = urlsplit(dsn).path.lstrip("/")
        self._portal.call(self._connection.execute, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def template(self, name: str, build: Callable[[str], Awaitable[None]]) -> str:
        """The template `name`, built once in the run, by whichever worker comes first."""
        return self._portal.call(self._template, f"datamig_test_{self._run}_{name}", build)

    async def _copy(self, name: str, template: str) -> None:
        # Copying files beats writing the copy to the log, all the more the larger the template is. Servers
        # before 15 know no other way, and no word for it.
        how = "STRATEGY FILE_COPY" if self._connection.get_server_version().major >= 15 else ""
        await self._connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {how}')

    async def _template(self, name: str, build: Callable[[str], Awaitable[None]]) -> str:
        unfinished = f"{name}_unfinished"
        await self._connection.execute("SELECT pg_advisory_lock($1)", TEMPLATE_LOCK)
        try:
            if not await self._connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                # Left by a worker that was killed.
                await self._connection.execute(f'DROP DATABASE IF EXISTS "{unfinished}" WITH (FORCE)')
                await self._copy(unfinished, "template0")
                await build(with_database(self._dsn, unfinished))
                # Nobody may be connected to what is copied; renaming waits until they are gone.
                await self._connection.execute(f'ALTER DATABASE "{unfinished}" ALLOW_CONNECTIONS false')
                await self._connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                    unfinished,
                )
                await self._connection.execute(f'ALTER DATABASE "{unfinished}" RENAME TO "{name}"')
        finally:
            await self._connection.execute("SELECT pg_advisory_unlock($1)", TEMPLATE_LOCK)
        return name


def with_database(dsn: str, name: str) -> str:
    """`dsn`, for another database of the same server."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def _drop_all(dsn: str, run: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        names = await connection.fetch(
            "SELECT datname FROM pg_database WHERE starts_with(datname, $1)", f"datamig_test_{run}_"
        )
        for (name,) in names:
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def databases(run_server: tuple[str, str]) -> Iterator[Databases]:
    dsn, run = run_server
    with start_blocking_portal() as portal:
        connection = portal.call(asyncpg.connect, dsn)
        try:
            yield Databases(portal, connection, dsn, run)
        finally:
            portal.call(connection.close)


@pytest.fixture(scope="session")
def template_database(databases: Databases) -> Callable[[str, Callable[[str], Awaitable[None]]], str]:
    """`template_database(name, build)`: a template's name, for `database_from`.

    `build(dsn)` fills it, in an event loop of another thread. It runs at most once in a run, over all
    workers, and must close its connections.
    """
    return databases.template


@pytest.fixture
def database_from(databases: Databases) -> Iterator[Callable[[str], str]]:
    """`database_from(template)`: the URL of a new copy of a template, dropped after the test."""
    made: list[str] = []

    def make(template: str) -> str:
        made.append(databases.create(template))
        return made[-1]

    yield make
    for dsn in made:
        databases.drop(dsn)


@pytest.fixture
def database(database_from: Callable[[str], str]) -> str:
    """The URL of an empty database of this test's own."""
    return database_from("template0")


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A path, with a space in it, for a server to keep its data at.

    Not pytest's `tmp_path`: a server started by root runs as another account, which has no way to it.
    """
    place = os.environ.get(FOLDER, "/tmp")
    with tempfile.TemporaryDirectory(prefix="datamig tests ", dir=place) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder, "kept data")


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with the tests' key, and nothing else that settings come from."""
    for name in list(os.environ):
        if name.startswith("FIELD_ENCRYPTION_") or name in {"DATABASE_URL", "BACKUP_DIR", "LOG_LEVEL"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("FIELD_ENCRYPTION_KEY", sample_module.KEY)
    monkeypatch.setenv("FIELD_ENCRYPTION_LEGACY_KEY", sample_module.LEGACY_KEY.hex())


Templates = Callable[[str, Callable[[str], Awaitable[None]]], str]


@pytest.fixture
def sample(keyed: None, template_database: Templates, database_from: Callable[[str], str]) -> str:
    """The URL of a sample database of this test's own: 1,000 users, with faults and legacy values."""
    return database_from(template_database("sample", sample_module.build))


@pytest.fixture
def sealed_sample(keyed: None, template_database: Templates, database_from: Callable[[str], str]) -> str:
    """As `sample`, after encrypt-user-data."""
    return database_from(template_database("sealed_sample", sample_module.build_sealed))


@pytest.fixture(scope="session")
def pristine(template_database: Templates, databases: Databases) -> Iterator[str]:
    """The sample for tests that only read it: one copy for all of them."""
    dsn = databases.create(template_database("sample", sample_module.build))
    yield dsn
    databases.drop(dsn)

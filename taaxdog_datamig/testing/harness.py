"""Copies of a database, and a migration on them: in this process or in one of its own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import secrets
import signal
import tempfile
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import attrs
import orjson

from taaxdog_datamig import failpoints
from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.engine.reports import RunOptions
from taaxdog_datamig.engine.runner import Runner
from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.migration import (
    DeclaredMigration,
    MigrationContext,
    NotApplicable,
    Registry,
    arguments_of,
)
from taaxdog_datamig.migrations import BUILTIN
from taaxdog_datamig.pg import Database
from taaxdog_datamig.profile import FittedProfile, Profile
from taaxdog_datamig.settings import Settings
from taaxdog_datamig.testing.forking import ForkServer
from taaxdog_datamig.testing.states import State, database_state, differences

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from taaxdog_datamig.engine.reports import RunReport
    from taaxdog_datamig.migration import BaseMigration, Target

#: What the processes do.
_CHILD = "taaxdog_datamig.testing.child"
#: Rows named in an assertion's message.
_SHOWN = 10


@attrs.frozen(kw_only=True)
class Ended:
    """A process that is over."""

    code: int
    report: dict[str, Any]
    seconds: float


@attrs.define
class Harness:
    """A migration, and the database whose copies it is tried on."""

    dsn: str
    migration: type[BaseMigration]
    builtin: bool
    options: Mapping[str, Any]
    environ: Mapping[str, str]
    copies: list[str] = attrs.field(factory=list)

    async def copy(self) -> str:
        """A copy of the database; returns its URL."""
        name = f"datamig_crash_{secrets.token_hex(4)}"
        source = urlsplit(self.dsn).path.lstrip("/")
        connection = await asyncpg.connect(self._at("postgres"))
        try:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        finally:
            await connection.close()
        self.copies.append(name)
        return self._at(name)

    async def drop_copies(self) -> None:
        """At the end."""
        connection = await asyncpg.connect(self._at("postgres"))
        try:
            for name in self.copies:
                await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    def _at(self, database: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))

    async def child(
        self,
        dsn: str,
        action: str = "run",
        *,
        failpoint: str = "",
        kill_after: float | None = None,
        settings: Mapping[str, Any] | None = None,
        when_stopped: Callable[[], Awaitable[None]] | None = None,
    ) -> Ended:
        """Run or roll back in a process of its own, which may die at a failpoint or after some seconds.

        With `when_stopped` it may also stop at a failpoint: that is called, and then the process goes on.
        """
        task = {
            "dsn": dsn,
            "migration": self.migration.name,
            "module": "" if self.builtin else self.migration.__module__,
            "class": self.migration.__qualname__,
            "action": action,
            "options": dict(self.options),
            "settings": dict(settings or {}),
        }
        environ = {**os.environ, **self.environ}
        environ.pop(failpoints.VARIABLE, None)
        if failpoint:
            environ[failpoints.VARIABLE] = failpoint
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answer:
            given.write(orjson.dumps(task))
            given.seek(0)
            process = _server().start(
                f"{_CHILD}:main", stdin=given.fileno(), stdout=answer.fileno(), env=environ
            )
            began = time.monotonic()  # the first has waited for the server's imports
            code = -signal.SIGKILL
            with anyio.move_on_after(kill_after):
                code = await process.ended(when_stopped)
            answer.seek(0)
            report = orjson.loads(answer.read() or b"{}")
        return Ended(code=code, report=report, seconds=time.monotonic() - began)

    async def finish(self, dsn: str, action: str = "run") -> Ended:
        """Run to the end, undisturbed."""
        ended = await self.child(dsn, action)
        assert ended.code == 0, f"{action} of {self.migration.name} ended with {ended.report}"
        return ended

    @contextlib.asynccontextmanager
    async def runner(self, dsn: str) -> AsyncIterator[Runner]:
        """A runner of this process that knows the migration."""
        settings = self._settings(dsn)
        kinds = BUILTIN if self.builtin else (self.migration,)
        async with Database.connect(settings=settings) as db:
            yield Runner(db, settings, registry=Registry.load([*kinds]))

    async def run(self, dsn: str, **options: Any) -> RunReport:
        """Run in this process."""
        async with self.runner(dsn) as runner:
            return await runner.run(self.migration.name, RunOptions(**{**self.options, **options}))

    async def roll_back(self, dsn: str) -> None:
        """Roll back in this process, unless there is nothing to roll back."""
        async with self.runner(dsn) as runner:
            with contextlib.suppress(RefusedError):
                await runner.rollback(self.migration.name)

    def _settings(self, dsn: str) -> Settings:
        return Settings.load(database_url=dsn, environ={**os.environ, **self.environ})

    async def state(self, dsn: str) -> State:
        """What each row means."""
        settings = self._settings(dsn)
        async with Database.connect(settings=settings) as db:
            async with db.acquire() as connection:
                profile = await FittedProfile.fit(connection, Profile.load(settings.profile))
            context = MigrationContext(
                db=db,
                settings=settings,
                profile=profile,
                keyring=Keyring.from_settings(settings),
                dry_run=True,
            )
            arguments = arguments_of(self.migration, self.options.get("arguments"))
            migration = self.migration(attrs.evolve(context, arguments=arguments))
            targets: Sequence[Target] = ()
            if isinstance(migration, DeclaredMigration):
                with contextlib.suppress(NotApplicable):
                    targets = await migration.targets()
            reveals = {
                target.table.relation.label: (
                    {field.column: field.name for field in target.shape.columns},
                    target.reveal,
                )
                for target in targets
            }
            return await database_state(db, reveals)

    async def compare(self, dsn: str, wanted: State, how: str, changed: int | None = None) -> None:
        """Assert that every row is as it should be, and that the ledger counts each changed one once."""
        found = await self.state(dsn)
        differing = differences(wanted, found)
        if differing:
            shown = "; ".join(f"{d.table} {d.key} {d.kind}" for d in differing[:_SHOWN])
            raise AssertionError(f"{how}: {len(differing)} rows differ: {shown}")
        if changed is None:
            return
        connection = await asyncpg.connect(dsn)
        try:
            counted = await connection.fetchval(
                "SELECT coalesce(sum(c.changed), 0) FROM datamig.chunks c"
                " JOIN datamig.runs r ON r.id = c.run_id WHERE r.status = 'succeeded'"
            )
        finally:
            await connection.close()
        assert counted == changed, f"{how}: the ledger counts {counted} changed rows, there are {changed}"


@functools.cache
def _server() -> ForkServer:
    """One for all harnesses in this process."""
    server = ForkServer(_CHILD, "anyio._backends._asyncio")
    atexit.register(server.close)
    return server

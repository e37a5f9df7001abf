"""Copies of a database, and a migration on them: in this process or in one of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
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
from taaxdog_datamig.testing.states import State, database_state, differences

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from anyio.abc import Process

    from taaxdog_datamig.engine.reports import RunReport
    from taaxdog_datamig.migration import BaseMigration, Target

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
        environ = {**os.environ, **self.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        environ.pop(failpoints.VARIABLE, None)
        if failpoint:
            environ[failpoints.VARIABLE] = failpoint
        began = time.monotonic()
        command = [sys.executable, "-m", "taaxdog_datamig.testing.child"]
        async with await anyio.open_process(command, env=environ, stderr=None) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            await process.stdin.send(orjson.dumps(task))
            await process.stdin.aclose()
            output = b""
            async with anyio.create_task_group() as group:
                if when_stopped is not None:
                    group.start_soon(_stopped, process, when_stopped)
                with anyio.move_on_after(kill_after):
                    async for part in process.stdout:
                        output += part
                    await process.wait()
                group.cancel_scope.cancel()
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
                await process.wait()
            code = process.returncode
        assert code is not None
        return Ended(code=code, report=orjson.loads(output or b"{}"), seconds=time.monotonic() - began)

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


async def _stopped(process: Process, then: Callable[[], Awaitable[None]]) -> None:
    """Wait until the process stops itself; afterwards it goes on."""
    while not _has_stopped(process.pid):  # noqa: ASYNC110 - another process's doing
        await anyio.sleep(0.02)
    try:
        await then()
    except BaseException:
        process.kill()
        raise
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)


def _has_stopped(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it is over
        return False

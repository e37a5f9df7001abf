"""`assert_crash_safe`: kill a migration wherever it can be killed, and see that nobody could tell."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import random
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
from taaxdog_datamig.errors import SettingsError
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
    from collections.abc import Iterable, Mapping, Sequence

    from taaxdog_datamig.migration import BaseMigration, Target

#: Rows named in an assertion's message.
_SHOWN = 10
#: What the processes do.
_CHILD = "taaxdog_datamig.testing.child"
#: Kills by the clock before a run is left alone to finish.
_PATIENCE = 200


@attrs.frozen(kw_only=True)
class CrashReport:
    """What the harness did. Returned when everything held."""

    changed_rows: int
    #: Failpoints at which the process was killed.
    killed_at: tuple[str, ...]
    #: Failpoints that the migration never passes.
    not_reached: tuple[str, ...]
    random_kills: int


@attrs.frozen(kw_only=True)
class _Ended:
    code: int
    report: dict[str, Any]
    seconds: float


@attrs.define
class _Harness:
    dsn: str
    migration: type[BaseMigration]
    builtin: bool
    options: Mapping[str, Any]
    environ: Mapping[str, str]
    server: ForkServer
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
        connection = await asyncpg.connect(self._at("postgres"))
        try:
            for name in self.copies:
                await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    def _at(self, database: str) -> str:
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{database}"))

    async def child(
        self, dsn: str, action: str = "run", *, failpoint: str = "", kill_after: float | None = None
    ) -> _Ended:
        """Run or roll back in a process of its own, which may die at a failpoint or after some seconds."""
        task = {
            "dsn": dsn,
            "migration": self.migration.name,
            "module": "" if self.builtin else self.migration.__module__,
            "class": self.migration.__qualname__,
            "action": action,
            "options": dict(self.options),
        }
        environ = {**os.environ, **self.environ}
        environ.pop(failpoints.VARIABLE, None)
        if failpoint:
            environ[failpoints.VARIABLE] = failpoint
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as answer:
            given.write(orjson.dumps(task))
            given.seek(0)
            process = self.server.start(
                f"{_CHILD}:main", stdin=given.fileno(), stdout=answer.fileno(), env=environ
            )
            began = time.monotonic()  # the first has waited for the server's imports
            code = -signal.SIGKILL
            with anyio.move_on_after(kill_after):
                code = await process.ended()
            answer.seek(0)
            report = orjson.loads(answer.read() or b"{}")
        return _Ended(code=code, report=report, seconds=time.monotonic() - began)

    async def finish(self, dsn: str, action: str = "run") -> _Ended:
        """Run to the end, undisturbed."""
        ended = await self.child(dsn, action)
        assert ended.code == 0, f"{action} of {self.migration.name} ended with {ended.report}"
        return ended

    async def state(self, dsn: str) -> State:
        settings = Settings.load(database_url=dsn, environ={**os.environ, **self.environ})
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


@functools.cache
def _server() -> ForkServer:
    """One for all calls in this process."""
    server = ForkServer(_CHILD, "anyio._backends._asyncio")
    atexit.register(server.close)
    return server


async def assert_crash_safe(
    migration: str | type[BaseMigration],
    dsn: str | None = None,
    *,
    points: Iterable[str] = failpoints.NAMES,
    random_kills: int = 5,
    seed: int = 0,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> CrashReport:
    """Assert that a migration may be killed at any point, and so may its rollback.

    The database is copied (`CREATE DATABASE ... TEMPLATE`, so nobody else may be connected to it). One
    copy is migrated in peace. Others are migrated by processes that get SIGKILL at each failpoint and at
    random moments, and are started again each time. In the end every row must mean the same as in the
    first copy, the ledger must count each changed row once, and a rollback, killed as well, must give
    back the original, byte for byte.

    Args:
        migration: the name of a built-in migration, or a class that can be imported by module and name.
        dsn: the database to copy; `DATABASE_URL` by default. The role may create databases.
        points: where to kill; `failpoints.NAMES` are all there are.
        random_kills: how many kills by the clock.
        seed: of those moments.
        environ: what the processes need besides this one's environment, such as keys.
        options: fields of `RunOptions`. A small `batch_size` makes more chunks, thus more places to die.
            No run makes a backup unless `skip_backup=False` is given.

    Raises:
        AssertionError: names the first rows that differ, by table and primary key.
        SettingsError: no database is named.
    """
    registry = Registry.load(BUILTIN)
    kind = registry.get(migration) if isinstance(migration, str) else migration
    dsn = dsn or Settings.load(environ={**os.environ, **(environ or {})}).database_url
    if dsn is None:
        raise SettingsError("no database is named", "Give a URL, or set DATABASE_URL")
    harness = _Harness(
        server=_server(),
        dsn=dsn,
        migration=kind,
        builtin=isinstance(migration, str),
        options={"batch_size": 50, "skip_backup": True, **options},
        environ=environ or {},
    )
    chooser = random.Random(seed)  # noqa: S311 - moments, not secrets
    try:
        original = await harness.state(await harness.copy())
        peaceful = await harness.copy()
        ended = await harness.finish(peaceful)
        changed = int(ended.report["changed_rows"])
        wanted = await harness.state(peaceful)
        forward = [point for point in points if not point.startswith("rollback")]
        backward = [point for point in points if point.startswith("rollback")]
        copy, killed, missed = await _kill_at(harness, forward, wanted, changed)
        at_rollback, rollback_missed = await _kill_rollback(harness, copy, backward, original)
        kills = await _kill_by_clock(harness, random_kills, ended.seconds, chooser, wanted, changed)
    finally:
        with anyio.CancelScope(shield=True):
            await harness.drop_copies()
    return CrashReport(
        changed_rows=changed,
        killed_at=(*killed, *at_rollback),
        not_reached=(*missed, *rollback_missed),
        random_kills=kills,
    )


async def _kill_at(
    harness: _Harness, points: list[str], wanted: State, changed: int
) -> tuple[str, list[str], list[str]]:
    """Kill at each point in turn; returns the last copy, finished, and which points were (not) reached."""
    copy = await harness.copy()
    killed: list[str] = []
    missed: list[str] = []
    for point in points:
        ended = await harness.child(copy, failpoint=point)
        if ended.code == -signal.SIGKILL:
            killed.append(point)
            continue
        assert ended.code == 0, f"killed at {killed[-1:]}, the next run ended with {ended.report}"
        # The run was over before it came to this point: look at it, and try the point on a new copy.
        await _compare(harness, copy, wanted, changed, f"killed at {', '.join(killed)}")
        copy = await harness.copy()
        ended = await harness.child(copy, failpoint=point)
        (killed if ended.code == -signal.SIGKILL else missed).append(point)
    await harness.finish(copy)
    await _compare(harness, copy, wanted, changed, f"killed at {', '.join(killed)}")
    return copy, killed, missed


async def _kill_rollback(
    harness: _Harness, copy: str, points: list[str], original: State
) -> tuple[list[str], list[str]]:
    killed: list[str] = []
    missed: list[str] = []
    for point in points:
        ended = await harness.child(copy, "rollback", failpoint=point)
        if ended.code != -signal.SIGKILL:
            missed.append(point)
            if ended.code == 0:
                break
        else:
            killed.append(point)
    ended = await harness.child(copy, "rollback")
    assert ended.code == 0 or ended.report.get("error") == "RefusedError", f"rollback: {ended.report}"
    found = await harness.state(copy)
    _assert_same(original, found, "rolled back, killed at " + ", ".join(killed))
    return killed, missed


async def _kill_by_clock(
    harness: _Harness, kills: int, seconds: float, chooser: random.Random, wanted: State, changed: int
) -> int:
    done = tries = 0
    copy = ""
    while done < kills and tries < _PATIENCE:
        tries += 1
        copy = copy or await harness.copy()
        ended = await harness.child(copy, kill_after=chooser.uniform(0.2, 1.0) * seconds)
        if ended.code == -signal.SIGKILL:
            done += 1
            continue
        assert ended.code == 0, f"after {done} kills by the clock the run ended with {ended.report}"
        await _compare(harness, copy, wanted, changed, f"killed {done} times by the clock")
        copy = ""
    if copy:
        await harness.finish(copy)
        await _compare(harness, copy, wanted, changed, f"killed {done} times by the clock")
    return done


async def _compare(harness: _Harness, dsn: str, wanted: State, changed: int, how: str) -> None:
    _assert_same(wanted, await harness.state(dsn), how)
    connection = await asyncpg.connect(dsn)
    try:
        counted = await connection.fetchval(
            "SELECT coalesce(sum(c.changed), 0) FROM datamig.chunks c JOIN datamig.runs r ON r.id = c.run_id"
            " WHERE r.status = 'succeeded'"
        )
    finally:
        await connection.close()
    assert counted == changed, f"{how}: the ledger counts {counted} changed rows, there are {changed}"


def _assert_same(wanted: State, found: State, how: str) -> None:
    differing = differences(wanted, found)
    if differing:
        shown = "; ".join(f"{d.table} {d.key} {d.kind}" for d in differing[:_SHOWN])
        raise AssertionError(f"{how}: {len(differing)} rows differ: {shown}")

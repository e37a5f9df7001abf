"""`assert_crash_safe`: kill a migration wherever it can be killed, and see that nobody could tell."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.migration import Registry
from taaxdog_datamig.migrations import BUILTIN
from taaxdog_datamig.settings import Settings
from taaxdog_datamig.testing.faults import FAULTS, Restartable, Trial, checked
from taaxdog_datamig.testing.harness import Harness

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taaxdog_datamig.migration import BaseMigration
    from taaxdog_datamig.testing.states import State

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
    #: The other faults that it met.
    faults: tuple[str, ...] = ()


async def assert_crash_safe(
    migration: str | type[BaseMigration],
    dsn: str | None = None,
    *,
    points: Iterable[str] = failpoints.NAMES,
    random_kills: int = 5,
    seed: int = 0,
    faults: Iterable[str] = (),
    server: Restartable | None = None,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> CrashReport:
    """Assert that a migration may be killed at any point, and so may its rollback.

    The database is copied (`CREATE DATABASE ... TEMPLATE`, so nobody else may be connected to it). One
    copy is migrated in peace. Others are migrated by processes that get SIGKILL at each failpoint and at
    random moments, and are started again each time. In the end every row must mean the same as in the
    first copy, the ledger must count each changed row once, and a rollback, killed as well, must give
    back the original, byte for byte. The same is asserted of runs that meet other faults:

    - `lost-acknowledgement`: commits are done and their answers do not arrive;
    - `cut-connection`: connections are cut through a proxy, in the middle of what either side says;
    - `pause` and `cancel` are asked for while chunks are at work. At most the chunk that each worker is at is
      committed after that, then the run is resumed, or all of it is rolled back and it is run again;
    - `takeover`: a process stands still until another has taken over its run, and then goes on;
    - `executor`: calls of workers are lost, duplicated, delayed, cut off, and forgotten while they go on;
    - `restart`: the server dies in the middle of the run and of its rollback, and is started again.

    Args:
        migration: the name of a built-in migration, or a class that can be imported by module and name.
        dsn: the database to copy; `DATABASE_URL` by default. The role may create databases.
        points: where to kill; `failpoints.NAMES` are all there are.
        random_kills: how many kills by the clock.
        seed: of those moments.
        faults: which of them; `FAULTS` are all there are.
        server: on which the database is, for `restart`: an `EmbeddedServer`, or whatever has its `crash` and
            `start`.
        environ: what the processes need besides this one's environment, such as keys.
        options: fields of `RunOptions`. A small `batch_size` makes more chunks, thus more places to die.
            No run makes a backup unless `skip_backup=False` is given.

    Raises:
        AssertionError: names the first rows that differ, by table and primary key.
        SettingsError: no database is named.
        UsageError: there is no such fault, or no server to restart.
    """
    chosen = checked(faults, server)
    registry = Registry.load(BUILTIN)
    kind = registry.get(migration) if isinstance(migration, str) else migration
    dsn = dsn or Settings.load(environ={**os.environ, **(environ or {})}).database_url
    if dsn is None:
        raise SettingsError("no database is named", "Give a URL, or set DATABASE_URL")
    harness = Harness(
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
        trial = Trial(
            harness=harness,
            original=original,
            wanted=wanted,
            changed=changed,
            chooser=chooser,
            server=server,
        )
        for fault in chosen:
            await FAULTS[fault](trial)
    finally:
        with anyio.CancelScope(shield=True):
            await harness.drop_copies()
    return CrashReport(
        changed_rows=changed,
        killed_at=(*killed, *at_rollback),
        not_reached=(*missed, *rollback_missed),
        random_kills=kills,
        faults=chosen,
    )


async def _kill_at(
    harness: Harness, points: list[str], wanted: State, changed: int
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
        await harness.compare(copy, wanted, f"killed at {', '.join(killed)}", changed)
        copy = await harness.copy()
        ended = await harness.child(copy, failpoint=point)
        (killed if ended.code == -signal.SIGKILL else missed).append(point)
    await harness.finish(copy)
    await harness.compare(copy, wanted, f"killed at {', '.join(killed)}", changed)
    return copy, killed, missed


async def _kill_rollback(
    harness: Harness, copy: str, points: list[str], original: State
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
    await harness.compare(copy, original, "rolled back, killed at " + ", ".join(killed))
    return killed, missed


async def _kill_by_clock(
    harness: Harness, kills: int, seconds: float, chooser: random.Random, wanted: State, changed: int
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
        await harness.compare(copy, wanted, f"killed {done} times by the clock", changed)
        copy = ""
    if copy:
        await harness.finish(copy)
        await harness.compare(copy, wanted, f"killed {done} times by the clock", changed)
    return done

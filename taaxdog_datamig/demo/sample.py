"""Loads the sample database: rows first, made inside the server, then keys, indexes and foreign keys.

Nothing but statements and two numbers each crosses the wire (and, with a legacy key, some hundred sealed
values), so the client's memory does not depend on the size. Two connections share the work of each phase.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from taaxdog_datamig.demo.legacy import check_key, create_legacy_table
from taaxdog_datamig.demo.report import SampleReport, fault_counts, sensitive_counts
from taaxdog_datamig.demo.schema import execute_all
from taaxdog_datamig.demo.session import Job, open_connections, share, undone_on_failure
from taaxdog_datamig.demo.sizes import MAX_USERS, MIN_USERS, rows_by_table
from taaxdog_datamig.demo.slots import CASES, FAULTS, MISSING, NOT_VALID, Slot
from taaxdog_datamig.demo.statements import read, row_queries, statements
from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    import asyncpg

#: What is loaded (a table's name) or built (`primary keys`, `indexes`, ...), how much is done, of how much.
Progress: TypeAlias = Callable[[str, int, int], None]

#: Rows one INSERT makes: long enough to be fast, short enough for progress to move.
_BATCH_ROWS = 100_000
#: The seed is multiplied by 1000 in the server's 64-bit arithmetic.
_MAX_SEED = 2**31 - 1
#: How the loading sessions differ from the server's defaults. Each of the two has a core to itself.
_SESSION = """
SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';
SET max_parallel_maintenance_workers = 0;
SET statement_timeout = 0;
SET lock_timeout = 0;
SET jit = off;
SET timezone = 'UTC';
"""


async def load_sample(
    dsn: str,
    *,
    users: int = 1_000,
    faults: bool = True,
    seed: int = 1,
    legacy_key: bytes | None = None,
    progress: Progress | None = None,
) -> SampleReport:
    """Create the TAAXDOG schema in a database that does not have it, and fill it.

    The same users, faults, seed, legacy key and server version give the same rows. No value depends on the
    clock: what has expired did so before July 2024, what has not will in 2099.

    Args:
        dsn: Where to. The role needs the right to create tables and temporary tables.
        users: 1 to 50,000,000. Each has a bank account and ten transactions.
        faults: Put in the faults of `slots.FAULTS`; without them a validator finds nothing wrong.
        seed: 0 to 2^31 - 1.
        legacy_key: 32 bytes; makes some values of `users` encrypted as the application itself does it.
        progress: Called now and then, see `Progress`.

    Raises:
        UsageError: A number is out of range, the key has another length, or a table exists already.
        DatabaseUnavailable: No connection, or it was lost on the way.
        ServerRefused: The server stopped the load. What it had created is dropped again, as it is when the
            load is cancelled.
    """
    if not MIN_USERS <= users <= MAX_USERS:
        raise UsageError(f"A sample has {MIN_USERS:,} to {MAX_USERS:,} users, not {users:,}")
    if not 0 <= seed <= _MAX_SEED:
        raise UsageError(f"A seed lies between 0 and {_MAX_SEED}")
    check_key(legacy_key)
    tell = progress or (lambda *_: None)
    rows = rows_by_table(users)
    phases: dict[str, float] = {}
    began = mark = time.perf_counter()

    def finished(phase: str) -> None:
        nonlocal mark
        phases[phase], mark = time.perf_counter() - mark, time.perf_counter()

    async with open_connections(dsn) as connections, undone_on_failure(dsn, connections):
        for connection in connections:
            await _prepare(connection, users=users, faults=faults, seed=seed, legacy_key=legacy_key)
        finished("tables")
        await share(connections, [partial(_fill, table=table, rows=rows[table], tell=tell) for table in rows])
        finished("rows")
        for phase, name in (("primary keys", "primary_keys"), ("indexes", "indexes")):
            await _build(connections, phase, _largest_first(statements(name), list(rows)), tell)
            finished(phase)
        await _add_foreign_keys(connections, list(rows), faults=faults, tell=tell)
        finished("foreign keys")
        # Not only ANALYZE: otherwise autovacuum would visit every table behind the reader's back.
        await _build(connections, "vacuum", [f'VACUUM (ANALYZE) "{table}"' for table in rows], tell)
        finished("vacuum")
    return SampleReport(
        users=users,
        seed=seed,
        rows=rows,
        faults=fault_counts(users, faults=faults),
        sensitive=sensitive_counts(users, legacy=legacy_key is not None),
        seconds=time.perf_counter() - began,
        phases=MappingProxyType(phases),
    )


async def _prepare(
    connection: asyncpg.Connection, *, users: int, faults: bool, seed: int, legacy_key: bytes | None
) -> None:
    """Give a session its settings, the generator's functions and the sealed values."""
    functions = [_function("seed", "", "int8", str(seed))]
    functions += [_slot_function(slot, active=faults) for slot in FAULTS]
    functions += [_slot_function(slot, active=True) for slot in CASES]
    await execute_all(connection, [_SESSION.strip().rstrip(";"), *functions, read("rows/functions")])
    await create_legacy_table(connection, users=users, seed=seed, key=legacy_key)


def _slot_function(slot: Slot, *, active: bool) -> str:
    residues = ", ".join(map(str, slot.at))
    return _function(
        slot.function, "i int8", "boolean", f"i % {slot.every} IN ({residues})" if active else "false"
    )


def _function(name: str, arguments: str, returns: str, expression: str) -> str:
    """A session-local function simple enough for the planner to put in its caller's place."""
    return (
        f"CREATE FUNCTION pg_temp.{name}({arguments}) RETURNS {returns}"
        f" LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT {expression} $$"
    )


async def _fill(connection: asyncpg.Connection, *, table: str, rows: int, tell: Progress) -> None:
    """Make the rows of a table, batch after batch, in their order."""
    query = row_queries()[table]
    for first in range(1, rows + 1, _BATCH_ROWS):
        last = min(first + _BATCH_ROWS - 1, rows)
        await connection.execute(query, first, last)
        tell(table, last, rows)


async def _build(
    connections: Sequence[asyncpg.Connection], phase: str, several: Sequence[str], tell: Progress
) -> None:
    """Run independent statements on all connections."""
    done = 0

    async def run(connection: asyncpg.Connection, *, statement: str) -> None:
        nonlocal done
        await connection.execute(statement)
        done += 1
        tell(phase, done, len(several))

    jobs: list[Job] = [partial(run, statement=statement) for statement in several]
    await share(connections, jobs)


async def _add_foreign_keys(
    connections: Sequence[asyncpg.Connection], tables: Sequence[str], *, faults: bool, tell: Progress
) -> None:
    """Add the foreign keys; with faults some are left out and some left NOT VALID."""
    missing, not_valid = (MISSING, NOT_VALID) if faults else (frozenset[str](), frozenset[str]())
    keys = [key for key in statements("foreign_keys") if _constraint(key)[1] not in missing]
    # Adding a key locks both tables; validating it does not, so only that is shared out.
    await execute_all(connections[0], [f"{key} NOT VALID" for key in keys])
    validations = [
        f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{constraint}"'
        for table, constraint in map(_constraint, _largest_first(keys, tables))
        if constraint not in not_valid
    ]
    await _build(connections, "foreign keys", validations, tell)


def _largest_first(several: Iterable[str], tables: Sequence[str]) -> list[str]:
    """Statements on the largest tables first, so that the last ones to run are short."""
    return sorted(several, key=lambda statement: tables.index(_table(statement)))


def _table(statement: str) -> str:
    """The table that a statement of ours alters or indexes."""
    match = re.search(r'(?:TABLE| ON) "(\w+)"', statement)
    assert match is not None
    return match[1]


def _constraint(statement: str) -> tuple[str, str]:
    """Table and name of the constraint that a statement of ours adds."""
    match = re.search(r'TABLE "(\w+)" ADD CONSTRAINT "(\w+)"', statement)
    assert match is not None
    return match[1], match[2]

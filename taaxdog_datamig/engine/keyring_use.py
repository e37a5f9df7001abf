"""Which keys a database needs, and the change from one to another."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from taaxdog_datamig.archive.reader import wrap_context
from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.engine.reports import KeyRotation, KeyUse, RunOptions
from taaxdog_datamig.errors import KeyMissing, UsageError
from taaxdog_datamig.ledger import Ledger, actor, installed_version
from taaxdog_datamig.migrations.rotate_keys import RotateKeys
from taaxdog_datamig.pg.catalog import leaves
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.profile import FittedProfile, Profile

if TYPE_CHECKING:
    from typing import Any

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.runner import Runner
    from taaxdog_datamig.pg.database import Database

_SEVERAL = "Set FIELD_ENCRYPTION_KEYS to `new:key,old:key`: the first one seals, all of them open"


async def key_uses(db: Database) -> list[KeyUse]:
    """Every key that is configured, or that something in the database is sealed under; never any material.

    Reads each sensitive column once.

    Raises:
        KeyFormatError: a configured key is none.
    """
    keyring = Keyring.from_settings(db.settings)
    kids = () if keyring is None else keyring.kids
    ledger = Ledger.of()
    async with db.acquire() as connection:
        tokens = await _tokens(connection, db)
        runs: dict[str, int] = {}
        canaries: dict[str, str] = {}
        if await installed_version(connection):
            runs = await ledger.runs.by_key(connection)
            canaries = await ledger.canaries(connection)
    return [
        KeyUse(
            kid=kid,
            configured=kid in kids,
            primary=keyring is not None and kid == keyring.primary.kid,
            right=keyring.opens_canary(kid, canaries[kid])
            if keyring is not None and kid in kids and kid in canaries
            else None,
            tokens=dict(tokens.get(kid, {})),
            runs=runs.get(kid, 0),
        )
        for kid in dict.fromkeys((*kids, *sorted({*tokens, *runs, *canaries})))
    ]


async def _tokens(connection: PoolConnectionProxy[Any], db: Database) -> dict[str, Counter[str]]:
    """Tokens by key's id and column."""
    fitted = await FittedProfile.fit(connection, Profile.load(db.settings.profile))
    found: dict[str, Counter[str]] = {}
    for table in fitted.tables.values():
        for name, column in table.sensitive.items():
            text = f"{column.quoted}::text"
            for leaf in await leaves(connection, table.relation.oid):
                rows = await connection.fetch(
                    f"SELECT left(split_part({text}, ':', 3), 64) AS kid, count(*) AS tokens"
                    f" FROM ONLY {leaf.relation} WHERE starts_with({text}, 'encrypted:v1:') GROUP BY 1"
                )
                for row in rows:
                    found.setdefault(row["kid"], Counter())[f"{table.spec.name}.{name}"] += row["tokens"]
    return found


async def rotate(runner: Runner, options: RunOptions | None = None) -> KeyRotation:
    """Seal everything anew under the primary key: tokens by a run of their own, then runs' data keys.

    Raises:
        KeyMissing, UsageError: there are not two keys to change between.
        And what `Runner.run` raises.
    """
    options = attrs.evolve(options or RunOptions(), force=True)
    keyring = Keyring.from_settings(runner.settings)
    if keyring is None:
        raise KeyMissing("no encryption key is configured", _SEVERAL)
    if len(keyring.kids) == 1:
        only = keyring.primary.kid
        raise UsageError(f"key {only} is the only one: there is no other to change from", _SEVERAL)
    report = await runner.run(RotateKeys.name, options)
    if options.dry_run:
        return KeyRotation(run=report, primary=keyring.primary.kid)
    rewrapped, kept, retired = 0, [], []
    ledger = Ledger.of()
    async with runner.db.acquire() as connection, transaction(connection):
        if await installed_version(connection):
            for run_id, kid, data_key in await ledger.runs.wrapped(connection, keyring.primary.kid):
                if kid not in keyring.kids:
                    kept.append(kid)
                    continue
                context = wrap_context(run_id)
                wrapped = keyring.wrap(keyring.unwrap(kid, data_key, context), context)
                await ledger.runs.rewrap(connection, run_id, *wrapped)
                rewrapped += 1
            for kid in await ledger.canaries(connection):
                # Rows that the run has refused may still need it.
                if kid != keyring.primary.kid and kid not in kept and not report.quarantined_rows:
                    await ledger.drop_canary(connection, kid)
                    retired.append(kid)
            await ledger.audit.append(
                connection,
                "keys-rotated",
                None,
                {
                    "actor": actor(runner.db.server.role),
                    "primary": keyring.primary.kid,
                    "retired": retired,
                    "runs": rewrapped,
                },
            )
    return KeyRotation(
        run=report, primary=keyring.primary.kid, rewrapped_runs=rewrapped, retired=tuple(sorted(retired))
    )

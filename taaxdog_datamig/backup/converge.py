"""Restoring into tables that exist: rows are brought back to what they were, nothing is wiped.

The rows that differ are found on one snapshot (REPEATABLE READ) and changed in its transaction: what another
session changed meanwhile ends it with a serialization failure, and it is done again. Newer rows go first, if
they are to go, so that they stand in no unique key's way; then changed rows are updated, and missing ones
inserted, parents first. Triggers would change what is restored. Where the role may, they are set aside, and
foreign keys with them: the tables are then locked against writers, and the keys proven by anti-join before
the commit. Where there are none to set aside, the server checks the keys itself.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import attrs

from taaxdog_datamig import failpoints
from taaxdog_datamig.backup.large_objects import LABEL, StagedObjects
from taaxdog_datamig.backup.matching import go_round
from taaxdog_datamig.backup.orphans import Orphans, may_have_orphans, prove_references, refusal_by_key
from taaxdog_datamig.backup.reach import Reach
from taaxdog_datamig.backup.sequences import move_past_rows
from taaxdog_datamig.backup.sifting import Sieve
from taaxdog_datamig.backup.staging import compare, stage
from taaxdog_datamig.errors import RefusedError, ServerRefused
from taaxdog_datamig.ledger import Ledger, actor, installed_version
from taaxdog_datamig.pg.keys import keys_to, may_set_aside, restore_triggers, uniques_of
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, Backoff, Fault, classify, describe
from taaxdog_datamig.pg.sql import queries
from taaxdog_datamig.pg.transactions import Undone, transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.loading import OpenBackup
    from taaxdog_datamig.backup.matching import Target
    from taaxdog_datamig.backup.reports import RestoredTable
    from taaxdog_datamig.backup.staging import Differences
    from taaxdog_datamig.pg.database import Database

_SQL = queries(__package__, "restore.sql")
#: Times that the transaction is done again when other sessions change the same rows, or hold locks.
_TRIES = 8
#: Rows whose keys an error names.
_NAMED = 10
_SETTLED = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0;"
    " SET LOCAL work_mem = '64MB'; SET CONSTRAINTS ALL DEFERRED"
)


@attrs.define(kw_only=True)
class Converge:
    """A restore into existing tables."""

    db: Database
    backup: OpenBackup
    #: Parents first.
    targets: Sequence[Target]
    dry_run: bool = False
    #: Delete rows that are newer than the backup.
    exact: bool = False
    #: Let that reach tables outside the restore.
    cascade: bool = False
    #: What becomes of rows that refer to nothing.
    orphans: Orphans = "refuse"
    #: Whether large objects are restored, too.
    whole: bool = False
    #: Sessions that compare rows at once.
    jobs: int = 2
    #: What was done to them.
    objects: RestoredTable | None = attrs.field(default=None, init=False)
    found: dict[str, Differences] = attrs.field(factory=dict, init=False)
    cascaded: Counter[str] = attrs.field(factory=Counter, init=False)
    warnings: list[str] = attrs.field(factory=list, init=False)
    #: Triggers of the tables, and the other tables that foreign keys join to them.
    _triggers: list[str] = attrs.field(factory=list, init=False)
    _around: list[str] = attrs.field(factory=list, init=False)
    _may_set_aside: bool = attrs.field(default=False, init=False)
    _staged: StagedObjects | None = attrs.field(default=None, init=False)
    _sieved: Sieve | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Do it.

        Raises:
            RefusedError: rows conflict, or refer to what is not there; nothing was changed.
            BackupError: a part is damaged; nothing was changed.
        """
        async with self.db.acquire() as connection:
            try:
                async with self._sieve() as self._sieved:
                    for target in self.targets:
                        await stage(connection, self.backup, target, None if self._sieved is None else ())
                    if self.whole:
                        self._staged = await StagedObjects.stage(connection, self.backup)
                    failpoints.hit("restore-staged")
                    await self._look_round(connection)
                    await self._persistently(connection)
            finally:
                # The session goes back to the pool.
                with anyio.move_on_after(5, shield=True), contextlib.suppress(*DRIVER_ERRORS):
                    await connection.execute("DISCARD TEMP")

    @contextlib.asynccontextmanager
    async def _sieve(self) -> AsyncIterator[Sieve | None]:
        """Sessions that share the work; None where newer rows must be found, which takes all rows here."""
        if self.exact or self.jobs == 1:
            yield None
            return
        async with Sieve.open(self.db, self.backup, self.targets, self.jobs) as sieve:
            yield sieve

    async def _look_round(self, connection: PoolConnectionProxy[Any]) -> None:
        """What a transaction that begins with locks cannot ask any more without a snapshot."""
        oids = [target.relation.oid for target in self.targets]
        async with transaction(connection):
            self._may_set_aside = await may_set_aside(connection)
        self._triggers = [row["name"] for row in await connection.fetch(_SQL["user_triggers"], oids)]
        around = {key.parent: key.parent_name for target in self.targets for key in target.foreign}
        if self.exact:
            for oid in oids:
                around |= {key.child: key.child_name for key in await keys_to(connection, oid)}
        self._around = [around[oid] for oid in sorted(around.keys() - set(oids))]

    async def _persistently(self, connection: PoolConnectionProxy[Any]) -> None:
        delays = Backoff(first=0.2).delays()
        for _ in range(_TRIES):
            try:
                async with transaction(connection):
                    await self._once(connection)
                    failpoints.hit("restore-before-commit")
                    if self.dry_run:
                        raise Undone  # noqa: TRY301  the transaction must see it
            except Undone:
                return
            except asyncpg.PostgresError as error:
                if classify(error) not in {Fault.COLLISION, Fault.LOCKED}:
                    raise
                await anyio.sleep(next(delays))
            else:
                return
        raise ServerRefused(
            "other sessions kept changing the same rows, or held locks on them; nothing was changed",
            "Start the restore again when less is written, or stop the application meanwhile",
        )

    async def _once(self, connection: PoolConnectionProxy[Any]) -> None:
        self.warnings.clear()
        self.cascaded.clear()
        await connection.execute(_SETTLED)
        await connection.execute(f"SET LOCAL lock_timeout = '{self.db.settings.lock_timeout * 1000:.0f}ms'")
        broken = self.orphans == "keep" and may_have_orphans(self.targets)
        wanted = bool(self._triggers) or self.exact or broken or go_round(self.targets)
        aside = wanted and self._may_set_aside
        if aside:
            await self._lock(connection)
        elif self._triggers:
            fired = ", ".join(self._triggers)
            self.warnings.append(f"triggers fired, since the role may not set them aside: {fired}")
        await self._compare(connection)
        if self.exact:
            await self._reach(connection)
        if aside:
            await may_set_aside(connection)
        await self._change(connection, aside=aside)
        if aside:
            await restore_triggers(connection)
        self.warnings += await prove_references(connection, self.targets, self.orphans, unchecked=aside)
        oids = [target.relation.oid for target in self.targets]
        for name in await move_past_rows(connection, oids, dry_run=self.dry_run):
            self.warnings.append(f"sequence {name} was behind its column, and was set past it")
        if self._staged is not None:
            self.objects, said = await self._staged.converge(connection)
            self.warnings += said
        await self._audit(connection)

    async def _reach(self, connection: PoolConnectionProxy[Any]) -> None:
        reach = await Reach.of(connection, self.targets)
        self.cascaded += await reach.resolve(connection, cascade=self.cascade)
        if self.cascaded:
            # It may have reached tables of the restore, by way of others.
            await self._compare(connection)

    async def _lock(self, connection: PoolConnectionProxy[Any]) -> None:
        """Since no trigger will look: writers wait, also of tables that foreign keys join to these."""
        own = sorted(target.source for target in self.targets)
        await connection.execute(f"LOCK TABLE {', '.join(own)} IN SHARE ROW EXCLUSIVE MODE")
        if self._around:
            await connection.execute(f"LOCK TABLE {', '.join(self._around)} IN SHARE MODE")

    async def _compare(self, connection: PoolConnectionProxy[Any]) -> None:
        if self._sieved is not None:
            await self._sieved.sift(connection)
        for target in self.targets:
            self.found[target.relation.label] = await compare(
                connection, target, sifted=self._sieved is not None
            )

    async def _change(self, connection: PoolConnectionProxy[Any], *, aside: bool) -> None:
        if self.exact:
            for target in reversed(self.targets):
                await self._do(connection, target, _delete(target))
            if not aside:
                await self._compare_again(connection)
        # Parents first, their missing rows, too: a row that changes may refer to one that was gone.
        for target in self.targets:
            if columns := self.found[target.relation.label].columns:
                await self._do(connection, target, _update(target, columns))
            if self.found[target.relation.label].missing:
                await self._do(connection, target, _insert(target))
        await self._do(connection, self.targets[-1], "SET CONSTRAINTS ALL IMMEDIATE")

    async def _compare_again(self, connection: PoolConnectionProxy[Any]) -> None:
        """Deleting a row may have taken along one that had come to refer to it, and is in the backup."""
        before = dict(self.found)
        await self._compare(connection)
        for label, found in self.found.items():
            self.found[label] = attrs.evolve(found, newer=before[label].newer)

    async def _do(self, connection: PoolConnectionProxy[Any], target: Target, query: str) -> None:
        try:
            async with transaction(connection):
                await connection.execute(query)
        except asyncpg.PostgresError as error:
            if classify(error) is not Fault.DATA and error.sqlstate != _IDENTITY:
                raise
            raise await self._refusal(connection, target, error) from None

    async def _refusal(
        self, connection: PoolConnectionProxy[Any], target: Target, error: asyncpg.PostgresError
    ) -> RefusedError:
        """Why rows cannot come back, with the keys of some; asked at the savepoint before them."""
        label = target.relation.label
        name = getattr(error, "constraint_name", None)
        if isinstance(error, asyncpg.ForeignKeyViolationError):
            broken = await refusal_by_key(connection, self.targets, str(name), self.orphans)
            return broken or RefusedError(
                f"rows of {label} refer to rows that do not exist, or are referred to (foreign key {name});"
                " nothing was changed",
                "Restore the tables that it joins together",
            )
        if isinstance(error, asyncpg.UniqueViolationError):
            keys = await _in_the_way(connection, target, str(name))
            return RefusedError(
                f"rows of {label} stand in the way of the backup's: unique index {name}"
                + (f", rows {', '.join(keys)}" if keys else "")
                + "; nothing was changed",
                "Change or delete those rows, or delete all rows newer than the backup with --exact",
            )
        return RefusedError(f"rows cannot be restored into {label}: {describe(error)}; nothing was changed")

    async def _audit(self, connection: PoolConnectionProxy[Any]) -> None:
        if self.dry_run or not await installed_version(connection):
            return
        counts = {
            label: {"inserted": found.missing, "updated": found.changed, "newer": found.newer}
            for label, found in self.found.items()
        }
        if self.objects is not None:
            told = self.objects
            counts[LABEL] = {"inserted": told.inserted, "updated": told.updated, "newer": told.kept}
        entry = {"backup": self.backup.manifest.id, "actor": actor(self.db.server.role), "exact": self.exact}
        await Ledger.of().audit.append(connection, "backup-restored", None, entry | {"tables": counts})


_IDENTITY = "428C9"


def _delete(target: Target) -> str:
    return (
        f"DELETE FROM {target.source} AS t USING {target.differences} AS d"
        f" WHERE d.datamig_kind = 'newer' AND {target.keys_equal('t', 'd')}"
    )


def _update(target: Target, columns: Sequence[str]) -> str:
    sets = ", ".join(f"{ident(name)} = s.{ident(name)}" for name in columns)
    return (
        f"UPDATE {target.source} AS t SET {sets} FROM {target.differences} AS d"
        f" JOIN {target.stage} AS s ON s.ctid = d.datamig_staged"
        f" WHERE d.datamig_kind = 'changed' AND {target.keys_equal('t', 'd')}"
    )


def _insert(target: Target) -> str:
    names = [column.quoted for column in target.columns]
    return (
        f"INSERT INTO {target.relation.quoted} ({', '.join(names)}) OVERRIDING SYSTEM VALUE"
        f" SELECT {', '.join(f's.{name}' for name in names)} FROM {target.differences} AS d"
        f" JOIN {target.stage} AS s ON s.ctid = d.datamig_staged WHERE d.datamig_kind = 'missing'"
    )


async def _in_the_way(connection: PoolConnectionProxy[Any], target: Target, name: str) -> list[str]:
    """Keys of rows that have, under another key, what must be unique and a row of the backup has."""
    index = next(
        (index for index in await uniques_of(connection, target.relation.oid) if index.name == name), None
    )
    if index is None or not set(index.columns) <= {column.name for column in target.columns}:
        return []
    key = ", ".join(ident(column) for column in target.relation.key)
    term = ", ".join(f"({term}) AS u{i}" for i, term in enumerate(index.terms))
    equal = " AND ".join(f"a.u{i} IS NOT DISTINCT FROM b.u{i}" for i in range(len(index.terms)))
    theirs = f"SELECT {key}, {term} FROM {target.source} WHERE {index.condition}"
    ours = f"SELECT {key}, {term} FROM {target.stage} WHERE {index.condition}"
    found = await connection.fetch(
        f"SELECT concat_ws(',', {', '.join(f'a.{ident(c)}::text' for c in target.relation.key)}) AS key"
        f" FROM ({theirs}) AS a JOIN ({ours}) AS b ON {equal} AND NOT ({target.keys_equal('a', 'b')})"
        f" ORDER BY 1 LIMIT {_NAMED}"
    )
    return [row["key"] for row in found]

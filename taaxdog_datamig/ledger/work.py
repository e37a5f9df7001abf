"""What runs have done: windows, chunks, before-images, quarantined rows and rollback conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import orjson

from taaxdog_datamig.ledger.audit import audited
from taaxdog_datamig.planning import Window

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.rows import Shape

Key = tuple[str, ...]
#: Above the number of any target.
EVERY_TARGET = 2**31 - 1


def outside_quarantine(shape: Shape, schema: str, run: str, relation: str) -> str:
    """SQL condition: the row `t` is not in quarantine.

    Args:
        shape: of the table.
        schema: the ledger's.
        run: the parameter that holds the run's id, such as `$4`.
        relation: the parameter that holds the heap's name.
    """
    # OFFSET keeps it a look at the index for each row. As a join it is planned by statistics that know
    # nothing of this run's rows yet, and has compared each pending row with each quarantined one.
    return (
        f"NOT EXISTS (SELECT FROM {schema}.quarantine AS q WHERE q.run_id = {run}"
        f" AND q.relation = {relation} AND q.key = {shape.key_array()} OFFSET 0)"
    )


@attrs.frozen(kw_only=True)
class Claim:
    """A window that this process works on."""

    target: int
    number: int
    window: Window


@attrs.frozen(kw_only=True)
class Refusal:
    """A row that is listed with the run. `reason` never quotes a value."""

    key: Key
    code: str
    reason: str
    #: On purpose: it does not count against the error budget.
    left: bool = False


@attrs.frozen(kw_only=True)
class ArchivePart:
    """A file with rows that one chunk deleted."""

    name: str
    size: int
    sha256: bytes
    #: Rows by table.
    rows: Mapping[str, int]
    #: What each table was like: `relation`, `key`, `columns`; see `archive.manifest`.
    tables: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ChunkEntry:
    """A chunk as it is recorded, in the transaction that made it."""

    run_id: uuid.UUID
    token: uuid.UUID
    epoch: int
    sweep: int
    target: int
    relation: str
    changed: int
    conflicts: int
    refusals: Sequence[Refusal]
    first_key: Key | None
    last_key: Key | None
    seconds: float
    #: Where the count of heap-only updates stood when the transaction began.
    hot_before: int = 0


def _keys(keys: Sequence[Key]) -> list[str]:
    return [orjson.dumps(key).decode() for key in keys]


@attrs.frozen
class Work:
    """The tables that grow while a run works."""

    _sql: Mapping[str, str] = attrs.field(repr=False)

    async def add_windows(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        sweep: int,
        windows: Sequence[tuple[int, Window]],
    ) -> None:
        """Record the windows of a sweep, each with its target's number."""
        await connection.execute(
            self._sql["add_windows"],
            run_id,
            sweep,
            [target for target, _ in windows],
            list(range(len(windows))),
            [window.relation for _, window in windows],
            [window.start for _, window in windows],
            [window.end for _, window in windows],
        )

    async def horizon(self, connection: PoolConnectionProxy[Any]) -> str:
        """The id of a transaction, as text: those before it have ended."""
        value: str = await connection.fetchval(self._sql["horizon"])
        return value

    async def add_inspections(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        heaps: Sequence[tuple[int, int, bytes]],
        horizon: str,
        *,
        alone: bool,
    ) -> None:
        """Record which heaps a run looks at as a whole, from a horizon on.

        Args:
            connection: any.
            run_id: the run.
            heaps: target, heap and judge of each.
            horizon: see there; from before the first look.
            alone: whether its transactions will write its rows alone.
        """
        targets, oids, judges = zip(*heaps, strict=True) if heaps else ((), (), ())
        await connection.execute(self._sql["add_inspections"], run_id, targets, oids, judges, horizon, alone)

    async def inspections(
        self, connection: PoolConnectionProxy[Any], heaps: Sequence[tuple[int, bytes]]
    ) -> dict[tuple[int, bytes], tuple[int, list[int]]]:
        """Of heaps, each with its judge: horizon and transactions of the latest run that was through.

        32 bits each, as in `xmin`; transactions only where they wrote rows of the run alone. A run that
        refused a row is not counted: the row is to be told of again.
        """
        oids, judges = zip(*heaps, strict=True) if heaps else ((), ())
        found = await connection.fetch(self._sql["inspections"], oids, judges)
        runs = list({row["run_id"] for row in found if row["alone"]})
        own = dict(await connection.fetch(self._sql["own_transactions"], runs))
        return {(row["heap"], row["judge"]): (row["horizon"], own.get(row["run_id"], [])) for row in found}

    async def sweep(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID) -> int | None:
        """The latest sweep that has windows, or None before the first."""
        value = await connection.fetchval(self._sql["sweep"], run_id)
        return None if value is None else int(value)

    async def claim(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        sweep: int,
        epoch: int,
        count: int = 1,
        *,
        below: int = EVERY_TARGET,
    ) -> list[Claim]:
        """Take up to so many windows nobody with a valid lease works on; none when there is none left.

        Args:
            connection: any.
            run_id: the run.
            sweep: of it.
            epoch: of the lease.
            count: at the most.
            below: of targets with a lower number than this.
        """
        rows = await connection.fetch(self._sql["claim_windows"], run_id, sweep, epoch, count, below)
        return [
            Claim(
                target=row["target"],
                number=row["number"],
                window=Window(row["relation"], row["first"], row["last"]),
            )
            for row in sorted(rows, key=lambda row: (row["target"], row["number"]))
        ]

    async def windows_done(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        sweep: int,
        epoch: int,
        done: Sequence[tuple[Claim, int]],
    ) -> None:
        """Record that windows were worked on to their end, each with the rows that needed nothing."""
        await connection.execute(
            self._sql["windows_done"],
            run_id,
            sweep,
            epoch,
            [claim.target for claim, _ in done],
            [claim.number for claim, _ in done],
            [skipped for _, skipped in done],
        )

    async def add_chunk(
        self,
        connection: PoolConnectionProxy[Any],
        chunk: ChunkEntry,
        table: str,
        image: bytes | None,
        told: Mapping[str, Any] | None = None,
    ) -> asyncpg.Record:
        """Record a chunk, its before-image, its refusals and what the audit trail is told of it.

        Returns its `id` and `hot` updates.
        """
        row: asyncpg.Record | None = await connection.fetchrow(
            self._sql["add_chunk"],
            chunk.run_id,
            chunk.token,
            chunk.epoch,
            chunk.sweep,
            chunk.target,
            chunk.relation,
            chunk.changed,
            chunk.conflicts,
            len(chunk.refusals),
            chunk.first_key,
            chunk.last_key,
            chunk.seconds,
            chunk.hot_before,
            image,
            None if told is None else audited(told),
        )
        assert row is not None
        if chunk.refusals:
            await connection.execute(
                self._sql["add_quarantine"],
                chunk.run_id,
                chunk.relation,
                table,
                _keys([refusal.key for refusal in chunk.refusals]),
                [refusal.code for refusal in chunk.refusals],
                [refusal.reason for refusal in chunk.refusals],
                [refusal.left for refusal in chunk.refusals],
            )
        return row

    async def add_archive_part(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, chunk_id: int, part: ArchivePart
    ) -> None:
        """Record where the rows went that the chunk deleted."""
        await connection.execute(
            self._sql["add_archive_part"],
            chunk_id,
            run_id,
            part.name,
            part.size,
            part.sha256,
            orjson.dumps(part.rows).decode(),
            orjson.dumps(part.tables).decode(),
        )

    async def archive_parts(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID
    ) -> list[ArchivePart]:
        """The run's archive, in the order it was written."""
        return [
            ArchivePart(
                name=row["name"],
                size=row["bytes"],
                sha256=row["sha256"],
                rows=orjson.loads(row["rows"]),
                tables=orjson.loads(row["tables"]),
            )
            for row in await connection.fetch(self._sql["archive_parts"], run_id)
        ]

    async def find_chunk(
        self, connection: PoolConnectionProxy[Any], token: uuid.UUID
    ) -> asyncpg.Record | None:
        """The chunk of that token, when its commit did happen."""
        return await connection.fetchrow(self._sql["find_chunk"], token)

    async def totals(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID
    ) -> dict[int, dict[str, int]]:
        """Counts by target: changed, conflicts, chunks, hot, skipped."""
        counts = {row["target"]: dict(row) for row in await connection.fetch(self._sql["totals"], run_id)}
        for row in await connection.fetch(self._sql["skipped"], run_id):
            counts.setdefault(row["target"], {})["skipped"] = row["skipped"]
        return counts

    async def timeline(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, points: int
    ) -> list[asyncpg.Record]:
        """What was committed when, in at most `points` equal parts of the time; parts with nothing lack."""
        return await connection.fetch(self._sql["timeline"], run_id, points)

    async def quarantine_by_code(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID
    ) -> list[asyncpg.Record]:
        """Rows listed with the run by code, the most frequent first."""
        return await connection.fetch(self._sql["quarantine_by_code"], run_id)

    async def count_quarantine(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID) -> int:
        """Rows in quarantine."""
        return int(await connection.fetchval(self._sql["count_quarantine"], run_id))

    async def quarantine_by_table(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID
    ) -> dict[str, tuple[int, int]]:
        """Rows in quarantine, and rows left alone on purpose, by logical table."""
        rows = await connection.fetch(self._sql["quarantine_by_table"], run_id)
        return {row["tablename"]: (row["rows"], row["left_alone"]) for row in rows}

    async def reclaim(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        sweep: int,
        epoch: int,
        *,
        below: int = EVERY_TARGET,
    ) -> bool:
        """Give back the windows that were claimed under this lease or before and not done; were there any?

        Once it has returned, no crash of the server takes back what was committed before.
        """
        return bool(await connection.fetch(self._sql["reclaim"], run_id, sweep, epoch, below))

    async def quarantine(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, limit: int
    ) -> list[asyncpg.Record]:
        """Rows listed with the run: tablename, relation, key, code, reason, left_alone, at."""
        return await connection.fetch(self._sql["quarantine"], run_id, limit)

    async def refused_tables(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID
    ) -> list[asyncpg.Record]:
        """Where refused rows are: tablename, relation, whether that is gone; and what time it is."""
        return await connection.fetch(self._sql["refused_tables"], run_id)

    async def refused(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        relation: str,
        *,
        after: Key,
        limit: int,
        before: datetime,
    ) -> list[Key]:
        """Rows of a heap beyond a key that were refused before some time, in the order of their keys."""
        rows = await connection.fetch(self._sql["refused"], run_id, relation, list(after), limit, before)
        return [tuple(row["key"]) for row in rows]

    async def entries(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, relation: str, keys: Sequence[Key]
    ) -> dict[Key, asyncpg.Record]:
        """Those of the rows that are listed with the run: key, code, reason, left_alone, at."""
        rows = await connection.fetch(self._sql["entries"], run_id, relation, _keys(keys))
        return {tuple(row["key"]): row for row in rows}

    async def lift(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, relation: str, keys: Sequence[Key]
    ) -> None:
        """Take refused rows out of quarantine."""
        await connection.execute(self._sql["lift"], run_id, relation, _keys(keys))

    async def last_chunk(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID) -> int:
        """The number of the run's newest chunk; 0 before the first."""
        return int(await connection.fetchval(self._sql["last_chunk"], run_id))

    async def sample(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, limit: int, after: int = 0
    ) -> list[asyncpg.Record]:
        """Some chunks with their images, spread over the run, or over what came after a chunk."""
        return await connection.fetch(self._sql["sample_chunks"], run_id, limit, after)

    async def next_to_restore(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, before: int
    ) -> asyncpg.Record | None:
        """The newest chunk older than `before` that was not rolled back yet."""
        return await connection.fetchrow(self._sql["next_to_restore"], run_id, before)

    async def call(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, number: int
    ) -> asyncpg.Record:
        """How far a call of `process_batch` is: first_key and last_key of its latest batch, and batches.

        And of all calls of the same way: `total` batches, and the `latest` call that has any.
        Calls of `up` are numbered from 1, those of `down` from -1 downward; they stand where chunks of
        declared migrations have their sweep.
        """
        row: asyncpg.Record | None = await connection.fetchrow(self._sql["call"], run_id, number)
        assert row is not None
        return row

    async def rollback_data(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, before: int
    ) -> asyncpg.Record | None:
        """The newest batch older than `before` with data stored for a rollback: id, image."""
        return await connection.fetchrow(self._sql["rollback_data"], run_id, before)

    async def all_restored(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID) -> None:
        """Record that a run was rolled back as a whole, by its migration's own code."""
        await connection.execute(self._sql["all_restored"], run_id)

    async def restored(
        self,
        connection: PoolConnectionProxy[Any],
        chunk_id: int,
        restored: int,
        kept: int,
        told: Mapping[str, Any],
    ) -> bool:
        """Record that a chunk was rolled back, and tell the audit trail; False when it had been already."""
        body = audited(told)
        return await connection.fetchval(self._sql["restored"], chunk_id, restored, kept, body) is not None

    async def add_conflicts(
        self,
        connection: PoolConnectionProxy[Any],
        run_id: uuid.UUID,
        relation: str,
        table: str,
        keys: Sequence[Key],
    ) -> None:
        """Record rows that a rollback left alone."""
        await connection.execute(self._sql["add_conflicts"], run_id, relation, table, _keys(keys))

    async def conflicts(
        self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, limit: int
    ) -> list[asyncpg.Record]:
        """Rows that a rollback left alone: tablename, relation, key."""
        return await connection.fetch(self._sql["conflicts"], run_id, limit)

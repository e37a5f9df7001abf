"""Does the rows again that a run has refused: by key, on the run's record, each exactly once.

A row leaves the quarantine in the transaction that changes it, or finds that it needs nothing: a retry may be
killed anywhere, and the next one finds the rest. It looks at no other row: those that came to be pending
since are the next run's.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import attrs
import orjson

from taaxdog_datamig.engine.apply import Mode, persistently, steadily
from taaxdog_datamig.engine.drive import finish_archive
from taaxdog_datamig.engine.lease import held
from taaxdog_datamig.engine.merging import (
    Group,
    MergeChunk,
    count_duplicates,
    group_count,
    merge_windows,
    read_groups,
)
from taaxdog_datamig.engine.proof import prove
from taaxdog_datamig.engine.purge import WindowPurge
from taaxdog_datamig.engine.reader import Batch, judge
from taaxdog_datamig.engine.retry_reports import RetriedRow, RetryReport, RowOutcome
from taaxdog_datamig.engine.undo import LISTED, let_go, pause_run
from taaxdog_datamig.engine.writer import ChunkWriter, Written
from taaxdog_datamig.errors import DatabaseUnavailable, LeaseLost, ProofFailed
from taaxdog_datamig.ledger import Key, Refusal
from taaxdog_datamig.pg.retry import DRIVER_ERRORS, Backoff, server_errors
from taaxdog_datamig.pg.rows import transposed
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.planning import Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.job import Job

#: Sweep number under which the chunks of retries are recorded: after any other.
SWEEP = 2_000_000
#: Rows taken up at once, and of a slow transform.
_PAGE = 1000
_SLOW_PAGE = 50
#: Looks at rows that the application keeps writing or locking.
_LOOKS = 6
#: Blocks a heap can have, so that a TID range covers it whole.
_BLOCKS = 2**32 - 1


@attrs.frozen
class Verdict:
    """What became of a row."""

    outcome: RowOutcome
    #: How it is listed with the run from now on.
    entry: Refusal | None = None


Verdicts: TypeAlias = "dict[Key, Verdict]"
#: The statements of a chunk, and what became of the rows that they have met.
Act: TypeAlias = "Callable[[PoolConnectionProxy[Any], Mode], Awaitable[tuple[Written, Verdicts]]]"

#: Of what several targets say of a row, the first counts.
_ORDER: tuple[RowOutcome, ...] = ("busy", "refused", "left", "changed", "unneeded", "gone")


async def retry(job: Job, record: asyncpg.Record) -> RetryReport:
    """Do a run's refused rows again, under the lease, and leave the run as it was.

    Args:
        job: the run, whose lease was just taken.
        record: the run before that.

    Raises:
        LeaseLost, DatabaseUnavailable: `quarantine retry` goes on.
        ProofFailed: a row does not read back; the run is paused.
        RunPaused, RunCancelled: somebody asked for it. What was done stays.
        And what a run raises; the run is as it was, but for the rows that were done.
    """
    began = time.monotonic()
    work = Retry(job=job)
    try:
        async with server_errors(f"retrying rows of {record['migration']}"), held(job):
            after = await steadily(
                job,
                "looking at the run",
                lambda connection: job.ledger.work.last_chunk(connection, job.run_id),
            )
            await work.execute()
            proof = await steadily(
                job, "proving the result", lambda connection: prove(connection, job, 0, after=after)
            )
            if record["report"] is not None:
                await finish_archive(
                    job,
                    migration=record["migration"],
                    version=record["version"],
                    at=record["completed_at"] or work.moment,
                )
            status = await steadily(
                job, "recording the retry", lambda connection: _put_back(connection, job, work.outcomes)
            )
    except (LeaseLost, DatabaseUnavailable):
        await let_go(job)
        raise
    except ProofFailed as error:
        await pause_run(job, str(error))
        raise attrs.evolve(
            error, todo=f"The run is paused: `datamig rollback {job.run_id}` undoes it"
        ) from None
    except BaseException:
        with anyio.move_on_after(10, shield=True):
            await _give_back(job, work.outcomes)
        raise
    del proof["pending"], proof["need_nothing"]
    return RetryReport(
        run_id=str(job.run_id),
        migration=record["migration"],
        status=status,
        outcomes=dict(work.outcomes),
        rows=tuple(work.rows),
        chunks=sum(counters.chunks for counters in job.counters.values()),
        proof=proof,
        seconds=time.monotonic() - began,
    )


def nothing_refused(record: asyncpg.Record) -> RetryReport:
    """The answer for a run that has no row in quarantine."""
    return RetryReport(
        run_id=str(record["id"]),
        migration=record["migration"],
        status=record["status"],
        outcomes={},
        rows=(),
        chunks=0,
        proof={},
        seconds=0.0,
    )


async def _give_back(job: Job, outcomes: Mapping[RowOutcome, int]) -> None:
    try:
        async with job.db.acquire() as connection:
            await _put_back(connection, job, outcomes)
    except (*DRIVER_ERRORS, LeaseLost):
        pass  # it stays `running`, held by nobody: a retry or a resume takes it up


async def _put_back(
    connection: PoolConnectionProxy[Any], job: Job, outcomes: Mapping[RowOutcome, int]
) -> Any:
    """Give the run the status back that it had: with a report it had succeeded."""
    async with transaction(connection):
        if await job.ledger.runs.guard(connection, job.run_id, job.epoch) is None:
            raise LeaseLost(f"run {job.run_id} was taken over by another process")
        (record,) = await job.ledger.runs.find(connection, run_id=job.run_id)
        if record["status"] != "running":
            return record["status"]  # by an earlier try, whose answer was lost
        status = "paused" if record["report"] is None else "succeeded"
        if record["report"] is None:
            await job.ledger.runs.set_status(connection, job.run_id, status, record["error"])
        else:
            figures = {"changed_rows": record["changed"], "quarantined_rows": record["quarantined"]}
            body = orjson.dumps(orjson.loads(record["report"]) | figures)
            await job.ledger.runs.finish(connection, job.run_id, record["changed"], body)
        await job.ledger.audit.append(connection, "retry-ended", job.run_id, {"rows": dict(outcomes)})
        await job.ledger.runs.release(connection, job.run_id, job.epoch)
        return status


@attrs.define(kw_only=True)
class Retry:
    """One retry at work."""

    job: Job
    outcomes: Counter[RowOutcome] = attrs.field(factory=Counter)
    rows: list[RetriedRow] = attrs.field(factory=list)
    #: Those that stay in quarantine because others would not let go of them.
    _busy: set[tuple[str, Key]] = attrs.field(factory=set)
    _began: datetime | None = None

    @property
    def moment(self) -> datetime:
        """When it began, by the server's clock: what was listed later was listed by it."""
        assert self._began is not None
        return self._began

    async def execute(self) -> None:
        """Take up every refused row once."""
        job = self.job

        async def look(connection: PoolConnectionProxy[Any]) -> list[asyncpg.Record]:
            return await job.ledger.work.refused_tables(connection, job.run_id)

        for place in await steadily(job, "looking for refused rows", look):
            self._began = self._began or place["now"]
            numbers = [n for n, shape in enumerate(job.shapes) if shape.table == place["tablename"]]
            relation: str = place["relation"]
            merging = job.targets[numbers[0]].action == "merge"
            if merging:
                await self._merge(numbers[0], relation)
            await self._pages(relation, () if merging or place["gone"] else numbers, numbers[0])

    async def _pages(self, relation: str, numbers: Sequence[int], first: int) -> None:
        """Go through a heap's refused rows, and ask each of its targets about them.

        Without targets they are only looked for: what is there needs nothing.
        """
        slow = any(self.job.targets[number].slow for number in numbers)
        size = min(self.job.size.rows, _SLOW_PAGE if slow else _PAGE)
        after: Key = ()
        while True:

            async def page(connection: PoolConnectionProxy[Any], after: Key = after) -> list[Key]:
                return await self.job.ledger.work.refused(
                    connection, self.job.run_id, relation, after=after, limit=size, before=self.moment
                )

            keys = await steadily(self.job, "looking for refused rows", page)
            if not keys:
                return
            after = keys[-1]
            await self._until_settled(
                first,
                [key for key in keys if (relation, key) not in self._busy],
                lambda keys: self._ask(relation, numbers or (first,), keys, asked=bool(numbers)),
            )

    async def _until_settled(
        self,
        number: int,
        keys: Sequence[Key],
        look: Callable[[Sequence[Key]], Awaitable[Verdicts]],
    ) -> None:
        """Look at rows, and some times again at those that others were writing; note the outcomes."""
        table, delays = self.job.shapes[number].table, Backoff().delays()
        for left in reversed(range(_LOOKS)):
            if not keys:
                return
            verdicts = await look(keys)
            for key, verdict in verdicts.items():
                if verdict.outcome != "busy" or not left:
                    self._note(table, key, verdict)
            keys = [key for key, verdict in verdicts.items() if verdict.outcome == "busy"]
            if keys and left:
                await self.job.wait("the application writes or locks rows that were refused", next(delays))

    def _note(self, table: str, key: Key, verdict: Verdict) -> None:
        self.outcomes[verdict.outcome] += 1
        if len(self.rows) < LISTED:
            entry = verdict.entry
            code, reason = (entry.code, entry.reason) if entry else ("", "")
            self.rows.append(
                RetriedRow(table=table, key=key, outcome=verdict.outcome, code=code, reason=reason)
            )

    async def _ask(
        self, relation: str, numbers: Sequence[int], keys: Sequence[Key], *, asked: bool
    ) -> Verdicts:
        """A chunk for each target; the last takes the rows out of quarantine."""
        seen: Verdicts = {}
        for number in numbers:
            act: Act = _nothing
            if asked and self.job.targets[number].action == "delete":
                act = self._deleting(number, relation, keys)
            elif asked:
                act = self._updating(number, relation, await self._read(number, relation, keys))
            seen = await self._commit(number, relation, keys, act, seen, last=number == numbers[-1])
        return seen

    async def _read(self, number: int, relation: str, keys: Sequence[Key]) -> tuple[Batch, set[Key]]:
        """What the migration says of the rows that it wants; and which those are."""
        target = self.job.targets[number]
        shape = target.shape.at(relation)
        wanted = target.pending if target.inspect is None else f"({target.pending}) OR ({target.inspect})"
        query = shape.window_sql(f"({wanted}) AND {shape.among(4)}", target.lookups.values())
        records: list[asyncpg.Record] = []

        async def read(_: Mode) -> None:
            async with self.job.db.acquire() as connection:
                records[:] = await connection.fetch(
                    query, (0, 0), (_BLOCKS, 0), len(keys), *transposed(keys, len(shape.key))
                )

        await persistently(self.job, f"reading {relation}", read, skip=False)
        batch = (
            await anyio.to_thread.run_sync(judge, target, records) if target.slow else judge(target, records)
        )
        return batch, {tuple(record)[1 : 1 + len(shape.key)] for record in records}

    def _updating(self, number: int, relation: str, judged: tuple[Batch, set[Key]]) -> Act:
        batch, wanted = judged
        writer = ChunkWriter(job=self.job, target=number, sweep=SWEEP)

        async def act(connection: PoolConnectionProxy[Any], mode: Mode) -> tuple[Written, Verdicts]:
            written = await writer.update(connection, relation, batch.items, batch.refusals, mode)
            changed = {key for effect in written.effects for key in getattr(effect, "keys", ())}
            verdicts = {key: Verdict("unneeded") for key in wanted}
            verdicts |= {item.key: Verdict("busy") for item in batch.items}
            verdicts |= _listed(written.refusals, changed)
            for key in changed:
                verdicts[key] = Verdict("changed", verdicts[key].entry)
            return written, verdicts

        return act

    def _deleting(self, number: int, relation: str, keys: Sequence[Key]) -> Act:
        purge = WindowPurge(self.job, number, SWEEP, Window(relation, 0, _BLOCKS))

        async def act(connection: PoolConnectionProxy[Any], mode: Mode) -> tuple[Written, Verdicts]:
            written, had, locked = await purge.delete_named(connection, keys, mode)
            verdicts = {key: Verdict("busy") for key in locked} | {key: Verdict("changed") for key in had}
            return written, verdicts | _listed(written.refusals)

        return act

    async def _merge(self, number: int, relation: str) -> None:
        """Merge the groups that have a refused duplicate, whole."""
        job, merge = self.job, self.job.targets[number].merge
        assert merge is not None
        count = await steadily(
            job, "counting duplicates", lambda connection: count_duplicates(connection, merge)
        )
        for window in merge_windows(job.targets[number], count, 1):

            async def read(connection: PoolConnectionProxy[Any], window: Window = window) -> list[Group]:
                return await read_groups(connection, job, number, window, SWEEP, refused=True)

            groups = await steadily(job, f"reading {relation}", read)
            while groups:
                part = groups[: group_count(groups, 0, job.size.rows)]
                groups = groups[len(part) :]
                await self._merge_part(number, relation, part)

    async def _merge_part(self, number: int, relation: str, part: Sequence[Group]) -> None:
        keys = [key for group in part for key in group[1:]]

        async def act(connection: PoolConnectionProxy[Any], mode: Mode) -> tuple[Written, Verdicts]:
            chunk = MergeChunk(job=self.job, number=number, sweep=SWEEP, connection=connection)
            written = await chunk.merge(part, mode)
            verdicts = {key: Verdict("changed") for key in keys} | _listed(written.refusals)
            verdicts |= {key: Verdict("busy") for group in chunk.later for key in group[1:]}
            return written, verdicts

        async def look(_: Sequence[Key]) -> Verdicts:
            return await self._commit(number, relation, keys, act, {}, last=True)

        await self._until_settled(number, keys, look)
        self._busy |= {(relation, row.key) for row in self.rows[-len(keys) :] if row.outcome == "busy"}

    async def _commit(
        self,
        number: int,
        relation: str,
        keys: Sequence[Key],
        act: Act,
        seen: Verdicts,
        *,
        last: bool,
    ) -> Verdicts:
        """One chunk; the last of a page settles what the others have seen, too."""
        job, tries = self.job, list[Verdicts]()

        async def work(connection: PoolConnectionProxy[Any], mode: Mode) -> Written:
            written, found = await act(connection, mode)
            verdicts = await self._absent(connection, number, relation, keys, found)
            verdicts = {key: _first(verdict, seen.get(key)) for key, verdict in verdicts.items()}
            tries.append(verdicts)
            if not last:
                return attrs.evolve(written, refusals=())
            settled = {key: verdict for key, verdict in verdicts.items() if verdict.outcome != "busy"}
            await job.ledger.work.lift(connection, job.run_id, relation, list(settled))
            told = Counter(verdict.outcome for verdict in settled.values())
            entry = {"table": job.shapes[number].table, "rows": dict(told)}
            await job.ledger.audit.append(connection, "rows-retried", job.run_id, entry)
            entries = [verdict.entry for verdict in settled.values() if verdict.entry is not None]
            return attrs.evolve(written, refusals=entries)

        writer = ChunkWriter(job=job, target=number, sweep=SWEEP)
        done = await writer.commit(relation, work)
        return await self._recalled(relation, keys, tries) if done.before else tries[-1]

    async def _absent(
        self,
        connection: PoolConnectionProxy[Any],
        number: int,
        relation: str,
        keys: Sequence[Key],
        found: Verdicts,
    ) -> Verdicts:
        """With the rows that the migration does not want any more, or that are gone."""
        rest = [key for key in keys if key not in found]
        if not rest:
            return found
        there: set[Key] = set()
        shape = self.job.shapes[number].at(relation)
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", relation):
            rows = await connection.fetch(shape.present_sql(), *transposed(rest, len(shape.key)))
            there = {rest[row["ord"] - 1] for row in rows}
        return found | {key: Verdict("unneeded" if key in there else "gone") for key in rest}

    async def _recalled(self, relation: str, keys: Sequence[Key], tries: Sequence[Verdicts]) -> Verdicts:
        """What an earlier try did whose acknowledgement was lost: the quarantine tells, and the tries."""

        async def look(connection: PoolConnectionProxy[Any]) -> dict[Key, asyncpg.Record]:
            return await self.job.ledger.work.entries(connection, self.job.run_id, relation, keys)

        listed = await steadily(self.job, "looking at refused rows", look)
        verdicts: Verdicts = {}
        for key in keys:
            said = [verdicts[key] for verdicts in tries if key in verdicts]
            settled = [verdict for verdict in said if verdict.outcome in {"changed", "unneeded", "gone"}]
            entry = listed.get(key)
            if entry is not None and entry["at"] < self.moment:
                verdicts[key] = Verdict("busy")
            elif entry is None or (settled and settled[0].outcome == "changed"):
                verdicts[key] = settled[0] if settled else Verdict("unneeded")
            else:
                left = entry["left_alone"]
                listed_as = Refusal(key=key, code=entry["code"], reason=entry["reason"], left=left)
                verdicts[key] = Verdict("left" if left else "refused", listed_as)
        return verdicts


async def _nothing(_: PoolConnectionProxy[Any], __: Mode) -> tuple[Written, Verdicts]:
    return Written(), {}


def _listed(refusals: Sequence[Refusal], changed: set[Key] | None = None) -> Verdicts:
    return {
        refusal.key: Verdict("left" if refusal.left else "refused", refusal)
        for refusal in refusals
        if changed is None or refusal.key not in changed or refusal.left
    }


def _first(verdict: Verdict, other: Verdict | None) -> Verdict:
    if other is None:
        return verdict
    return min(verdict, other, key=lambda each: _ORDER.index(each.outcome))

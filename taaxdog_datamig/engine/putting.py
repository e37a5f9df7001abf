"""Puts an archive's rows back, chunk by chunk, where their key is absent.

Parts are read backwards, the last deleted first, and within a part parents come before what refers to them:
so each foreign key finds its row, as it did when the rows were there. Rows that miss one all the same are
tried again when the others are in, and in the end, for references that go round, together with the rest of
their part in one statement. Doing it twice does nothing more, which is how an interrupted restore goes on.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import attrs

from taaxdog_datamig.archive.forms import parsed
from taaxdog_datamig.engine.apply import Mode, persistently, session_sql
from taaxdog_datamig.engine.archive_reports import RefusedRow
from taaxdog_datamig.pg.keys import may_set_aside, restore_triggers
from taaxdog_datamig.pg.retry import Fault, classify, describe, sqlstate
from taaxdog_datamig.pg.rows import transposed
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.archive import Archive
    from taaxdog_datamig.engine.fitting import Fit
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import ArchivePart, Key

#: Refused rows that are listed.
LISTED = 10_000
_FOREIGN_KEY = "23503"


@attrs.frozen
class Line:
    """A row of an archive. Never shown."""

    #: Its place in its part.
    number: int
    key: Key
    text: str = attrs.field(repr=False)
    row: Mapping[str, str | None] = attrs.field(repr=False)


@attrs.frozen
class Refused:
    """A row that the server does not take, or not yet."""

    number: int
    table: str
    key: Key
    state: str
    reason: str


class _Altered(Exception):
    """A column of another type now stored something else than was archived."""


@attrs.define
class _Outcome:
    """What became of some rows."""

    inserted: set[Key] = attrs.field(factory=set)
    present: set[Key] = attrs.field(factory=set)
    refused: list[Refused] = attrs.field(factory=list)


@attrs.define(kw_only=True)
class Putter:
    """One restore.

    Args:
        job: where it is done; in a dry run everything happens in one transaction of the job's session.
        archive: verified.
        fits: where the rows go, parents first.
    """

    job: Job
    archive: Archive
    fits: Mapping[str, Fit]
    inserted: Counter[str] = attrs.field(factory=Counter)
    present: Counter[str] = attrs.field(factory=Counter)
    refused: Counter[str] = attrs.field(factory=Counter)
    listed: list[RefusedRow] = attrs.field(factory=list)
    chunks: int = 0
    #: Rows that miss a row they refer to, by part.
    _orphans: defaultdict[str, list[Refused]] = attrs.field(factory=lambda: defaultdict(list))

    async def put_back(self) -> None:
        """Put back what is absent.

        Raises:
            ArchiveError: a part is damaged; what was put back before stays.
            ServerRefused, DatabaseUnavailable: see `apply.persistently`.
        """
        parts = [
            part for part in reversed(self.archive.manifest.parts) if part.rows.keys() & self.fits.keys()
        ]
        for part in parts:
            await self._part(part, None)
        before = -1
        while self._orphans and self.inserted.total() != before:
            before = self.inserted.total()
            await self._again(parts)
            if self.inserted.total() == before:
                await self._circles(parts)
        for left in self._orphans.values():
            for row in left:
                self._refuse(row)

    async def _again(self, parts: Sequence[ArchivePart]) -> None:
        """Try rows that missed another one."""
        waiting, self._orphans = self._orphans, defaultdict(list)
        for part in parts:
            if part.name in waiting:
                await self._part(part, {row.number for row in waiting[part.name]})

    async def _circles(self, parts: Sequence[ArchivePart]) -> None:
        """Try them together, part by part."""
        for part in parts:
            if part.name in self._orphans and await self._together(part, self._orphans[part.name]):
                del self._orphans[part.name]

    async def _part(self, part: ArchivePart, only: Collection[int] | None) -> None:
        """Put back a part's rows, or those at some places in it."""
        groups = await anyio.to_thread.run_sync(self._groups, part, only)
        for table, lines in groups.items():
            at = 0
            while at < len(lines):
                chunk = lines[at : at + self.job.size.rows]
                await self._chunk(part, table, chunk)
                at += len(chunk)

    def _groups(self, part: ArchivePart, only: Collection[int] | None) -> dict[str, list[Line]]:
        """A part's rows by table, parents first, the last deleted first."""
        texts = self.archive.lines(part)
        groups: dict[str, list[Line]] = {table: [] for table in self.fits}
        for number, (table, row) in enumerate(parsed(texts)):
            if table in groups and (only is None or number in only):
                key = tuple(row[field.column] or "" for field in self.fits[table].shape.key)
                groups[table].append(Line(number, key, texts[number].decode(), row))
        return {table: lines[::-1] for table, lines in groups.items() if lines}

    async def _chunk(self, part: ArchivePart, table: str, lines: Sequence[Line]) -> None:
        outcome = _Outcome()
        first: set[Key] | None = None
        began = time.monotonic()

        async def once(mode: Mode) -> None:
            nonlocal outcome, first
            settings = self.job.db.settings
            async with self.job.connect() as connection, transaction(connection):
                await connection.execute(session_sql(settings.lock_timeout, settings.chunk_seconds))
                outcome = await self._insert(connection, table, lines, mode)
                if outcome.inserted:
                    await self._audit(connection, part, {table: outcome})
                if first is None:
                    first = set(outcome.present)
                elif mode.uncertain:
                    # Put there by an earlier try, whose commit was not acknowledged.
                    outcome.inserted |= outcome.present - first
                    outcome.present &= first

        await persistently(self.job, f"restoring rows of {table}", once, skip=False)
        self._count(part, table, outcome)
        self.chunks += 1
        self.job.chunk_done(
            list(self.fits).index(table),
            changed=len(outcome.inserted),
            conflicts=len(outcome.present),
            quarantined=0,
            hot=0,
            seconds=time.monotonic() - began,
            size=sum(len(line.text) for line in lines),
        )

    def _count(self, part: ArchivePart, table: str, outcome: _Outcome) -> None:
        self.inserted[table] += len(outcome.inserted)
        self.present[table] += len(outcome.present)
        for row in outcome.refused:
            if row.state == _FOREIGN_KEY:
                self._orphans[part.name].append(row)
            else:
                self._refuse(row)

    def _refuse(self, row: Refused) -> None:
        self.refused[row.table] += 1
        if len(self.listed) < LISTED:
            self.listed.append(
                RefusedRow(table=row.table, key=row.key, code=f"refused-{row.state}", reason=row.reason)
            )

    async def _audit(
        self, connection: PoolConnectionProxy[Any], part: ArchivePart, outcomes: Mapping[str, _Outcome]
    ) -> None:
        if self.job.dry_run:
            return
        entry = {
            "archive": str(self.archive.manifest.id),
            "part": part.name,
            "inserted": {table: len(outcome.inserted) for table, outcome in outcomes.items()},
            "present": {table: len(outcome.present) for table, outcome in outcomes.items()},
            "refused": {table: len(outcome.refused) for table, outcome in outcomes.items()},
        }
        await self.job.ledger.audit.append(connection, "archive-chunk-restored", self.job.run_id, entry)

    async def _insert(
        self, connection: PoolConnectionProxy[Any], table: str, lines: Sequence[Line], mode: Mode
    ) -> _Outcome:
        fit = self.fits[table]
        shape = fit.at(lines[0].row)
        keys = transposed([line.key for line in lines], len(shape.key))
        there = {row["ord"] - 1 for row in await connection.fetch(shape.present_sql(), *keys)}
        outcome = _Outcome(present={lines[place].key for place in there})
        absent = [line for place, line in enumerate(lines) if place not in there]
        # Rows come back as broken as they were: see `takeback`.
        aside = bool(fit.broken) and await may_set_aside(connection)
        checked = [key for key in fit.foreign if key not in fit.broken] if aside else []
        holding = "".join(f" AND NOT {key.dangling('t')}" for key in checked)
        statement = _Statement(connection, fit, lines[0].row, holding)
        await statement.insert(absent, outcome, bisect=mode.bisect)
        refused = {row.key for row in outcome.refused}
        for line in absent:
            if line.key not in outcome.inserted and line.key not in refused:
                await statement.explain(line, outcome)
        if aside:
            await restore_triggers(connection)
        return outcome

    async def _together(self, part: ArchivePart, left: Sequence[Refused]) -> bool:
        """Insert rows at once, since references that go round hold only then; tells whether they are in."""
        groups = await anyio.to_thread.run_sync(self._groups, part, {row.number for row in left})
        shapes = {table: self.fits[table].at(lines[0].row) for table, lines in groups.items()}
        inserts = [
            f"i{i} AS ({shape.insert_sql(skip=False, number=i + 1)})"
            for i, shape in enumerate(shapes.values())
        ]
        query = f"WITH {', '.join(inserts)} SELECT 1"
        done = False

        async def once(_: Mode) -> None:
            nonlocal done
            settings = self.job.db.settings
            try:
                async with self.job.connect() as connection, transaction(connection):
                    await connection.execute(session_sql(settings.lock_timeout, settings.chunk_seconds))
                    await connection.fetch(
                        query, *([line.text for line in lines] for lines in groups.values())
                    )
                    outcomes = {
                        table: _Outcome(inserted={line.key for line in lines})
                        for table, lines in groups.items()
                    }
                    await self._audit(connection, part, outcomes)
                done = True
            except asyncpg.PostgresError as error:
                if classify(error) is not Fault.DATA:
                    raise

        await persistently(self.job, "restoring rows that refer to each other", once, skip=False)
        if done:
            self.chunks += 1
            for table, lines in groups.items():
                self.inserted[table] += len(lines)
        return done


@attrs.frozen
class _Statement:
    """The insert of one chunk, and finding out which rows it fails on, and why."""

    connection: PoolConnectionProxy[Any]
    fit: Fit
    #: Column names.
    columns: Collection[str]
    #: SQL over the new row as `t`.
    condition: str

    async def insert(self, lines: Sequence[Line], outcome: _Outcome, *, bisect: bool) -> None:
        """Insert rows; with `bisect`, halve until those that the server refuses stand alone."""
        if not lines:
            return
        if not bisect:
            # An altered value shows when it is stored: then halving finds it, in savepoints.
            try:
                async with transaction(self.connection):
                    outcome.inserted |= await self._run(lines)
            except _Altered:
                await self.insert(lines, outcome, bisect=True)
            return
        try:
            async with transaction(self.connection):
                done = await self._run(lines)
            outcome.inserted |= done
        except (asyncpg.PostgresError, _Altered) as error:
            if isinstance(error, asyncpg.PostgresError) and classify(error) is not Fault.DATA:
                raise
            if len(lines) == 1:
                outcome.refused.append(self._refused(lines[0], error))
                return
            middle = len(lines) // 2
            await self.insert(lines[:middle], outcome, bisect=True)
            await self.insert(lines[middle:], outcome, bisect=True)

    async def explain(self, line: Line, outcome: _Outcome) -> None:
        """Why a row was left out: insert it alone, so that the server names what is in the way."""
        try:
            async with transaction(self.connection):
                done = await self._run([line], skip=False)
        except asyncpg.PostgresError as error:
            if classify(error) is not Fault.DATA:
                raise
            outcome.refused.append(self._refused(line, error))
            return
        except _Altered as error:
            outcome.refused.append(self._refused(line, error))
            return
        if done:
            outcome.inserted |= done
        else:
            reason = "it refers to a row that does not exist"
            outcome.refused.append(Refused(line.number, self.fit.shape.table, line.key, _FOREIGN_KEY, reason))

    async def _run(self, lines: Sequence[Line], *, skip: bool = True) -> set[Key]:
        shape = self.fit.at(self.columns)
        retyped = [field for field in self.fit.retyped if field.column in self.columns]
        query = shape.insert_sql(self.condition, skip=skip, also=retyped)
        width = len(shape.key)
        found = {
            tuple(row)[:width]: tuple(row)[width:]
            for row in await self.connection.fetch(query, [line.text for line in lines])
        }
        if retyped:
            for line in lines:
                stored = found.get(line.key)
                if stored is not None and stored != tuple(line.row[field.column] for field in retyped):
                    raise _Altered
            if not found.keys() <= {line.key for line in lines}:
                raise _Altered
        return set(found)

    def _refused(self, line: Line, error: Exception) -> Refused:
        if isinstance(error, asyncpg.PostgresError):
            state, reason = sqlstate(error), describe(error)
        else:
            state, reason = "retyped", "a column's type is another now, and so would be the value"
        return Refused(line.number, self.fit.shape.table, line.key, state, sys.intern(reason))

"""One scan of a table serves all checks of its rows.

The table is read in pieces, ranges of its pages, by as many workers as there are. Of each piece one statement
counts the rows that break each rule, and brings back where the first of them lie: their keys are fetched by
address, and no table is read a second time for them. Suspects that Python must judge are fetched by address,
too, piece by piece, but for checks that may take a sample: those wait until it is known how many there are.
"""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import anyio
import asyncpg
import attrs

from taaxdog_datamig.pg.catalog import leaves
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.validation.examine import Examination, stream
from taaxdog_datamig.validation.model import ExaminedCheck, Failure, Findings, RowCheck
from taaxdog_datamig.validation.sharing import lifted
from taaxdog_datamig.validation.statements import LOCKED, TOO_LONG, attempt, failure_of, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy
    from asyncpg.prepared_stmt import PreparedStatement

    from taaxdog_datamig.validation.scene import Scene
    from taaxdog_datamig.validation.statements import Outcome
    from taaxdog_datamig.validation.subject import Bounds, Subject

#: Pages of a piece. What the server keeps of a piece, 8 bytes for each offender, is bounded by it.
PIECE = 4096
#: Suspects of a piece that are fetched by address; where there are more, the piece is read again.
_FEW = 2_000

Address = tuple[int, int]


@attrs.frozen(kw_only=True)
class Piece:
    """A part of a table that one statement reads."""

    #: SQL: what stands in FROM, as `t`.
    source: str
    #: The first page, and the one after the last; None where all of the source is read.
    pages: tuple[int, int] | None


@attrs.define(kw_only=True)
class _Seen:
    """What is known of a condition so far."""

    count: int = 0
    #: Source and address of some of the rows for which it is true.
    places: list[tuple[str, Address]] = attrs.field(factory=list)
    failure: Failure | None = None


@attrs.define(kw_only=True, eq=False)
class TableScan:
    """The checks of a table that one scan serves. Several workers may `run` it at the same time."""

    scene: Scene
    bounds: Bounds
    subject: Subject
    checks: Sequence[RowCheck | ExaminedCheck]
    #: How long it took, once it was run.
    seconds: float = 0.0
    _began: float = attrs.field(default=0.0, init=False)
    _busy: int = attrs.field(default=0, init=False)
    _through: bool = attrs.field(default=False, init=False)
    _rows: dict[Piece, int] = attrs.field(factory=dict, init=False)
    _seen: dict[str, _Seen] = attrs.field(init=False)
    #: SQL by the ids of checks: of offenders or suspects, and of what is certain without a look.
    _conditions: Mapping[str, str] = attrs.field(init=False)
    _certain: Mapping[str, str] = attrs.field(init=False)
    _cutting: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    _pieces: Iterator[Piece] | None = attrs.field(default=None, init=False)
    _now: Examination = attrs.field(init=False)
    _later: Examination = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._conditions = {check.id: self._condition(check) for check in self.checks}
        self._certain = {
            check.id: self._bound(check.certain)
            for check in self.checks
            if isinstance(check, ExaminedCheck) and check.certain
        }
        # Checks may share a condition, such as all that open tokens: it is worked out once.
        conditions = [*self._conditions.values(), *self._certain.values()]
        self._seen = {condition: _Seen() for condition in conditions}
        examined = [check for check in self.checks if isinstance(check, ExaminedCheck)]
        self._now, self._later = (
            Examination.of(
                self.scene,
                self.subject,
                [(check, self._conditions[check.id]) for check in examined if check.may_sample == later],
                self.bounds,
            )
            for later in (False, True)
        )

    @property
    def weight(self) -> int:
        """How long it takes, next to others."""
        return self.subject.table.relation.pages

    @property
    def rows(self) -> int:
        """Rows of the table, or of the part asked about, once it was run."""
        return sum(self._rows.values())

    @property
    def what(self) -> str:
        """What it is called while it is done."""
        return self.subject.table.relation.label

    @property
    def shares(self) -> int:
        """How many workers can be of use."""
        relation = self.subject.table.relation
        return 1 if self.subject.arguments else max(1, relation.pages // PIECE)

    def _condition(self, check: RowCheck | ExaminedCheck) -> str:
        return self._bound(check.violation if isinstance(check, RowCheck) else check.suspect)

    def _bound(self, template: str) -> str:
        bound = self.scene.marked(template, self.subject.table)
        assert bound is not None, template
        return bound

    async def _cut(self, connection: PoolConnectionProxy[Any]) -> Iterator[Piece]:
        """The table in parts; what is asked about of it alone is found by an index, and read at once."""
        if self.subject.arguments:
            return iter([Piece(source=self.subject.source, pages=None)])
        found = []
        try:
            async with transaction(connection):
                # Asked now: before its first ANALYZE the catalog knows no size of a table.
                heaps = await leaves(connection, self.subject.table.relation.oid)
        except asyncpg.PostgresError as error:
            for seen in self._seen.values():
                seen.failure = failure_of(error)
            return iter([])
        for heap in heaps:
            edges = [*range(0, max(heap.pages, 1), PIECE), _NO_END]
            found += [
                Piece(source=f"ONLY {heap.relation} AS t", pages=(edge, after))
                for edge, after in pairwise(edges)
            ]
        return iter(found)

    async def run(self, connection: PoolConnectionProxy[Any]) -> Outcome | None:
        """Work on the pieces that are left.

        Returns:
            What was found, by the checks' ids, to the worker who does the last of it; to others None.
        """
        if self._through:
            # A worker that was held up elsewhere: a second look would count the same rows again.
            return None
        self._began = self._began or time.monotonic()
        self._busy += 1
        async with self._cutting:
            if self._pieces is None:
                self._pieces = await self._cut(connection)
        statements: dict[tuple[str, ...], PreparedStatement[Any]] = {}
        for piece in self._pieces:
            asked = [condition for condition, seen in self._seen.items() if seen.failure is None]
            await self._read(connection, piece, asked, statements)
        self._busy -= 1
        if self._busy:
            return None
        self._through = True
        outcome = await self._outcome(connection)
        self.seconds = time.monotonic() - self._began
        return outcome

    async def _read(
        self,
        connection: PoolConnectionProxy[Any],
        piece: Piece,
        asked: Sequence[str],
        statements: dict[tuple[str, ...], PreparedStatement[Any]],
    ) -> None:
        """Count a piece. A condition that the server refuses does not spoil the others."""
        try:
            async with transaction(connection):
                name = (piece.source, *asked)
                if name not in statements:
                    # By hand: the driver keeps no statement as long as this one.
                    statements[name] = await connection.prepare(self._counting(piece, asked))
                row = await statements[name].fetchrow(*self._arguments(piece))
        except asyncpg.PostgresError as error:
            failure = failure_of(error)
            if len(asked) <= 1 or failure.why in {TOO_LONG, LOCKED}:
                for condition in asked:
                    self._seen[condition].failure = failure
                return
            for half in (asked[: len(asked) // 2], asked[len(asked) // 2 :]):
                await self._read(connection, piece, half, statements)
            return
        assert row is not None
        # Once, however often the piece is read because some condition is refused.
        self._rows[piece] = row[0]
        found = {condition: row[2 + 2 * i] or [] for i, condition in enumerate(asked)}
        suspects: dict[str, list[Address]] = {}
        many = False
        for i, condition in enumerate(asked):
            number, seen = row[1 + 2 * i] or 0, self._seen[condition]
            seen.count += number
            if condition in self._now.groups and number:
                suspects[condition] = found[condition]
                many = many or number > _FEW
            if number:
                # The first in the table, whichever piece was read first.
                more = [(piece.source, address) for address in found[condition]]
                seen.places = sorted(seen.places + more)[: self.bounds.samples]
        if suspects:
            await self._look(connection, piece, suspects, many=many)

    def _counting(self, piece: Piece, asked: Sequence[str]) -> str:
        names, conditions = lifted(asked)
        arrays = "".join(
            f", array_agg(t.ctid) FILTER (WHERE ({condition})) AS a{i}"
            for i, condition in enumerate(conditions)
        )
        slices = "".join(
            f", cardinality(a{i}), a{i}[1:{_FEW if condition in self._now.groups else self.bounds.samples}]"
            for i, condition in enumerate(asked)
        )
        rows = self._from(piece)
        if names:
            columns = "".join(f', {sql} AS "{name}"' for sql, name in names.items())
            # OFFSET keeps the planner from putting each back where it was lifted from.
            rows = f"(SELECT t.ctid, t.*{columns} FROM {rows} OFFSET 0) AS t"
        return f"SELECT n{slices} FROM (SELECT count(*) AS n{arrays} FROM {rows}) AS piece"

    def _from(self, piece: Piece) -> str:
        if piece.pages is None:
            return f"{piece.source} WHERE {self.subject.scope}"
        return f"{piece.source} WHERE t.ctid >= $1::tid AND t.ctid < $2::tid"

    def _arguments(self, piece: Piece) -> tuple[Any, ...]:
        if piece.pages is None:
            return self.subject.arguments
        return ((piece.pages[0], 0), (piece.pages[1], 0))

    async def _look(
        self,
        connection: PoolConnectionProxy[Any],
        piece: Piece,
        suspects: Mapping[str, Sequence[Address]],
        *,
        many: bool,
    ) -> None:
        """Fetch the suspects of a piece and have them judged."""
        try:
            async with transaction(connection):
                if many:
                    source, arguments = self._from(piece), self._arguments(piece)
                    await stream(connection, self._now, list(suspects), source, arguments)
                    return
                by_address: dict[Address, list[str]] = {}
                for condition, addresses in suspects.items():
                    for address in addresses:
                        by_address.setdefault(address, []).append(condition)
                query = (
                    f"SELECT {self._now.selected}, t.ctid FROM {piece.source} WHERE t.ctid = ANY($1::tid[])"
                )
                for record in await connection.fetch(query, list(by_address)):
                    self._now.look(record, by_address[record[-1]])
        except asyncpg.PostgresError as error:
            for condition in suspects:
                self._seen[condition].failure = failure_of(error)

    async def _outcome(self, connection: PoolConnectionProxy[Any]) -> Outcome:
        outcome: Outcome = {}
        await self._look_later(connection)
        judged = self._now.findings() | self._later.findings()
        for check in self.checks:
            seen = self._seen[self._conditions[check.id]]
            outcome[check.id] = seen.failure or judged.get(check.id) or await self._counted(connection, seen)
            if check.id in self._certain:
                certain = self._seen[self._certain[check.id]]
                more = certain.failure or await self._counted(connection, certain)
                outcome[check.id] = _together(outcome[check.id], more, self.bounds.samples)
        return outcome

    async def _counted(self, connection: PoolConnectionProxy[Any], seen: _Seen) -> Findings:
        return Findings(violations=seen.count, sample_keys=await self._keys(connection, seen.places))

    async def _look_later(self, connection: PoolConnectionProxy[Any]) -> None:
        """Look at the suspects of which a sample will do, now that it is known how many there are."""
        groups = self._later.groups
        waiting = {
            condition: self._seen[condition].count
            for condition in groups
            if self._seen[condition].count and self._seen[condition].failure is None
        }
        if not waiting:
            return
        self._later.sample(waiting)
        source = f"{self.subject.source} WHERE {self.subject.scope}"
        try:
            async with transaction(connection):
                await stream(connection, self._later, list(waiting), source, self.subject.arguments)
        except asyncpg.PostgresError as error:
            for condition in waiting:
                self._seen[condition].failure = failure_of(error)

    async def _keys(
        self, connection: PoolConnectionProxy[Any], places: Sequence[tuple[str, Address]]
    ) -> tuple[str, ...]:
        if not (places and self.subject.shows_key):
            return ()
        keys = []
        for source in dict.fromkeys(source for source, _ in places):
            query = f"SELECT {self.subject.key} AS key FROM {source} WHERE t.ctid = ANY($1::tid[])"
            rows = await attempt(connection, query, [[at for place, at in places if place == source]])
            keys += [] if isinstance(rows, Failure) else [row["key"] for row in rows]
        return in_order(keys)


def _together(one: Findings | Failure, other: Findings | Failure, samples: int) -> Findings | Failure:
    """What was judged and what was certain."""
    if isinstance(one, Failure):
        return one
    if isinstance(other, Failure):
        return other
    return Findings(
        violations=one.violations + other.violations,
        sample_keys=tuple(sorted((*one.sample_keys, *other.sample_keys)))[:samples],
        note=one.note,
        sampled=one.sampled,
    )


#: Beyond the last page there can be; a heap may have grown since its size was asked.
_NO_END = 2**32 - 1

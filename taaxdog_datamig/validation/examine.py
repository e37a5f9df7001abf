"""Looking at rows one by one, where SQL cannot judge: tokens are opened, numbers in prose are weighed.

All checks of a table share one pass: a row is read and opened once. Where a check has very many suspects and
may take a sample, it gets one of its own suspects; the samples of checks with the same suspects are the same.
"""

from __future__ import annotations

import math
from bisect import insort
from typing import TYPE_CHECKING, Any, Final

import attrs

from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.identifiers import prose
from taaxdog_datamig.profile import column_of
from taaxdog_datamig.validation.model import Failure, Findings
from taaxdog_datamig.validation.sharing import unmarked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import FieldCipher
    from taaxdog_datamig.crypto.field import Found
    from taaxdog_datamig.identifiers.prose import Kind
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.validation.model import ExaminedCheck
    from taaxdog_datamig.validation.scene import Scene
    from taaxdog_datamig.validation.subject import Bounds, Subject

#: Rows fetched at a time; between two batches other tasks have their turn.
_BATCH: Final = 1_000
#: Chance of a sample without a bad value, at which "fewer than so many are bad" is said.
_DOUBT: Final = 0.05
#: Values of the hash that samples are taken by.
_HASHES: Final = 2**31


class ExaminedRow:
    """A suspect. Its values are not shown by `repr`."""

    __slots__ = ("_ciphers", "_found", "_numbers", "_places", "_record", "key")

    def __init__(
        self,
        record: Record,
        key: tuple[str, ...],
        places: Mapping[str, int],
        ciphers: Mapping[str, FieldCipher],
    ) -> None:
        self._record = record
        #: The key's columns as text.
        self.key = key
        self._places = places
        self._ciphers = ciphers
        self._found: dict[str, Found] = {}
        self._numbers: dict[str, frozenset[Kind]] = {}

    def __repr__(self) -> str:
        return f"ExaminedRow(key={self.key!r})"

    def __getitem__(self, column: str) -> str | None:
        """The text of a column, by its logical name."""
        text: str | None = self._record[self._places[column]]
        return text

    def found(self, column: str) -> Found:
        """What the value of a sensitive column is; it is opened once for all checks."""
        found = self._found.get(column)
        if found is None:
            found = self._found[column] = self._ciphers[column].classify(self[column], self.key)
        return found

    def numbers(self, column: str) -> frozenset[Kind]:
        """What kinds of number the free text of a column holds; it is searched once for all checks."""
        numbers = self._numbers.get(column)
        if numbers is None:
            numbers = self._numbers[column] = prose.find(self[column] or "")
        return numbers


@attrs.define
class _Tally:
    """What a check found so far."""

    check: ExaminedCheck
    keys: list[str] = attrs.field(factory=list)
    violations: int = 0
    failed: str = ""


@attrs.define
class _Group:
    """Checks that look at the same suspects."""

    tallies: list[_Tally] = attrs.field(factory=list)
    #: SQL, true of the suspects to be looked at.
    condition: str = ""
    #: How many suspects there are where only some are looked at; None where all are.
    of: int | None = None
    examined: int = 0

    def look(self, row: ExaminedRow, kept: int) -> None:
        """Have each check judge the row."""
        self.examined += 1
        for tally in self.tallies:
            try:
                if tally.failed or not tally.check.violated(row):
                    continue
            except Exception as error:
                if isinstance(error, DatamigError):
                    raise
                # Its words may quote the value.
                tally.failed = type(error).__name__
                continue
            tally.violations += 1
            if kept:
                # The smallest: which pieces of a table are read first must not show.
                insort(tally.keys, ",".join(row.key))
                del tally.keys[kept:]

    def findings(self) -> Iterator[tuple[str, Findings | Failure]]:
        """What is to be reported, by the checks' ids."""
        for tally in self.tallies:
            found: Findings | Failure = Findings(
                violations=tally.violations,
                sample_keys=tuple(tally.keys),
                note=self._note(tally.violations, self.of) if self.of is not None else "",
                sampled=self.of is not None,
            )
            if tally.failed:
                found = Failure(f"its code raised {tally.failed}")
            yield tally.check.id, found

    def _note(self, violations: int, suspects: int) -> str:
        said = f"{self.examined:,} of {suspects:,} values were examined, picked by a hash of their key"
        if not self.examined:
            return f"{said}: nothing is known"
        if violations:
            likely = round(violations * suspects / self.examined)
            return f"{said}: the {violations:,} found stand for about {likely:,}"
        # With none bad among n, (1 - p)^n says how likely that is if a share p of all is bad.
        bad = -math.log(_DOUBT) / self.examined
        return f"{said}: with 95 % confidence, fewer than {bad:.2%} of all break the rule"


@attrs.define
class Examination:
    """Suspects of a table, looked at one by one.

    Raises:
        KeyFormatError: in `look`, when FIELD_ENCRYPTION_LEGACY_KEY cannot be used.
    """

    _subject: Subject
    _bounds: Bounds
    #: By the SQL that is true of their suspects.
    groups: dict[str, _Group]
    _names: tuple[str, ...]
    _ciphers: Mapping[str, FieldCipher] = attrs.field(repr=False)

    @classmethod
    def of(
        cls, scene: Scene, subject: Subject, checks: Sequence[tuple[ExaminedCheck, str]], bounds: Bounds
    ) -> Examination:
        """An examination by checks, each with the SQL that is true of its suspects."""
        groups: dict[str, _Group] = {}
        for check, condition in checks:
            groups.setdefault(condition, _Group(condition=unmarked(condition))).tallies.append(_Tally(check))
        names = tuple(dict.fromkeys(name for check, _ in checks for name in check.looked_at))
        return cls(subject, bounds, groups, names, _ciphers(scene, subject, names))

    @property
    def selected(self) -> str:
        """SQL: what `look` needs of a row `t`, in the order in which it needs it."""
        columns = [*self._key, *(column_of(self._subject.table, name) for name in self._names)]
        return ", ".join(f"t.{column.quoted}::text" for column in columns if column is not None)

    @property
    def width(self) -> int:
        """How many columns that are."""
        return len(self._key) + len(self._names)

    @property
    def _key(self) -> tuple[Column, ...]:
        return self._subject.table.relation.key_columns

    def look(self, record: Record, conditions: Iterable[str]) -> None:
        """Have a row judged by the checks that suspect it."""
        width = len(self._key)
        places = {name: width + place for place, name in enumerate(self._names)}
        row = ExaminedRow(record, record[:width], places, self._ciphers)
        kept = self._bounds.samples if self._subject.shows_key else 0
        for condition in conditions:
            self.groups[condition].look(row, kept)

    def sample(self, suspects: Mapping[str, int]) -> None:
        """Look at a random sample where there are very many suspects; `suspects` says how many.

        A row is in it by a hash of its key, so that it is the same each time.
        """
        key = ", ".join(f"t.{column.quoted}::text" for column in self._key)
        for condition, number in suspects.items():
            effort = max(tally.check.effort for tally in self.groups[condition].tallies)
            most = self._bounds.examined // effort
            if not key or number <= most:
                continue
            below = most * _HASHES // number
            # hashtextextended gives all 64 bits alike; its top 31 are enough to compare with a share.
            picked = f"((hashtextextended(ROW({key})::text, 0) >> 33) & {_HASHES - 1}) < {below}"
            # The cheap look first.
            self.groups[condition].condition = f"{picked} AND ({unmarked(condition)})"
            self.groups[condition].of = number

    def findings(self) -> dict[str, Findings | Failure]:
        """What was found, by the checks' ids."""
        return dict(found for group in self.groups.values() for found in group.findings())


async def stream(
    connection: PoolConnectionProxy[Any],
    examination: Examination,
    conditions: Sequence[str],
    source: str,
    arguments: Sequence[Any],
) -> None:
    """Fetch suspects by a cursor, and have each judged.

    Args:
        connection: inside a transaction.
        examination: by which checks.
        conditions: of its groups.
        source: SQL after FROM, with its WHERE.
        arguments: of that SQL.
    """
    flags = [f"({examination.groups[condition].condition}) IS TRUE" for condition in conditions]
    query = f"SELECT {', '.join([examination.selected, *flags])} FROM {source} AND ({' OR '.join(flags)})"
    cursor = await connection.cursor(query, *arguments)
    flagged = list(enumerate(conditions, examination.width))
    while records := await cursor.fetch(_BATCH):
        for record in records:
            examination.look(record, [condition for place, condition in flagged if record[place]])


def _ciphers(scene: Scene, subject: Subject, names: Sequence[str]) -> dict[str, FieldCipher]:
    if scene.keyring is None:
        return {}
    table = subject.table
    return {name: scene.keyring.field(table.spec.name, name) for name in names if name in table.sensitive}

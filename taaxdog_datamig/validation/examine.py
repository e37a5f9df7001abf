"""Looking at rows one by one, where SQL cannot judge: tokens are opened, numbers in prose are weighed.

All checks of a table share one pass: a row is read and opened once. Where a check has very many suspects and
may take a sample, it gets one of its own suspects; the samples of checks with the same suspects are the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.identifiers import prose
from taaxdog_datamig.profile import column_of
from taaxdog_datamig.validation.model import Failure, Findings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import FieldCipher
    from taaxdog_datamig.crypto.field import Found
    from taaxdog_datamig.identifiers.prose import Kind
    from taaxdog_datamig.validation.model import ExaminedCheck
    from taaxdog_datamig.validation.scan import Bounds, Subject
    from taaxdog_datamig.validation.scene import Scene

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


@attrs.frozen
class Suspicion:
    """A check, and whom it suspects."""

    check: ExaminedCheck
    #: SQL, true of suspects.
    condition: str
    #: How many there are.
    suspects: int


@attrs.define
class _Tally:
    """What a check found so far."""

    check: ExaminedCheck
    keys: list[str] = attrs.field(factory=list)
    violations: int = 0
    failed: str = ""


@attrs.define
class _Group:
    """Checks that look at the same rows."""

    #: SQL, true of these rows.
    condition: str
    #: How many are suspects, and whether they are all looked at.
    suspects: int
    sampled: bool
    tallies: list[_Tally] = attrs.field(factory=list)
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
            if len(tally.keys) < kept:
                tally.keys.append(",".join(row.key))

    def findings(self) -> Iterator[tuple[str, Findings | Failure]]:
        """What is to be reported, by the checks' ids."""
        for tally in self.tallies:
            found: Findings | Failure = Findings(
                violations=tally.violations,
                sample_keys=tuple(sorted(tally.keys)),
                note=self._note(tally.violations) if self.sampled else "",
            )
            if tally.failed:
                found = Failure(f"its code raised {tally.failed}")
            yield tally.check.id, found

    def _note(self, violations: int) -> str:
        said = f"{self.examined:,} of {self.suspects:,} values were examined, picked by a hash of their key"
        if not self.examined:
            return f"{said}: nothing is known"
        if violations:
            likely = round(violations * self.suspects / self.examined)
            return f"{said}: the {violations:,} found stand for about {likely:,}"
        # With none bad among n, (1 - p)^n says how likely that is if a share p of all is bad.
        bad = -math.log(_DOUBT) / self.examined
        return f"{said}: with 95 % confidence, fewer than {bad:.2%} of all break the rule"


async def examine(
    connection: PoolConnectionProxy[Any],
    scene: Scene,
    subject: Subject,
    suspicions: Sequence[Suspicion],
    bounds: Bounds,
) -> dict[str, Findings | Failure]:
    """Look at each suspect of a table.

    Args:
        connection: inside a transaction.
        scene: where.
        subject: the table.
        suspicions: what to look for.
        bounds: how many keys to keep, and how many rows to look at.

    Raises:
        KeyFormatError: FIELD_ENCRYPTION_LEGACY_KEY cannot be used.
    """
    columns = subject.table.relation.key_columns
    width = len(columns)
    names = tuple(dict.fromkeys(name for each in suspicions for name in each.check.looked_at))
    groups = _grouped(subject, suspicions, bounds.examined)
    looked_at = [column_of(subject.table, name) for name in names]
    texts = [f"t.{column.quoted}::text" for column in (*columns, *looked_at) if column is not None]
    conditions = [group.condition for group in groups]
    query = (
        f"SELECT {', '.join([*texts, *conditions])} FROM {subject.source}"
        f" WHERE ({subject.scope}) AND ({' OR '.join(conditions)})"
    )
    ciphers = _ciphers(scene, subject, names)
    places = {name: width + place for place, name in enumerate(names)}
    kept = bounds.samples if subject.shows_key else 0
    flagged = list(enumerate(groups, width + len(names)))
    cursor = await connection.cursor(query, *subject.arguments)
    while records := await cursor.fetch(_BATCH):
        for record in records:
            row = ExaminedRow(record, record[:width], places, ciphers)
            for flag, group in flagged:
                if record[flag]:
                    group.look(row, kept)
    return dict(found for group in groups for found in group.findings())


def _grouped(subject: Subject, suspicions: Sequence[Suspicion], limit: int) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for each in suspicions:
        sampled = each.check.may_sample and each.suspects > limit and bool(subject.table.relation.key_columns)
        condition = _sample(subject, each, limit) if sampled else f"({each.condition}) IS TRUE"
        group = groups.setdefault(condition, _Group(condition, each.suspects, sampled))
        group.tallies.append(_Tally(each.check))
    return list(groups.values())


def _sample(subject: Subject, suspicion: Suspicion, limit: int) -> str:
    """SQL, true of a random sample. A row is in it by a hash of its key, so that it is the same each time."""
    key = ", ".join(f"t.{column.quoted}::text" for column in subject.table.relation.key_columns)
    below = limit * _HASHES // suspicion.suspects
    # hashtextextended gives all 64 bits alike; its top 31 are enough to compare with a share.
    picked = f"((hashtextextended(ROW({key})::text, 0) >> 33) & {_HASHES - 1}) < {below}"
    return f"(({suspicion.condition}) AND {picked}) IS TRUE"


def _ciphers(scene: Scene, subject: Subject, names: Sequence[str]) -> dict[str, FieldCipher]:
    if scene.keyring is None:
        return {}
    table = subject.table
    return {name: scene.keyring.field(table.spec.name, name) for name in names if name in table.sensitive}

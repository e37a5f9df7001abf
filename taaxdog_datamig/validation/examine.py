"""Looking at rows one by one, where SQL cannot judge: tokens are opened, numbers in prose are weighed.

All checks of a table share one pass: a row is read and opened once. Where a check has very many suspects and
may take a sample, it gets one of its own suspects; the samples of checks with the same suspects are the same.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.profile import column_of
from taaxdog_datamig.validation.model import Failure, Findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import FieldCipher
    from taaxdog_datamig.crypto.field import Found
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

    __slots__ = ("_ciphers", "_found", "_places", "_record", "key")

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

    suspicion: Suspicion
    #: Where the row says whether it is to be looked at.
    flag: int
    sampled: bool
    examined: int = 0
    violations: int = 0
    keys: list[str] = attrs.field(factory=list)
    failed: str = ""

    def look(self, row: ExaminedRow) -> bool:
        """Whether the row breaks the rule."""
        if self.failed:
            return False
        self.examined += 1
        try:
            violated = self.suspicion.check.violated(row)
        except Exception as error:
            if isinstance(error, DatamigError):
                raise
            # Its words may quote the value.
            self.failed = type(error).__name__
            return False
        self.violations += violated
        return violated

    def findings(self) -> Findings | Failure:
        """What is to be reported."""
        if self.failed:
            return Failure(f"its code raised {self.failed}")
        return Findings(
            violations=self.violations,
            sample_keys=tuple(sorted(self.keys)),
            note=self._note() if self.sampled else "",
        )

    def _note(self) -> str:
        total = self.suspicion.suspects
        said = f"{self.examined:,} of {total:,} values were examined, picked by a hash of their key"
        if not self.examined:
            return f"{said}: nothing is known"
        if self.violations:
            likely = round(self.violations * total / self.examined)
            return f"{said}: the {self.violations:,} found stand for about {likely:,}"
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
    flags: dict[str, int] = {}
    tallies = []
    for each in suspicions:
        sampled = each.check.may_sample and each.suspects > bounds.examined and width > 0
        condition = _sample(subject, each, bounds.examined) if sampled else f"({each.condition}) IS TRUE"
        place = flags.setdefault(condition, width + len(names) + len(flags))
        tallies.append(_Tally(each, place, sampled))
    looked_at = [column_of(subject.table, name) for name in names]
    texts = [f"t.{column.quoted}::text" for column in (*columns, *looked_at) if column is not None]
    query = (
        f"SELECT {', '.join([*texts, *flags])} FROM {subject.source}"
        f" WHERE ({subject.scope}) AND ({' OR '.join(flags)})"
    )
    ciphers = _ciphers(scene, subject, names)
    places = {name: width + place for place, name in enumerate(names)}
    kept = bounds.samples if subject.shows_key else 0
    cursor = await connection.cursor(query, *subject.arguments)
    while records := await cursor.fetch(_BATCH):
        for record in records:
            row = ExaminedRow(record, record[:width], places, ciphers)
            for tally in tallies:
                if record[tally.flag] and tally.look(row) and len(tally.keys) < kept:
                    tally.keys.append(",".join(row.key))
    return {tally.suspicion.check.id: tally.findings() for tally in tallies}


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

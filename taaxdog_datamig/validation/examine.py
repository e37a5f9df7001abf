"""Looking at rows one by one, where SQL cannot judge: tokens are opened, numbers in prose are weighed."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.identifiers import prose
from taaxdog_datamig.profile import column_of
from taaxdog_datamig.validation.model import Findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import FieldCipher
    from taaxdog_datamig.crypto.field import Found
    from taaxdog_datamig.identifiers.prose import Kind
    from taaxdog_datamig.validation.model import ExaminedCheck
    from taaxdog_datamig.validation.scan import Bounds, Subject
    from taaxdog_datamig.validation.scene import Scene

#: Rows fetched at a time.
_BATCH = 2_000
#: Chance of a sample without a bad value, at which "fewer than so many are bad" is said.
_DOUBT = 0.05


@attrs.define
class ExaminedRow:
    """A suspect. Its values are not shown by `repr`."""

    #: The key's columns as text.
    key: tuple[str, ...]
    _values: Mapping[str, str | None] = attrs.field(repr=False)
    _ciphers: Mapping[str, FieldCipher] = attrs.field(repr=False)
    _found: dict[str, Found] = attrs.field(factory=dict, repr=False, init=False)
    _numbers: dict[str, frozenset[Kind]] = attrs.field(factory=dict, repr=False, init=False)

    def __getitem__(self, column: str) -> str | None:
        """The text of a column, by its logical name."""
        return self._values[column]

    def found(self, column: str) -> Found:
        """What the value of a sensitive column is; it is opened once for all checks."""
        if column not in self._found:
            self._found[column] = self._ciphers[column].classify(self._values[column], self.key)
        return self._found[column]

    def numbers(self, column: str) -> frozenset[Kind]:
        """What kinds of number the free text of a column holds; it is searched once for all checks."""
        if column not in self._numbers:
            self._numbers[column] = prose.find(self._values[column] or "")
        return self._numbers[column]


async def examine(
    connection: PoolConnectionProxy[Any],
    scene: Scene,
    subject: Subject,
    checks: Sequence[ExaminedCheck],
    suspects: str,
    bounds: Bounds,
) -> Mapping[str, Findings]:
    """Look at each suspect of a table.

    Args:
        connection: inside a transaction.
        scene: where.
        subject: the table.
        checks: what to look for.
        suspects: SQL, true of the rows to look at.
        bounds: how many keys to keep, and how many rows to look at.
    """
    condition = f"({subject.scope}) AND ({suspects})"
    note = ""
    if all(check.may_sample for check in checks):
        condition, note = await _sampled(connection, subject, condition, bounds.examined)
    names = tuple(dict.fromkeys(name for check in checks for name in check.looked_at))
    columns = {name: column_of(subject.table, name) for name in names}
    texts = ", ".join(f"t.{column.quoted}::text" for column in columns.values() if column is not None)
    keys = "".join(f", t.{column.quoted}::text" for column in subject.table.relation.key_columns)
    query = f"SELECT {subject.key}, {texts}{keys} FROM {subject.source} WHERE {condition}"
    ciphers = _ciphers(scene, subject, names)
    counts: dict[str, int] = defaultdict(int)
    samples: dict[str, list[str]] = defaultdict(list)
    width = 1 + len(names)
    async for record in connection.cursor(query, *subject.arguments, prefetch=_BATCH):
        shown, *rest = record
        row = ExaminedRow(tuple(record[width:]), dict(zip(names, rest, strict=False)), ciphers)
        for check in checks:
            if check.violated(row):
                counts[check.id] += 1
                if shown and len(samples[check.id]) < bounds.samples:
                    samples[check.id].append(",".join(shown))
    return {
        check.id: Findings(
            violations=counts[check.id], sample_keys=tuple(sorted(samples[check.id])), note=note
        )
        for check in checks
    }


async def _sampled(
    connection: PoolConnectionProxy[Any], subject: Subject, condition: str, limit: int
) -> tuple[str, str]:
    """The condition for a random sample where there are very many suspects, and what then is to be said.

    A row is in the sample by a hash of its key, so that the same rows are in it each time.
    """
    query = f"SELECT count(*) FROM {subject.source} WHERE {condition}"
    total = await connection.fetchval(query, *subject.arguments)
    key = subject.table.relation.key_columns
    if total <= limit or not key:
        return condition, ""
    texts = ", ".join(f"t.{column.quoted}::text" for column in key)
    share = limit / total
    # hashtextextended gives all 64 bits alike; its top 31 are enough to compare with a share.
    threshold = int(share * 2**31)
    picked = f"((hashtextextended(ROW({texts})::text, 0) >> 33) & 2147483647) < {threshold}"
    # With none bad among n, (1 - p)^n says how likely that is if a share p of all is bad.
    bad = -math.log(_DOUBT) / limit
    note = (
        f"about {limit:,} of {total:,} rows were examined, picked at random; where none of them is bad, "
        f"fewer than {bad:.2%} of all are, with 95 % confidence"
    )
    return f"({condition}) AND {picked}", note


def _ciphers(scene: Scene, subject: Subject, names: Sequence[str]) -> dict[str, FieldCipher]:
    if scene.keyring is None:
        return {}
    table = subject.table
    return {name: scene.keyring.field(table.spec.name, name) for name in names if name in table.sensitive}

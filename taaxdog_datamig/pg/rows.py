"""Reading rows and changing them by compare-and-set, as SQL over a table's *shape*.

Every value travels as its text form, which the session pins (see `database.SESSION`): so any type can be
compared, kept and written again, json and types of extensions included, and a before-image is plain JSON.
Comparisons are by the text's bytes (`COLLATE "C"`): under citext or a case-insensitive collation `=` would
take the application's 'ANN' for our 'Ann'.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import attrs
import orjson

from taaxdog_datamig.pg.quoting import ident, literal


@attrs.frozen(kw_only=True)
class Field:
    """A column as a run reads and writes it."""

    #: Logical name.
    name: str
    #: Physical name.
    column: str
    #: SQL type while the run works, that is after any widening.
    type: str
    #: Whether the value and its text form are the same thing.
    textual: bool

    @property
    def quoted(self) -> str:
        """The physical name, ready for SQL."""
        return ident(self.column)

    @property
    def cast(self) -> str:
        """SQL after a text to make it a value of the column; one that is too long is refused, never cut."""
        return _cast(self)


@attrs.frozen(kw_only=True)
class Shape:
    """The part of a table a run works on. Kept in the ledger, so that a rollback needs no migration code."""

    #: Logical name of the table.
    table: str
    #: Quoted name of the heap: the table, or one partition of it.
    relation: str
    key: tuple[Field, ...]
    columns: tuple[Field, ...]
    #: Whether the relation is a partitioned table, whose rows are in its partitions.
    partitioned: bool = False

    def at(self, relation: str) -> Shape:
        """The same for another heap."""
        same = relation == self.relation
        return attrs.evolve(self, relation=relation, partitioned=self.partitioned and same)

    def to_json(self) -> dict[str, Any]:
        """For the ledger."""
        return attrs.asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Shape:
        """From the ledger."""
        return cls(
            table=value["table"],
            relation=value["relation"],
            key=tuple(Field(**field) for field in value["key"]),
            columns=tuple(Field(**field) for field in value["columns"]),
            partitioned=value.get("partitioned", False),
        )

    @property
    def source(self) -> str:
        """SQL: the relation without tables that inherit from it, as FROM and UPDATE take it."""
        return self.relation if self.partitioned else f"ONLY {self.relation}"

    def _selected(self) -> str:
        keys = [f"t.{ident(field.column)}::text AS k{i}" for i, field in enumerate(self.key)]
        texts = [f"t.{ident(field.column)}::text AS c{i}" for i, field in enumerate(self.columns)]
        return ", ".join(keys + texts)

    def key_array(self) -> str:
        """SQL: the row's key as text[], as the ledger spells it."""
        return f"ARRAY[{', '.join(f't.{ident(field.column)}::text' for field in self.key)}]"

    def window_sql(self, condition: str, lookups: Iterable[str] = ()) -> str:
        """Rows between two TIDs, in heap order: $1 after, $2 before, $3 at most; `condition` may use more.

        Columns: tid, the key's k0.., the values' text c0.., the native value n<i> of each column whose
        text form is not the value itself, and the values e0.. of `lookups`, expressions over the row `t`.
        """
        native = [
            f"t.{ident(field.column)} AS n{i}" for i, field in enumerate(self.columns) if not field.textual
        ]
        extra = [f"({expression}) AS e{i}" for i, expression in enumerate(lookups)]
        selected = ", ".join([self._selected(), *native, *extra])
        return (
            f"SELECT t.ctid AS tid, {selected} FROM ONLY {self.relation} AS t"
            f" WHERE t.ctid > $1::tid AND t.ctid < $2::tid AND ({condition}) ORDER BY t.ctid LIMIT $3"
        )

    def keys_sql(self) -> str:
        """The rows named by one text[] a key column: $1.., with their position as `ord`."""
        names, arrays = bound(len(self.key))
        # OFFSET keeps it a look at the index for each row: a join may be planned as one read of the table.
        return (
            f"SELECT s.ord, r.* FROM unnest({arrays}) WITH ORDINALITY AS s({names}, ord) CROSS JOIN LATERAL"
            f" (SELECT {self._selected()} FROM {self.source} AS t WHERE {self._matches('x')} OFFSET 0) AS r"
        )

    def update_sql(self) -> str:
        """Compare-and-set of many rows.

        Parameters, see `array`: one a key column, then for each column one of old and one of new values.
        Returns the position of each row that was changed, and NULL, or the texts its columns hold now where
        a trigger or the type (`timestamp(3)`, `char(5)`) has made them different from what was sent.
        """
        width = len(self.key) + 2 * len(self.columns)
        names = [f"x{i}" for i in range(len(self.key))]
        names += [f"{side}{i}" for i in range(len(self.columns)) for side in ("o", "w")]
        arrays = ", ".join(f"json_array_elements_text(${i + 1}::json)" for i in range(width))
        sets = ", ".join(
            f"{ident(field.column)} = s.w{i}{_cast(field)}" for i, field in enumerate(self.columns)
        )
        unchanged = " AND ".join(
            f't.{ident(field.column)}::text COLLATE "C" IS NOT DISTINCT FROM s.o{i}'
            for i, field in enumerate(self.columns)
        )
        texts = [f"t.{ident(field.column)}::text" for field in self.columns]
        same = " AND ".join(f'{text} COLLATE "C" IS NOT DISTINCT FROM s.w{i}' for i, text in enumerate(texts))
        stored = f"CASE WHEN NOT ({same}) THEN ARRAY[{', '.join(texts)}] END"
        return (
            f"UPDATE {self.source} AS t SET {sets}"
            f" FROM ROWS FROM ({arrays}) WITH ORDINALITY AS s({', '.join(names)}, ord)"
            f" WHERE {self._matches('x')} AND {unchanged} RETURNING s.ord, {stored}"
        )

    def lock_sql(self) -> str:
        """Lock those of the rows named by $1.. that nobody else has locked; returns their positions."""
        names, arrays = bound(len(self.key))
        return (
            f"SELECT s.ord FROM unnest({arrays}) WITH ORDINALITY AS s({names}, ord)"
            f" JOIN {self.source} AS t ON {self._matches('x')}"
            " FOR NO KEY UPDATE OF t SKIP LOCKED"
        )

    def line_sql(self) -> str:
        """SQL: the row `t` as a line of an archive, `{"table":...,"row":{column: text or null}}`."""
        head = literal(orjson.dumps({"table": self.table}).decode()[:-1] + ',"row":')
        texts = ", ".join(f"t.{ident(f.column)}::text AS {ident(f.column)}" for f in self.columns)
        return f"{head} || (SELECT row_to_json(x)::text FROM (SELECT {texts}) AS x) || '}}'"

    def among(self, first: int) -> str:
        """SQL condition: the row `t` is one of those named by one text[] a key column, from $`first` on."""
        names, arrays = bound(len(self.key), first)
        keys = ", ".join(f"t.{field.quoted}" for field in self.key)
        given = ", ".join(f"s.x{i}::{field.type}" for i, field in enumerate(self.key))
        return f"({keys}) IN (SELECT {given} FROM unnest({arrays}) AS s({names}))"

    def present_sql(self) -> str:
        """Positions of those of the rows named by $1.. that exist, in the table or a partition of it."""
        names, arrays = bound(len(self.key))
        return (
            f"SELECT s.ord FROM unnest({arrays}) WITH ORDINALITY AS s({names}, ord)"
            f" JOIN {self.relation} AS t ON {self._matches('x')}"
        )

    def insert_sql(
        self, condition: str = "", *, skip: bool = True, number: int = 1, also: Iterable[Field] = ()
    ) -> str:
        """Insert rows from lines of an archive.

        Args:
            condition: ` AND ...` over the new row as `t`; rows that do not fulfil it are left out.
            skip: leave rows out where a unique key is in the way; else that is an error.
            number: of the parameter with the lines.
            also: columns whose text, as stored, is returned as well.

        Returns the key, as text, of each row that was inserted.
        """
        names = ", ".join(ident(field.column) for field in self.columns)
        texts = ", ".join(f"{ident(field.column)} text" for field in self.columns)
        values = ", ".join(f"x.{ident(f.column)}{_cast(f)} AS {ident(f.column)}" for f in self.columns)
        keys = ", ".join(f"{ident(field.column)}::text" for field in (*self.key, *also))
        conflict = " ON CONFLICT DO NOTHING" if skip else ""
        return (
            f"INSERT INTO {self.relation} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM ("
            f"SELECT {values} FROM unnest(${number}::text[]) AS l(line),"
            f" json_to_record(l.line::json -> 'row') AS x({texts})) AS t WHERE true{condition}"
            f"{conflict} RETURNING {keys}"
        )

    def delete_sql(self) -> str:
        """Delete the rows named by one text[] a key column: $1.., each as a line of an archive."""
        names, arrays = bound(len(self.key))
        return (
            f"DELETE FROM {self.relation} AS t USING unnest({arrays}) AS s({names})"
            f" WHERE {self._matches('x')} RETURNING {self.line_sql()} AS line"
        )

    def _matches(self, prefix: str) -> str:
        return " AND ".join(
            f"t.{ident(field.column)} = s.{prefix}{i}::{field.type}" for i, field in enumerate(self.key)
        )


def bound(width: int, first: int = 1) -> tuple[str, str]:
    """SQL for rows that are bound as one text[] a column, from parameter `first` on.

    Returns the columns' names `x0, x1` and the arrays `$1::text[], $2::text[]`, for an `unnest`.
    """
    names = ", ".join(f"x{i}" for i in range(width))
    return names, ", ".join(f"${first + i}::text[]" for i in range(width))


#: What asyncpg reads `infinity` and `-infinity` as, and writes them for.
_INFINITE = {
    "9999-12-31T23:59:59.999999": "infinity",
    "0001-01-01T00:00:00": "-infinity",
    "9999-12-31": "infinity",
    "0001-01-01": "-infinity",
}

#: Types whose explicit cast cuts a long value off in silence, as the SQL standard has it.
_CUTTING = re.compile(r"\b(character varying|bit varying|character|bit)\(\d+\)")
#: The same types without a limit, where that is not the bare name.
_LIMITLESS = {"character": "bpchar", "bit": "varbit"}


def _cast(field: Field) -> str:
    """How a text becomes a value of the column: so that one that is too long is refused, never cut."""
    if field.textual:
        return ""
    return "::" + _CUTTING.sub(lambda match: _LIMITLESS.get(match[1], match[1]), field.type)


def to_text(value: Any, kind: str = "") -> str | None:
    """The text form PostgreSQL reads a Python value from.

    Args:
        value: what a transform returned; strings are taken as they are.
        kind: the column's SQL type, needed to tell a json list from an array.

    Raises:
        TypeError: a value with no text form known here.
    """
    match value:
        case None | str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal() | uuid.UUID():
            return str(value)
        case datetime() | date() | time():
            return _moment(value)
        case timedelta():
            return f"{value.days} days {value.seconds}.{value.microseconds:06d} seconds"
        case bytes():
            return "\\x" + value.hex()
        case _ if kind in {"json", "jsonb"}:
            return orjson.dumps(value).decode()
        case list() | tuple():
            return "{" + ",".join(_element(item, kind) for item in value) + "}"
    raise TypeError(f"no text form for a value of type {type(value).__name__}")


def _moment(value: date | time) -> str:
    local = value.replace(tzinfo=None) if isinstance(value, datetime) else value
    return _INFINITE.get(local.isoformat(), value.isoformat())


def _element(value: Any, kind: str) -> str:
    if isinstance(value, list | tuple):
        return to_text(value, kind) or ""
    text = to_text(value)
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class DataError(asyncpg.InterfaceError, ValueError):
    """A text that no database text can be; named as what the driver raises for its own parameters."""


def array(texts: Sequence[str | None]) -> str:
    """Texts as a parameter, a JSON array.

    The driver takes six times as long for a text[], and as long as the server takes for either.

    Raises:
        DataError: one holds half of a surrogate pair.
    """
    try:
        return orjson.dumps(texts).decode()
    except TypeError:
        raise DataError("a text holds half of a surrogate pair") from None


def transposed(rows: Sequence[Sequence[str | None]], width: int) -> list[list[str | None]]:
    """Rows to one list a column, also when there are no rows."""
    return [[row[i] for row in rows] for i in range(width)]

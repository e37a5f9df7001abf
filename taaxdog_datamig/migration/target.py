"""The part of one table that a migration changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

from taaxdog_datamig.errors import PreflightFailed
from taaxdog_datamig.migration.outcomes import Skip
from taaxdog_datamig.pg.rows import Field, Shape
from taaxdog_datamig.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taaxdog_datamig.migration.closure import Closure
    from taaxdog_datamig.migration.family import Merge
    from taaxdog_datamig.migration.outcomes import Outcome, Row
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable


@attrs.frozen(kw_only=True)
class Ddl:
    """A change of a table's definition, and the way back."""

    do: str
    undo: str


def _nothing(_: Row) -> Outcome:
    return Skip()


@attrs.frozen(kw_only=True)
class Target:
    """The part of one table that a migration changes."""

    table: FittedTable
    shape: Shape
    #: SQL over the table's physical columns, with the row as `t`; true while the row needs the migration.
    #: Other tables in it are named with their schema.
    pending: str
    #: "update": `transform` decides about each row. "delete": pending rows are archived and deleted, with
    #: what refers to them. "merge": pending rows are merged into others of their group.
    action: Literal["update", "delete", "merge"] = "update"
    transform: Callable[[Row], Outcome] = _nothing
    #: Whether `transform` takes milliseconds a row and releases the GIL: it is called on threads then.
    slow: bool = False
    #: Whether `transform` leaves some pending rows: a plan has it decide, and tells changed from left.
    selective: bool = False
    #: SQL; rows to be looked at once although they are not pending.
    inspect: str | None = None
    #: Whether `pending` and `transform` go by the row's own columns, the code and the keys alone: a row that
    #: a run was through with needs no second look until somebody writes it.
    settled: bool = False
    #: Read-only values that `transform` sees besides the columns: name to SQL expression over the row `t`.
    lookups: Mapping[str, str] = attrs.field(factory=dict)
    #: What a stored value means: (key, logical column, text) to something that compares equal whenever
    #: the values mean the same. Seals differ at each writing; what they hold does not.
    reveal: Callable[[tuple[str, ...], str, str | None], object] = lambda _key, _column, text: text
    #: How the proof judges a row that was changed: (as it was, its columns' text now) to whether that is
    #: right. None: the transform is done again, and must come to what the row means now.
    verify: Callable[[Row, Mapping[str, str | None]], bool] | None = None
    #: Whether a column holds sensitive values, so that before-images need a key.
    sensitive: bool = False
    ddl: tuple[Ddl, ...] = ()
    #: What deleting its rows takes along.
    closure: Closure | None = None
    #: How its rows are merged.
    merge: Merge | None = None
    #: Foreign keys that its rows break, by name: a rollback brings the rows back as broken as they were.
    loose: tuple[str, ...] = ()
    #: Whether a unique index on a column would lose its meaning.
    breaks_unique: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def reached(self) -> list[FittedTable]:
        """Every table whose rows it may change; some more than once."""
        closures = [] if self.closure is None else [self.closure]
        found = [self.table]
        if self.merge is not None:
            found += [kin.table for kin in self.merge.kin.values()]
            closures += [closure for _, closure in self.merge.dropped.values()]
        for closure in closures:
            found += [*(node.table for node in closure.nodes.values()), *closure.cut.values()]
        return found


def existing(table: FittedTable, name: str) -> Column:
    """The column of that name.

    Raises:
        PreflightFailed: there is none; near names are suggested.
    """
    if (column := table.column(name)) is not None:
        return column
    asked = did_you_mean(name, table.relation.columns)
    raise PreflightFailed(
        f"table {table.relation.label} has no column {name!r}",
        f"{asked} A name of your own goes in [profile] of datamig.toml"
        if asked
        else f"Name it in datamig.toml: [profile.tables.{table.spec.name}.columns.{name}] names = [...]",
    )


def shape_of(
    table: FittedTable, columns: Mapping[str, Column], types: Mapping[str, str] | None = None
) -> Shape:
    """The shape of a target: logical name to column, with the types columns are widened to first."""
    types = types or {}
    return Shape(
        table=table.spec.name,
        relation=table.relation.quoted,
        key=tuple(
            Field(name=column.name, column=column.name, type=column.type, textual=column.textual)
            for column in table.relation.key_columns
        ),
        columns=tuple(
            Field(
                name=name,
                column=column.name,
                type=types.get(name, column.type),
                textual=column.textual,
            )
            for name, column in columns.items()
        ),
        partitioned=table.relation.kind == "p",
    )


def widening(table: FittedTable, columns: Mapping[str, Column], kind: str) -> tuple[Ddl, ...]:
    """The statement that gives columns a wider type, and the way back; none for no columns."""
    if not columns:
        return ()
    alter = f"ALTER TABLE {table.relation.quoted} "
    return (
        Ddl(
            do=alter + ", ".join(f"ALTER COLUMN {c.quoted} TYPE {kind}" for c in columns.values()),
            undo=alter + ", ".join(f"ALTER COLUMN {c.quoted} TYPE {c.type}" for c in columns.values()),
        ),
    )

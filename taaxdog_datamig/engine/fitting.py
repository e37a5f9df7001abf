"""Archived tables against those of the database: what goes where, and what has changed since.

A column that came since is left to its default. One that is gone may only have held NULL. One whose type
changed must hold the same text in the new type, row by row; a generated one is computed anew. What cannot
be is refused before any row is put back, all of it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import attrs

from taaxdog_datamig.archive.forms import parsed
from taaxdog_datamig.errors import PreflightFailed
from taaxdog_datamig.pg.catalog import find_relation, must_be_given
from taaxdog_datamig.pg.drift import Drift
from taaxdog_datamig.pg.keys import keys_of
from taaxdog_datamig.pg.rows import Field, Shape

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.archive import Archive, ArchivedTable
    from taaxdog_datamig.pg.catalog import Column, Relation
    from taaxdog_datamig.pg.keys import ForeignKey


@attrs.frozen(kw_only=True)
class Fit:
    """Where an archived table's rows go."""

    oid: int
    #: The table, key and columns as they are now.
    shape: Shape
    #: Columns whose type is another now.
    retyped: tuple[Field, ...]
    foreign: tuple[ForeignKey, ...]
    #: Those of them that rows may break: NOT VALID, or broken by archived rows.
    broken: tuple[ForeignKey, ...]
    drift: tuple[Drift, ...]

    def at(self, columns: Collection[str]) -> Shape:
        """The shape for rows that have these columns: one that came while a run was paused is not in all."""
        kept = tuple(field for field in self.shape.columns if field.column in columns)
        return attrs.evolve(self.shape, columns=kept)


async def fit(
    connection: PoolConnectionProxy[Any], archive: Archive, tables: Collection[str]
) -> dict[str, Fit]:
    """Find the tables and compare them; parents come before what refers to them.

    Raises:
        PreflightFailed: some rows could not be put back whole; names every table and column.
    """
    fits: dict[str, Fit] = {}
    problems: list[str] = []
    for name in tables:
        table = archive.manifest.tables[name]
        relation = await find_relation(connection, table.relation)
        if relation is None or relation.kind not in {"r", "p"}:
            problems.append(f"there is no table {table.relation}")
            continue
        drift, wrong = _compare(name, table, relation, await must_be_given(connection, relation.oid))
        gone = [change.column for change in drift if change.now is None]
        if gone:
            held = await anyio.to_thread.run_sync(_held, archive, name, gone)
            wrong += [f"column {column} of {relation.label} is gone, and rows hold it" for column in held]
        problems += wrong
        if not wrong:
            foreign = tuple(await keys_of(connection, relation.oid))
            fits[name] = _fit(name, table, relation, foreign, drift)
    if problems:
        raise PreflightFailed(
            f"archive {archive.manifest.id} does not fit the database: {'; '.join(problems)}",
            "Make the tables as they were (`datamig archive show` tells), or leave them out with --tables",
        )
    return _parents_first(fits)


def _compare(
    name: str, table: ArchivedTable, relation: Relation, needed: Collection[str]
) -> tuple[list[Drift], list[str]]:
    drift, wrong = [], []
    for known, was in table.columns.items():
        now = relation.columns.get(known)
        if effect := _effect(was, now):
            kind = None if now is None else now.type
            drift.append(Drift(table=name, column=known, was=was, now=kind, effect=effect))
    for column in relation.stored:
        if column.name not in table.columns:
            if column.name in needed:
                wrong.append(f"column {column.name} of {relation.label} is new, NOT NULL and has no default")
            drift.append(
                Drift(
                    table=name,
                    column=column.name,
                    was=None,
                    now=column.type,
                    effect="gets its default or NULL",
                )
            )
    if not relation.key:
        wrong.append(f"table {relation.label} has no primary key")
    wrong += [
        f"column {known} of {relation.label}'s key is not in the archive"
        for known in relation.key
        if known not in table.columns or relation.columns[known].generated
    ]
    return drift, wrong


def _effect(was: str, now: Column | None) -> str:
    if now is None:
        return "left out: no row may hold a value"
    if now.generated:
        return "computed anew: it is a generated column now"
    return "" if now.type == was else "rows whose value is another in the new type are refused"


def _fit(
    name: str,
    table: ArchivedTable,
    relation: Relation,
    foreign: tuple[ForeignKey, ...],
    drift: list[Drift],
) -> Fit:
    def field(column: Column) -> Field:
        return Field(name=column.name, column=column.name, type=column.type, textual=column.textual)

    columns = {column.name: field(column) for column in relation.stored if column.name in table.columns}
    changed = {change.column for change in drift}
    return Fit(
        oid=relation.oid,
        shape=Shape(
            table=name,
            relation=relation.quoted,
            key=tuple(field(column) for column in relation.key_columns),
            columns=tuple(columns.values()),
        ),
        retyped=tuple(found for column, found in columns.items() if column in changed),
        foreign=foreign,
        broken=tuple(key for key in foreign if not key.valid or key.name in table.loose),
        drift=tuple(drift),
    )


def _held(archive: Archive, table: str, columns: Collection[str]) -> list[str]:
    """Those of the columns that hold a value in some archived row."""
    held: set[str] = set()
    for part in archive.manifest.parts:
        if table in part.rows:
            for found, row in parsed(archive.lines(part)):
                if found == table:
                    held.update(column for column in columns if row.get(column) is not None)
    return sorted(held)


def _parents_first(fits: Mapping[str, Fit]) -> dict[str, Fit]:
    """In an order in which foreign keys hold; where they go round, in any."""
    names = {found.oid: name for name, found in fits.items()}
    ordered: dict[str, Fit] = {}
    visiting: set[str] = set()

    def visit(name: str) -> None:
        if name in ordered or name in visiting:
            return
        visiting.add(name)
        for key in fits[name].foreign:
            if key.parent in names:
                visit(names[key.parent])
        ordered[name] = fits[name]

    for name in sorted(fits):
        visit(name)
    return ordered

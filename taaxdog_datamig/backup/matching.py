"""Backed-up tables against those of the database: what goes where, and what has changed since.

A column that came since keeps its values, and gets its default in rows that come back. One that is gone is
left out. One whose type changed takes the text of the old value, which must be the text of the new one, too.
What cannot be is refused before anything is changed, all of it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.errors import PreflightFailed
from taaxdog_datamig.pg.catalog import find_relation, must_be_given
from taaxdog_datamig.pg.drift import Drift
from taaxdog_datamig.pg.keys import keys_of
from taaxdog_datamig.pg.quoting import ident, qualified
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.manifest import BackedUpTable
    from taaxdog_datamig.pg.catalog import Column, Relation
    from taaxdog_datamig.pg.keys import ForeignKey

_SQL = queries(__package__, "restore.sql")


@attrs.frozen(kw_only=True)
class Target:
    """A table of the database and the backed-up rows that belong in it."""

    #: Names its staging tables.
    number: int
    relation: Relation
    #: The table as it was, or its partitions.
    tables: tuple[BackedUpTable, ...]
    #: The columns that are restored, as they are now.
    columns: tuple[Column, ...]
    #: Column to the type it had, of those whose type is another now.
    retyped: Mapping[str, str]
    foreign: tuple[ForeignKey, ...]
    drift: tuple[Drift, ...]

    @property
    def stage(self) -> str:
        """SQL: the table that takes the backup's rows."""
        return f"pg_temp.datamig_stage_{self.number}"

    @property
    def differences(self) -> str:
        """SQL: the table of the rows that differ."""
        return f"pg_temp.datamig_diff_{self.number}"

    @property
    def source(self) -> str:
        """SQL: the relation with its partitions, but without tables that inherit from it."""
        return self.relation.quoted if self.relation.kind == "p" else f"ONLY {self.relation.quoted}"

    @property
    def rows(self) -> int:
        """Rows in the backup."""
        return sum(table.rows for table in self.tables)

    def keys_equal(self, one: str, other: str) -> str:
        """SQL: rows of these aliases have the same key."""
        return " AND ".join(f"{one}.{ident(name)} = {other}.{ident(name)}" for name in self.relation.key)


async def match(connection: PoolConnectionProxy[Any], tables: Iterable[BackedUpTable]) -> list[Target]:
    """Find the tables and compare them; parents come before what refers to them.

    Raises:
        PreflightFailed: a table is missing, has no key, or does not fit; names every table and column.
    """
    groups: dict[str, list[BackedUpTable]] = {}
    for table in tables:
        name = qualified(table.schema, table.name)
        if table.root is not None:
            name = await connection.fetchval(_SQL["partitioned"], table.root) or name
        groups.setdefault(name, []).append(table)
    targets: list[Target] = []
    problems: list[str] = []
    for number, (name, group) in enumerate(groups.items()):
        relation = await find_relation(connection, name)
        if relation is None or relation.kind not in {"r", "p"}:
            problems.append(f"there is no table {group[0].label}")
            continue
        target, wrong = await _target(connection, number, relation, group)
        problems += wrong
        targets.append(target)
    if problems:
        raise PreflightFailed(
            f"the backup does not fit the database: {'; '.join(problems)}",
            "Make the tables as they were, leave them out with --tables, or restore into an empty database",
        )
    return _parents_first(targets)


async def _target(
    connection: PoolConnectionProxy[Any], number: int, relation: Relation, group: Sequence[BackedUpTable]
) -> tuple[Target, list[str]]:
    was = group[0].columns
    columns = tuple(column for column in relation.stored if column.name in was)
    retyped = {column.name: was[column.name] for column in columns if column.type != was[column.name]}
    target = Target(
        number=number,
        relation=relation,
        tables=tuple(group),
        columns=columns,
        retyped=retyped,
        foreign=tuple(await keys_of(connection, relation.oid)),
        drift=tuple(_drift(relation, was)),
    )
    label, restored = relation.label, {column.name for column in columns}
    wrong = [
        f"column {name} of {label} is new, NOT NULL and has no default"
        for name in await must_be_given(connection, relation.oid)
        if name not in restored and not relation.columns[name].generated
    ]
    if not relation.key:
        wrong.append(f"table {label} has no primary key, by which rows could be told apart")
    wrong += [
        f"column {name} of {label}'s key is not in the backup"
        for name in relation.key
        if name not in restored
    ]
    for name, kind in was.items():
        there = name in restored and name not in retyped
        if not there and await connection.fetchval("SELECT to_regtype($1::text) IS NULL", kind):
            wrong.append(f"column {name} of {label} was of type {kind}, which is gone")
    return target, wrong


def _drift(relation: Relation, was: Mapping[str, str]) -> Iterable[Drift]:
    for name in dict.fromkeys([*was, *relation.columns]):
        before, now = was.get(name), relation.columns.get(name)
        if now is None:
            effect = "left out"
        elif now.generated:
            # What is generated now, and was then, is not in the backup.
            if before is None:
                continue
            effect = "computed anew: it is a generated column now"
        elif before is None:
            effect = "keeps its values; rows that come back get its default or NULL"
        elif before != now.type:
            effect = "takes the old value's text, which must be the same in the new type"
        else:
            continue
        yield Drift(
            table=relation.label,
            column=name,
            was=before,
            now=None if now is None else now.type,
            effect=effect,
        )


def _parents_first(targets: Sequence[Target]) -> list[Target]:
    """In an order in which foreign keys hold; where they go round, in any."""
    by_oid = {target.relation.oid: target for target in targets}
    ordered: dict[int, Target] = {}
    visiting: set[int] = set()

    def visit(target: Target) -> None:
        oid = target.relation.oid
        if oid in ordered or oid in visiting:
            return
        visiting.add(oid)
        for key in target.foreign:
            if key.parent in by_oid:
                visit(by_oid[key.parent])
        ordered[oid] = target

    for target in sorted(targets, key=lambda target: target.relation.label):
        visit(target)
    return list(ordered.values())


def go_round(targets: Sequence[Target]) -> bool:
    """Whether a table comes before one that it refers to, since their foreign keys go round."""
    place = {target.relation.oid: number for number, target in enumerate(targets)}
    return any(
        place.get(key.parent, -1) > place[target.relation.oid] for target in targets for key in target.foreign
    )

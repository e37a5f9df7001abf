"""What merging rows of a table reaches: what refers to it, what may not be there twice, and who decides.

A row that refers to a duplicate is re-pointed. Where that would put two rows where a unique index allows
one, the table's rule says which of them stays; the other is merged into it, so that what refers to it is
re-pointed in turn. So the tables that are reached are found by following references from table to table, as
long as their rows may have to give way.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import asyncpg
import attrs

from taaxdog_datamig.errors import PreflightFailed, SettingsError
from taaxdog_datamig.migration.closure import closure_of, fitted, holds_on, whole
from taaxdog_datamig.pg.catalog import hangers
from taaxdog_datamig.pg.keys import UniqueIndex, loose_columns, uniques_of
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.profile import column_of, references_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.migration.base import MigrationContext
    from taaxdog_datamig.migration.closure import Closure
    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.pg.rows import Shape
    from taaxdog_datamig.profile import FittedTable

#: Types whose equal values are spelled alike, as far as their collation is deterministic.
_STRICT = {"text", "varchar", "uuid", "int2", "int4", "int8"}
_PLACE = re.compile(r"\{(\w+)\}")


def bound(table: FittedTable, text: str, alias: str = "t") -> str | None:
    """SQL with `{column}` replaced by the column of that logical name; None where the table lacks one."""
    columns = {name: column_of(table, name) for name in _PLACE.findall(text)}
    quoted = {name: f"{alias}.{column.quoted}" for name, column in columns.items() if column is not None}
    if quoted.keys() != columns.keys():
        return None
    return _PLACE.sub(lambda match: quoted[match[1]], text)


@attrs.frozen(kw_only=True)
class Kin:
    """A table that a merge may reach."""

    table: FittedTable
    #: Every column that can be written.
    shape: Shape
    uniques: tuple[UniqueIndex, ...]
    #: SQL terms over the row `t`: of rows that cannot both stay, the first one does.
    rule: tuple[str, ...]
    #: SQL over the row `t`: it is on hold.
    holds: tuple[str, ...]
    #: Columns in which equal values may be spelled differently.
    loose: frozenset[str]
    #: Triggers that an update fires; one may keep a row from being re-pointed.
    triggers: tuple[str, ...]
    #: What refers to it: records on hold first, then composite keys. Empty where its rows never give way.
    references: tuple[ForeignKey, ...] = ()

    def uniques_on(self, columns: Iterable[str]) -> list[UniqueIndex]:
        """The unique indexes that a change of these columns may meet."""
        return [unique for unique in self.uniques if not set(columns).isdisjoint(unique.columns)]

    def plain(self, reference: ForeignKey, child: Kin) -> bool:
        """Whether rows of `child` that refer to this table are re-pointed without a look at them.

        Nothing but the reference itself says what becomes of them, and no other statement changes them too.
        """
        columns = reference.child_columns
        return (
            reference.indexed
            and not child.triggers
            and not child.uniques_on(columns)
            and child.loose.isdisjoint(columns)
            and reference.child != reference.parent
            and sum(other.child == reference.child for other in self.references) == 1
        )


@attrs.frozen(kw_only=True)
class Sealing:
    """Values that are bound to their row."""

    #: (key of the row it is in, key of the row it goes to, text) to text; None where nobody can open it.
    move: Callable[[tuple[str, ...], tuple[str, ...], str], str | None]


@attrs.frozen(kw_only=True)
class Merge:
    """How duplicates in one table become one row. SQL is over the row `t`."""

    root: int
    kin: Mapping[int, Kin]
    #: What `known_to` said of the tables whose rows may go.
    known: tuple[int, int]
    #: What duplicates have in common; text. Only rows that fulfil `live` take part.
    same: str
    live: str
    #: Terms of ORDER BY; the first row is the primary.
    order: tuple[str, ...]
    #: True: the row's values may fill empty columns of the primary.
    trusted: str
    #: Physical columns that are filled, alone or only together.
    fill: tuple[str, ...]
    together: tuple[tuple[str, ...], ...]
    #: By physical column.
    sealed: Mapping[str, Sealing]
    #: What is deleted with a duplicate instead of re-pointed: the table's oid to when that is so, SQL over
    #: the duplicate, and to what goes with it.
    dropped: Mapping[int, tuple[str, Closure]]
    #: Physical column that gets the moment, where duplicates are not removed.
    mark: str | None
    on_hold: Literal["move", "leave"]

    @property
    def primary(self) -> Kin:
        """The table itself."""
        return self.kin[self.root]

    def circular(self, oid: int) -> bool:
        """Whether following what refers to a table leads back to it."""
        seen: set[int] = set()
        due = [oid]
        while due:
            for reference in self.kin[due.pop()].references:
                if reference.child == oid:
                    return True
                if reference.child not in seen:
                    seen.add(reference.child)
                    due.append(reference.child)
        return False

    @property
    def losing(self) -> dict[int, str]:
        """The tables whose rows may go while others refer to them, by oid, quoted."""
        return {oid: kin.table.relation.quoted for oid, kin in self.kin.items() if kin.references}

    @property
    def rules(self) -> dict[str, list[str]]:
        """Who has to give way, by table."""
        return {kin.table.spec.name: list(kin.rule) for kin in self.kin.values() if kin.rule}

    @property
    def key(self) -> str:
        """SQL: the key's columns."""
        return ", ".join(f"t.{field.quoted}" for field in self.primary.shape.key)

    def candidates(self, more: str = "true") -> str:
        """SQL: each row that shares with another, with its key, its `place` in its group and its `same`.

        Args:
            more: SQL; only rows for which it is true are looked at.
        """
        source = f"{self.primary.shape.source} AS t"
        live = f"({self.live}) AND ({self.same}) <> '' AND ({more})"
        shared = f"SELECT {self.same} FROM {source} WHERE {live} GROUP BY 1 HAVING count(*) > 1"
        return (
            f"SELECT {self.key}, {self.same} AS same,"
            f" row_number() OVER (PARTITION BY {self.same} ORDER BY {', '.join(self.order)}) AS place"
            f" FROM {source} WHERE {live} AND {self.same} IN ({shared})"
        )

    @property
    def pending(self) -> str:
        """SQL: the row is a duplicate of a better one."""
        names = ", ".join(f"d.{field.quoted}" for field in self.primary.shape.key)
        return f"({self.key}) IN (SELECT {names} FROM ({self.candidates()}) AS d WHERE d.place > 1)"

    def warnings(self) -> list[str]:
        """What people should know before rows are merged."""
        label = self.primary.table.relation.label
        slow = sorted(
            f"{key.child_name}.{', '.join(key.child_columns)}".replace('"', "")
            for kin in self.kin.values()
            for key in kin.references
            if not key.indexed
        )
        fired = sorted(
            f"{kin.table.relation.name}.{name}"
            for oid, kin in self.kin.items()
            for name in kin.triggers
            if oid != self.root
        )
        said = []
        if slow:
            said.append(
                f"{label}: {', '.join(slow)} have no index, so that each chunk, and each row that is removed,"
                " reads their tables whole"
            )
        if fired:
            said.append(
                f"{label}: triggers {', '.join(fired)} fire for each row that is re-pointed; what they change"
                " elsewhere is not undone by a rollback"
            )
        return said


async def kinship(
    connection: PoolConnectionProxy[Any],
    context: MigrationContext,
    table: FittedTable,
    rules: Mapping[str, tuple[str, ...]],
) -> dict[int, Kin]:
    """The tables that a merge of rows of `table` may reach, by oid.

    Args:
        connection: any.
        context: of the migration.
        table: whose rows are merged.
        rules: by logical table: terms of ORDER BY with `{column}` for logical columns.

    Raises:
        PreflightFailed: a table on the way has no key.
        SettingsError: a rule is no SQL that its table understands.
    """
    found: dict[int, Kin] = {}
    followed: set[int] = set()

    async def visit(kin: Kin) -> None:
        oid = kin.table.relation.oid
        followed.add(oid)
        keys = await references_to(connection, context.profile, kin.table.relation)
        _check(keys, kin.table)
        found[oid] = kin
        for key in keys:
            if key.child not in found:
                child = await fitted(connection, context, key)
                found[key.child] = await _kin(connection, context, child, rules)
        # What is on hold may keep a group from being merged: better known before the others are touched.
        keys.sort(key=lambda key: (not found[key.child].holds, -len(key.child_columns)))
        found[oid] = attrs.evolve(kin, references=tuple(keys))
        for key in keys:
            if key.child not in followed and found[key.child].uniques_on(key.child_columns):
                await visit(found[key.child])

    await visit(await _kin(connection, context, table, rules))
    return found


def _check(keys: Iterable[ForeignKey], table: FittedTable) -> None:
    for key in keys:
        for name in key.parent_columns:
            if not table.relation.columns[name].not_null:
                raise PreflightFailed(
                    f"{key.child_name} refers to {table.relation.label}.{name}, which may be NULL: a row"
                    " could not be re-pointed to one that has no value there",
                    f"ALTER TABLE {table.relation.quoted} ALTER COLUMN {ident(name)} SET NOT NULL",
                )


async def _kin(
    connection: PoolConnectionProxy[Any],
    context: MigrationContext,
    table: FittedTable,
    rules: Mapping[str, tuple[str, ...]],
) -> Kin:
    relation = table.relation
    loose = await loose_columns(connection, relation.oid)
    loose |= {column.name for column in relation.columns.values() if column.base not in _STRICT}
    terms = [bound(table, term) for term in rules.get(table.spec.name, ())]
    rule = tuple(term for term in terms if term is not None)
    if rule:
        try:
            await connection.fetch(f"SELECT FROM {relation.quoted} AS t ORDER BY {', '.join(rule)} LIMIT 0")
        except asyncpg.PostgresSyntaxError:
            raise _no_rule(table, "is no SQL") from None
        except asyncpg.PostgresError as error:
            raise _no_rule(table, f"does not fit the table ({error.sqlstate})") from None
    return Kin(
        table=table,
        shape=whole(table),
        uniques=tuple(await uniques_of(connection, relation.oid)),
        rule=rule,
        holds=tuple(await holds_on(connection, context, table)),
        loose=frozenset(loose),
        triggers=(await hangers(connection, relation.oid, ())).triggers,
    )


def _no_rule(table: FittedTable, what: str) -> SettingsError:
    return SettingsError(
        f"the merge rule for {table.spec.name} {what}",
        'It is a list of terms of ORDER BY, such as [merge.rules] goals = ["created_at DESC"]',
    )


async def closures(
    connection: PoolConnectionProxy[Any],
    context: MigrationContext,
    kin: Mapping[int, Kin],
    dropped: Mapping[str, str],
    root: FittedTable,
) -> dict[int, tuple[str, Closure]]:
    """What is deleted with a duplicate: by oid, when (SQL over the duplicate) and what goes with it."""
    found = {}
    for oid, relative in kin.items():
        condition = dropped.get(relative.table.spec.name)
        when = None if condition is None else bound(root, condition)
        if when is not None and oid != root.relation.oid:
            found[oid] = (when, await closure_of(connection, context, relative.table))
    return found

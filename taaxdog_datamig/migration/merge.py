"""The declarative migration that makes one row of several which stand for the same thing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from taaxdog_datamig.errors import PreflightFailed, UsageError
from taaxdog_datamig.migration.base import Argument, DeclaredMigration, NotApplicable
from taaxdog_datamig.migration.family import Merge, Sealing, bound, closures, kinship
from taaxdog_datamig.migration.pending import DELETED
from taaxdog_datamig.migration.target import Target, shape_of
from taaxdog_datamig.pg.keys import known_to
from taaxdog_datamig.profile import column_of
from taaxdog_datamig.settings import merge_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.crypto import FieldCipher
    from taaxdog_datamig.migration.family import Kin
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable

_TOKEN = "encrypted:"  # noqa: S105 - how sealed values begin


class MergeMigration(DeclaredMigration):
    """Merges duplicates into the best row of their group, with everything that refers to them.

    In each SQL text `{column}` stands for a column by its logical name. A term that names a column which
    this installation lacks is left out.
    """

    #: Logical (or physical) name of the table.
    table: ClassVar[str]
    #: SQL, text: rows for which it is equal are duplicates; NULL and '' never are.
    same: ClassVar[str]
    #: SQL; rows for which it is not true take no part.
    live: ClassVar[str] = f"{{{DELETED}}} IS NULL"
    #: Terms of ORDER BY: the first row is the primary, which the others are merged into. Ties go by key.
    preference: ClassVar[tuple[str, ...]] = ()
    #: Of rows that cannot both refer to the primary, which one stays: by logical table, terms of ORDER BY.
    #: Without a rule, and in a tie, the primary's own; then those of its duplicates in order of preference.
    rules: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: Columns of the primary that are never filled from a duplicate.
    never: ClassVar[tuple[str, ...]] = ()
    #: Columns that belong together: filled only where the primary has none of them, from one duplicate.
    together: ClassVar[tuple[tuple[str, ...], ...]] = ()
    #: SQL: the row's values may be trusted; see the argument `fill`.
    trusted: ClassVar[str] = "true"
    #: Rows that are deleted with a duplicate instead of re-pointed: by logical table, SQL over the duplicate.
    dropped: ClassVar[Mapping[str, str]] = {}
    #: The column that says when a row was deleted.
    deleted: ClassVar[str] = DELETED

    arguments: ClassVar[Mapping[str, Argument]] = {
        "duplicates": Argument(
            help="remove duplicates or mark them as deleted; by default marked where there is a column",
            default="auto",
            choices=("auto", "remove", "soft-delete"),
        ),
        "on_hold": Argument(
            help="re-point records on hold to the primary, or leave groups with such records as they are",
            default="move",
            choices=("move", "leave"),
        ),
        "fill": Argument(
            help="fill empty columns of the primary from all duplicates, from trusted ones, or from none",
            default="all",
            choices=("all", "trusted", "none"),
        ),
    }

    async def targets(self) -> Sequence[Target]:
        """One target: the table with everything that refers to it.

        Raises:
            NotApplicable: there is no such table, or nothing to tell duplicates by.
            PreflightFailed: a table that a merge may reach has no key.
            UsageError: duplicates shall be marked as deleted, and there is no column for it.
        """
        async with self.context.db.acquire() as connection:
            table = await self.context.profile.table(connection, self.table)
            if table is None:
                raise NotApplicable(f"there is no table {self.table}")
            same = bound(table, self.same)
            if same is None:
                raise NotApplicable(f"{self.table} has no column to tell duplicates by: {self.same}")
            if not table.relation.key:
                raise PreflightFailed(f"table {table.relation.label} has no key", "Add a primary key first")
            merge = await self._merge(connection, table, same)
        columns = {_logical(table, name): table.relation.columns[name] for name in _written(merge)}
        return [
            Target(
                table=table,
                shape=shape_of(table, columns),
                pending=merge.pending,
                action="merge",
                merge=merge,
                sensitive=any(kin.table.sensitive for kin in merge.kin.values()),
                reveal=partial(_reveal, self._ciphers(table), _logical(table, merge.mark or "")),
                warnings=tuple(merge.warnings()),
            )
        ]

    async def _merge(self, connection: PoolConnectionProxy[Any], table: FittedTable, same: str) -> Merge:
        rules = {**self.rules, **merge_rules(self.context.settings.merge)}
        kin = await kinship(connection, self.context, table, rules)
        order = [bound(table, term) for term in self.preference]
        key = [f"t.{column.quoted}" for column in table.relation.key_columns]
        fill = self.context.arguments["fill"]
        ciphers = {_physical(table, name): cipher for name, cipher in self._ciphers(table).items()}
        columns = self._filled(kin[table.relation.oid]) if fill != "none" else []
        together = [[_physical(table, name) for name in names] for names in self.together]
        return Merge(
            root=table.relation.oid,
            kin=kin,
            known=await known_to(connection, [oid for oid, relative in kin.items() if relative.references]),
            same=same,
            live=bound(table, self.live) or "true",
            order=(*(term for term in order if term is not None), *key),
            trusted=(bound(table, self.trusted) or "true") if fill == "trusted" else "true",
            fill=tuple(columns),
            together=tuple(tuple(name for name in names if name in columns) for names in together),
            sealed={
                name: Sealing(move=partial(_moved, ciphers.get(name)))
                for name in (column.name for column in table.sensitive.values())
            },
            dropped=await closures(connection, self.context, kin, self.dropped, table),
            mark=self._mark(table),
            on_hold=cast("Literal['move', 'leave']", self.context.arguments["on_hold"]),
        )

    def _mark(self, table: FittedTable) -> str | None:
        column = column_of(table, self.deleted)
        wanted = self.context.arguments["duplicates"]
        if wanted == "soft-delete" and column is None:
            raise UsageError(
                f"duplicates=soft-delete: {table.relation.label} has no column {self.deleted}",
                "Leave the argument out: duplicates are archived and removed; a rollback brings them back",
            )
        return None if column is None or wanted == "remove" else column.name

    def _filled(self, kin: Kin) -> list[str]:
        """Columns that may be filled: no key, nothing that must be unique, nothing that is a state."""
        table = kin.table
        never = {_physical(table, name) for name in (*self.never, self.deleted)} | set(table.relation.key)
        never |= {name for unique in kin.uniques for name in unique.columns}
        own = (key for key in kin.references if key.child == table.relation.oid)
        never |= {name for key in own for name in key.child_columns}
        return [
            column.name
            for column in table.relation.stored
            if column.name not in never and (not column.not_null or column.category == "S")
        ]

    def _ciphers(self, table: FittedTable) -> dict[str, FieldCipher]:
        keyring = self.context.keyring
        if keyring is None:
            return {}
        return {name: keyring.field(table.spec.name, name) for name in table.sensitive}


def _physical(table: FittedTable, name: str) -> str:
    column = column_of(table, name)
    return name if column is None else column.name


def _logical(table: FittedTable, physical: str) -> str:
    """The profile's name of a column, which sealed values are bound to."""
    names = (spec.name for spec in table.spec.columns.values() if _found(table, spec.name) == physical)
    return next(names, physical)


def _found(table: FittedTable, name: str) -> str | None:
    column: Column | None = table.column(name)
    return None if column is None else column.name


def _written(merge: Merge) -> list[str]:
    return [*merge.fill, *([merge.mark] if merge.mark is not None else [])]


def _moved(cipher: FieldCipher | None, source: tuple[str, ...], to: tuple[str, ...], text: str) -> str | None:
    """A value of one row, as another row keeps it; None where nobody can tell what it is.

    A field token is bound to its row and sealed anew. What the application sealed itself is not bound, and is
    copied as it is: the column need not have been widened for tokens yet.
    """
    if cipher is None:
        return None if text.startswith(_TOKEN) else text
    found = cipher.classify(text, source)
    if found.kind == "token":
        return cipher.seal(found.plaintext or "", to)
    return text if found.kind in {"plaintext", "legacy"} else None


def _reveal(
    ciphers: Mapping[str, FieldCipher], mark: str, key: tuple[str, ...], column: str, text: str | None
) -> object:
    if column == mark:
        return text is not None
    if column not in ciphers:
        return text
    found = ciphers[column].classify(text, key)
    return found.plaintext if found.kind == "token" else text

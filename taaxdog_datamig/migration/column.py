"""The declarative migration of columns, row by row."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.migration.base import DeclaredMigration, NotApplicable
from taaxdog_datamig.migration.target import Target, existing, shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from taaxdog_datamig.migration.outcomes import Outcome, Row

#: What a declaration looks like.
_DECLARED = {
    "table": 'table = "users"',
    "columns": 'columns = ("state",)',
    "pending": 'pending = "state <> upper(state)"',
}


class ColumnMigration(DeclaredMigration):
    """Changes columns of a table's rows, one row at a time."""

    #: Logical (or physical) name of the table.
    table: ClassVar[str]
    #: Logical (or physical) names of the columns that are read and may be changed.
    columns: ClassVar[tuple[str, ...]]
    #: SQL over physical columns; becomes false once a row is migrated.
    pending: ClassVar[str]

    @abc.abstractmethod
    def transform(self, row: Row) -> Outcome:
        """Say what becomes of a row. Called again for the same row after a crash or a conflict."""

    async def targets(self) -> Sequence[Target]:
        """One target from the class's declarations.

        Raises:
            SettingsError: the class does not declare its table, columns or pending predicate.
        """
        for declaration in ("table", "columns", "pending"):
            if not getattr(self, declaration, None):
                raise SettingsError(
                    f"migration {self.name} declares no {declaration}",
                    f"Give the class a line such as {_DECLARED[declaration]}",
                )
        async with self.context.db.acquire() as connection:
            table = await self.context.profile.table(connection, self.table)
        if table is None:
            raise NotApplicable(f"there is no table {self.table}")
        columns = {name: existing(table, name) for name in self.columns}
        sensitive = {column.name for column in table.sensitive.values()}
        return [
            Target(
                table=table,
                shape=shape_of(table, columns),
                pending=self.pending,
                transform=self.transform,
                # By physical names: a column is as sensitive under that as under its logical one.
                sensitive=any(column.name in sensitive for column in columns.values()),
            )
        ]

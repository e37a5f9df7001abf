"""The rows that belong to one user, in every table that a reference leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg
import attrs

from taaxdog_datamig.errors import UnknownName
from taaxdog_datamig.pg.transactions import transaction
from taaxdog_datamig.profile import paths_from, scope_of
from taaxdog_datamig.validation.model import FunctionCheck, UniqueCheck
from taaxdog_datamig.validation.scene import readable
from taaxdog_datamig.validation.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.validation.model import Check
    from taaxdog_datamig.validation.scene import Scene

ROOT = "users"


@attrs.frozen(kw_only=True)
class OneUser:
    """Whose rows alone are looked at."""

    root: FittedTable
    #: The key's columns as text.
    key: tuple[str, ...]
    paths: Mapping[int, tuple[ForeignKey, ...]]

    @classmethod
    async def find(cls, connection: PoolConnectionProxy[Any], scene: Scene, user_id: str) -> OneUser:
        """Look a user up.

        Args:
            connection: any, in a transaction.
            scene: where.
            user_id: the key, as reports show it: several columns are joined by commas.

        Raises:
            UnknownName: there is no such user, or no table of users that could be asked.
        """
        root = scene.table(ROOT)
        if root is None or not root.relation.key:
            raise UnknownName(f"there is no table {ROOT} with a key here", "Validate without --user-id")
        if (reason := readable(root.relation)) is not None:
            raise UnknownName(f"user {user_id!r} cannot be looked up", reason)
        columns = root.relation.key_columns
        key = (user_id,) if len(columns) == 1 else tuple(user_id.split(","))
        user = cls(root=root, key=key, paths=paths_from(root.relation.oid, scene.references))
        if len(key) != len(columns) or not await user._exists(connection):
            raise UnknownName(
                f"there is no user {user_id!r} in {root.relation.label}",
                f"Name one by {', '.join(column.name for column in columns)}",
            )
        return user

    async def _exists(self, connection: PoolConnectionProxy[Any]) -> bool:
        query = f"SELECT EXISTS (SELECT FROM {self.root.relation.quoted} AS t WHERE {self._is_root})"
        try:
            async with transaction(connection):
                return bool(await connection.fetchval(query, *self.key))
        except asyncpg.DataError:  # not of the key's type, such as a text that is no uuid
            return False

    @property
    def _is_root(self) -> str:
        return " AND ".join(
            # A cast to a text type with a length would cut the value.
            f"t.{column.quoted} = ${number}::text{'' if column.category == 'S' else f'::{column.bare_type}'}"
            for number, column in enumerate(self.root.relation.key_columns, 1)
        )

    def subject(self, table: FittedTable) -> Subject:
        """The user's rows of a table that `why_not` has nothing against."""
        scope = scope_of(self.paths[table.relation.oid], self._is_root)
        return Subject(table=table, scope=scope, arguments=self.key)

    def why_not(self, check: Check, table: FittedTable | None) -> str | None:
        """Why a check has nothing to say of one user; None when it has."""
        if table is None or isinstance(check, FunctionCheck):
            return "it is about the whole database, not one user's rows"
        if table.relation.oid not in self.paths:
            return f"no reference leads from {ROOT} to {table.spec.name}"
        if isinstance(check, UniqueCheck) and table.relation.oid == self.root.relation.oid:
            return "it compares users with each other"
        return None

"""What deleting newer rows reaches outside a restore: rows of other tables that refer to them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.pg.keys import keys_to
from taaxdog_datamig.pg.quoting import ident
from taaxdog_datamig.pg.sql import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.matching import Target
    from taaxdog_datamig.pg.keys import ForeignKey

_SQL = queries(__package__, "restore.sql")


@attrs.frozen
class Reach:
    """Foreign keys from outside, each with the table it refers to, and how many rows refer to newer ones."""

    found: Sequence[tuple[ForeignKey, Target, int]]

    @classmethod
    async def of(cls, connection: PoolConnectionProxy[Any], targets: Sequence[Target]) -> Reach:
        """Look, once the differences are known."""
        own = {
            row["oid"]
            for row in await connection.fetch(_SQL["members"], [target.relation.oid for target in targets])
        }
        found = []
        for target in targets:
            for key in await keys_to(connection, target.relation.oid):
                if key.child not in own:
                    rows = await connection.fetchval(
                        f"SELECT count(*) FROM {key.child_name} AS c{_reached(key, target)}"
                    )
                    found += [(key, target, rows)] * (rows > 0)
        return cls(found)

    async def resolve(self, connection: PoolConnectionProxy[Any], *, cascade: bool) -> Counter[str]:
        """Do to these rows what their foreign keys say; returns how many there were, by table.

        Raises:
            RefusedError: there are some, and `cascade` is not given, or a key restricts.
        """
        rows = Counter[str]()
        for key, _, count in self.found:
            rows[key.child_name] += count
        bound = [key.name for key, _, _ in self.found if key.on_delete == "restrict"]
        if rows and (bound or not cascade):
            reached = ", ".join(f"{count} of {name}" for name, count in sorted(rows.items()))
            raise RefusedError(
                f"rows newer than the backup are referred to by rows outside the restore: {reached}"
                + (f"; {', '.join(bound)} forbids deleting them" if bound else "")
                + "; nothing was changed",
                "Restore these tables as well, or "
                + ("delete those rows first" if bound else "let them go along with --cascade"),
            )
        for key, target, _ in self.found:
            await connection.execute(_resolution(key) + _reached(key, target))
        return rows


def _reached(key: ForeignKey, target: Target) -> str:
    """SQL: rows `c` of the child that refer to a row that is to be deleted."""
    return (
        f" WHERE EXISTS (SELECT FROM {target.differences} AS d JOIN {target.source} AS p"
        f" ON {target.keys_equal('p', 'd')} WHERE d.datamig_kind = 'newer' AND {key.parent_is('p', 'c')})"
    )


def _resolution(key: ForeignKey) -> str:
    if key.on_delete == "cascade":
        return f"DELETE FROM {key.child_name} AS c"
    value = "NULL" if key.on_delete == "null" else "DEFAULT"
    sets = ", ".join(f"{ident(name)} = {value}" for name in key.child_columns)
    return f"UPDATE {key.child_name} AS c SET {sets}"

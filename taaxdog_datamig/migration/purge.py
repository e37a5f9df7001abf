"""The declarative migration that deletes rows, archived first."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from taaxdog_datamig.errors import RefusedError
from taaxdog_datamig.migration.base import DeclaredMigration, NotApplicable
from taaxdog_datamig.migration.closure import NOW, closure_of, holds_on, whole
from taaxdog_datamig.migration.target import Target
from taaxdog_datamig.profile import bind, placeholders
from taaxdog_datamig.retention import RETENTION, intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.migration.base import MigrationContext
    from taaxdog_datamig.profile import FittedTable


@attrs.frozen
class Purge:
    """Rows of a table that are to go.

    `where` is SQL over the row `t`. In it `{column}` stands for a column by its logical name, `{now}` for the
    moment in UTC, `{audit_logs}`, `{payments}` and `{soft_deleted}` for the periods of `[retention]`:

        Purge("sessions", "{expires} < {now}")
        Purge("audit_logs", "{createdAt} < {now} - {audit_logs}")
    """

    #: Logical (or physical) name.
    table: str
    where: str


class PurgeMigration(DeclaredMigration):
    """Archives and deletes rows with what refers to them, child first; what records on hold need stays."""

    #: Why the migration does not apply where `purges` names nothing.
    nothing: ClassVar[str] = "there is nothing to look for"

    @abc.abstractmethod
    async def purges(self, connection: PoolConnectionProxy[Any]) -> Sequence[Purge]:
        """What is to go, in the order in which it goes."""

    async def more_targets(self, connection: PoolConnectionProxy[Any]) -> Sequence[Target]:
        """Whatever else the migration changes; nothing by default."""
        del connection
        return []

    async def targets(self) -> Sequence[Target]:
        """One target for each purge whose table and columns are here, and whatever else there is."""
        async with self.context.db.acquire() as connection:
            purges = await self.purges(connection)
            targets = [
                *await purge_where(connection, self.context, purges),
                *await self.more_targets(connection),
            ]
        if not targets:
            absent = [f"there is no {purge.table} with {_columns(purge)}" for purge in purges]
            raise NotApplicable("; ".join(absent) or self.nothing)
        return targets


async def purge_where(
    connection: PoolConnectionProxy[Any], context: MigrationContext, purges: Sequence[Purge]
) -> list[Target]:
    """A target for each purge whose table and columns are here."""
    targets: list[Target] = []
    for purge in purges:
        table = await context.profile.table(connection, purge.table)
        pending = None if table is None else condition(context, table, purge.where)
        if table is not None and pending is not None:
            targets.append(await purge_target(connection, context, table, pending))
    return targets


def _columns(purge: Purge) -> str:
    return ", ".join(sorted(set(placeholders(purge.where)) - {"now", *RETENTION}))


def condition(context: MigrationContext, table: FittedTable, where: str) -> str | None:
    """The SQL of a `Purge.where`; None where the table lacks one of its columns."""
    return bind(where, table, {**intervals(context.settings.retention), "now": NOW})


async def purge_target(
    connection: PoolConnectionProxy[Any], context: MigrationContext, table: FittedTable, pending: str
) -> Target:
    """A target whose pending rows are archived and deleted.

    Raises:
        RefusedError: the table is on hold.
        PreflightFailed: see `closure_of`.
    """
    on_hold = await holds_on(connection, context, table)
    if "true" in on_hold:
        raise RefusedError(
            f"{table.relation.label} is on hold: its rows are never deleted",
            f"`{table.spec.name} = false` under [holds] of datamig.toml lifts the hold",
        )
    closure = await closure_of(connection, context, table)
    held = "".join(f" AND ({condition}) IS NOT TRUE" for condition in on_hold)
    return Target(
        table=table,
        shape=whole(table),
        pending=f"({pending}){held}",
        action="delete",
        closure=closure,
        sensitive=closure.sensitive,
    )

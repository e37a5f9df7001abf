"""cleanup-sessions: what let somebody in, and does no longer.

Expired sessions, verification tokens and password reset tokens are archived and deleted; on `users`, expired
verification and reset tokens become NULL with their expiry.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from taaxdog_datamig.migration import (
    Changes,
    Purge,
    PurgeMigration,
    Skip,
    Target,
    condition,
    shape_of,
)
from taaxdog_datamig.migration.expiry import EXPIRING_TABLES, USER_TOKENS, expired
from taaxdog_datamig.profile import column_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.migration import Outcome, Row


class CleanupSessions(PurgeMigration):
    """Takes expired sessions and tokens."""

    name: ClassVar[str] = "cleanup-sessions"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Remove expired user sessions, verification and reset tokens"
    category: ClassVar[str] = "cleanup"

    async def purges(self, _: PoolConnectionProxy[Any]) -> Sequence[Purge]:
        """The three tables of what expires."""
        return [Purge(table, expired(column)) for table, column in EXPIRING_TABLES.items()]

    async def more_targets(self, connection: PoolConnectionProxy[Any]) -> Sequence[Target]:
        """The tokens that users carry themselves."""
        users = await self.context.profile.table(connection, "users")
        if users is None:
            return []
        pairs = [pair for pair in USER_TOKENS if all(column_of(users, name) is not None for name in pair)]
        columns = {name: column for pair in pairs for name in pair if (column := column_of(users, name))}
        past = [condition(self.context, users, expired(expires)) for _, expires in pairs]
        if not pairs:
            return []
        return [
            Target(
                table=users,
                shape=shape_of(users, columns),
                pending=" OR ".join(f"({sql})" for sql in past),
                transform=partial(_forget, tuple(pairs)),
                sensitive=any(column in users.sensitive.values() for column in columns.values()),
            )
        ]


def _forget(pairs: tuple[tuple[str, str], ...], row: Row) -> Outcome:
    changes = Changes()
    for token, expires in pairs:
        moment = row[expires]
        if moment is not None and moment < datetime.now(moment.tzinfo and UTC).replace(tzinfo=moment.tzinfo):
            changes |= {token: None, expires: None}
    return changes or Skip()

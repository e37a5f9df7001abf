"""What kind of backup is wanted, and what goes into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.backup import contents, lint
from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.contents import Source


@attrs.frozen(kw_only=True)
class Wishes:
    """What kind of backup is wanted."""

    name: str = ""
    #: Logical or physical names, as the manager has resolved them to `schema.name`; None: all.
    tables: Collection[str] | None = None
    exclude: Collection[str] = ()
    #: Whether definitions are backed up, too.
    schema: bool = True
    encrypt: bool = True
    #: Of zstd.
    level: int = 1
    jobs: int = 2


@attrs.frozen(kw_only=True)
class Chosen:
    """What goes into the backup."""

    tables: list[Source]
    complete: bool
    sequences: list[contents.SequenceName]
    filled_views: list[str]
    large_objects: contents.LargeObjects | None
    #: How many large objects stay out.
    objects_left_out: int
    warnings: list[str]

    @property
    def sources(self) -> list[Source]:
        """All that is read."""
        more = self.large_objects
        return self.tables if more is None else [*self.tables, more.list, more.pages]


async def choose(connection: PoolConnectionProxy[Any], wishes: Wishes, *, standby: bool) -> Chosen:
    """Find what is wanted, and make sure that all of it can be read whole.

    Args:
        connection: of the snapshot.
        wishes: what is wanted.
        standby: whether the server is one, which has no rows of unlogged tables.

    Raises:
        BackupError: the role does not see all of it.
        UsageError: each table that is wanted is excluded.
    """

    def asked(source: Source, names: Collection[str]) -> bool:
        return source.label in names or source.root in names

    everything = await contents.sources(connection)
    wanted = [
        source
        for source in everything
        if (wishes.tables is None or asked(source, wishes.tables)) and not asked(source, wishes.exclude)
    ]
    if wishes.tables and not wanted:
        raise UsageError("nothing is left to back up: each table named is excluded, too", "Exclude fewer")
    unread = [source.label for source in wanted if standby and source.unlogged]
    wanted = [source for source in wanted if source.label not in unread]
    whole = wishes.tables is None
    names = {name for source in wanted for name in (source.label, source.root)}
    sequences = [
        sequence
        for sequence in await contents.sequences(connection)
        if whole or not names.isdisjoint(sequence.users)
    ]
    objects = await contents.large_objects(connection)
    lint.refuse(wanted, sequences, objects if whole else None)
    return Chosen(
        tables=wanted,
        complete=len(wanted) == len(everything),
        sequences=sequences,
        filled_views=await contents.filled_views(connection),
        large_objects=objects if whole else None,
        objects_left_out=0 if objects is None or whole else objects.objects,
        warnings=[f"a standby has no rows of the unlogged table {label}" for label in unread],
    )

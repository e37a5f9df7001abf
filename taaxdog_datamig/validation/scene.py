"""Where checks are made: what is here, under which names, and what is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.pg.quoting import literal
from taaxdog_datamig.profile import FittedProfile, Profile, all_references, bind, column_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.catalog import Relation
    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.settings import Settings


@attrs.frozen(kw_only=True)
class Scene:
    """What checks are bound to."""

    settings: Settings
    profile: FittedProfile
    keyring: Keyring | None
    #: The profile's soft ones, too.
    references: tuple[ForeignKey, ...]
    #: UTC.
    moment: datetime

    @classmethod
    async def load(cls, connection: PoolConnectionProxy[Any], settings: Settings, moment: datetime) -> Scene:
        """Look around.

        Raises:
            SettingsError, KeyFormatError: the profile or a key does not parse.
        """
        profile = await FittedProfile.fit(connection, Profile.load(settings.profile))
        return cls(
            settings=settings,
            profile=profile,
            keyring=Keyring.from_settings(settings),
            references=tuple(await all_references(connection, profile)),
            moment=moment,
        )

    async def including(self, connection: PoolConnectionProxy[Any], names: Iterable[str]) -> Scene:
        """The same with these tables, where they are here, although the profile does not list them."""
        unlisted = [name for name in names if name and self.table(name) is None]
        found = {name: await self.profile.table(connection, name) for name in unlisted}
        more = {name: table for name, table in found.items() if table is not None}
        profile = attrs.evolve(self.profile, tables={**self.profile.tables, **more})
        return attrs.evolve(self, profile=profile) if more else self

    def table(self, name: str) -> FittedTable | None:
        """The table of that logical name or alias, if it is here."""
        return self.profile.tables.get(self.profile.profile.resolve(name).name)

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table is here with these columns."""
        found = self.table(table)
        return found is not None and all(column_of(found, column) is not None for column in columns)

    def bound(self, template: str, table: FittedTable) -> str | None:
        """The SQL of a check's template; None where a column is missing."""
        return bind(template, table, self._values)

    @property
    def _values(self) -> Mapping[str, str]:
        # Without a time zone, as the application has its moments; the session's zone is UTC for the others.
        now = self.moment.replace(tzinfo=None).isoformat(sep=" ")
        return {
            "now": f"TIMESTAMP {literal(now)}",
            # Australia is ahead of UTC all year: what is past by this date is past there.
            "today": f"DATE {literal(now[:10])}",
        }


def readable(relation: Relation) -> str | None:
    """Why the role cannot read the whole table; None when it can."""
    if relation.kind not in "rp":
        return f"{relation.label} is not a table"
    if not relation.may_select:
        return f"the role may not read {relation.label}: GRANT SELECT ON {relation.quoted} to it"
    if relation.policed:
        return f"row-level security would hide rows of {relation.label}: use a role with BYPASSRLS"
    return None

"""Where checks are made: what is here, under which names, and what is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.crypto import Keyring
from taaxdog_datamig.errors import PreflightFailed
from taaxdog_datamig.migration.closure import closure_of, hold_condition, on_hold
from taaxdog_datamig.migration.pending import DELETED
from taaxdog_datamig.pg.keys import readable_tables
from taaxdog_datamig.pg.quoting import literal
from taaxdog_datamig.profile import FittedProfile, Profile, all_references, bind, column_of
from taaxdog_datamig.retention import RETENTION, intervals
from taaxdog_datamig.validation.sharing import unmarked

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.catalog import Relation
    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.settings import Settings

#: What a check's SQL may name besides columns; see `Check`.
WORDS = frozenset({"now", "today", *RETENTION})


@attrs.frozen(kw_only=True)
class Scene:
    """What checks are bound to."""

    settings: Settings
    profile: FittedProfile
    keyring: Keyring | None
    #: The profile's soft ones, too.
    references: tuple[ForeignKey, ...]
    #: By label: tables that the profile does not know, where nobody vouches for what they refer to.
    others: Mapping[str, FittedTable]
    #: By oid: SQL over the row `t`, each true of rows on hold.
    holds: Mapping[int, tuple[str, ...]]
    #: By oid, of tables that mark rows as deleted: SQL over the row `t`, each true where records on hold
    #: refer to the row.
    held_by: Mapping[int, tuple[str, ...]]
    #: UTC.
    moment: datetime

    @classmethod
    async def load(cls, connection: PoolConnectionProxy[Any], settings: Settings, moment: datetime) -> Scene:
        """Look around.

        Raises:
            SettingsError, KeyFormatError: the profile or a key does not parse.
        """
        profile = await FittedProfile.fit(connection, Profile.load(settings.profile))
        references = await all_references(connection, profile)
        scene = cls(
            settings=settings,
            profile=profile,
            keyring=Keyring.from_settings(settings),
            references=tuple(references),
            others=await _strangers(connection, profile, references),
            holds={},
            held_by={},
            moment=moment,
        )
        holding = await on_hold(connection, scene)
        return attrs.evolve(
            scene,
            holds={
                oid: tuple(hold_condition(hold, table, "t") for hold, table in found)
                for oid, found in holding.items()
            },
            held_by={
                table.relation.oid: await _held_by(connection, scene, table)
                for table in profile.tables.values()
                if column_of(table, DELETED) is not None
            },
        )

    async def including(self, connection: PoolConnectionProxy[Any], names: Iterable[str]) -> Scene:
        """The same with these tables, where they are here, although the profile does not list them."""
        unlisted = [name for name in names if name and self.table(name) is None]
        found = {name: await self.profile.table(connection, name) for name in unlisted}
        more = {name: table for name, table in found.items() if table is not None}
        profile = attrs.evolve(self.profile, tables={**self.profile.tables, **more})
        return attrs.evolve(self, profile=profile) if more else self

    def table(self, name: str) -> FittedTable | None:
        """The table of that logical name, alias or label of `others`, if it is here."""
        return self.profile.tables.get(self.profile.profile.resolve(name).name) or self.others.get(name)

    def name_of(self, oid: int) -> str | None:
        """How `table` knows the table; None where it does not."""
        known = {**self.others, **self.profile.tables}
        return next((name for name, table in known.items() if table.relation.oid == oid), None)

    def has(self, table: str, *columns: str) -> bool:
        """Whether the table is here with these columns."""
        found = self.table(table)
        return found is not None and all(column_of(found, column) is not None for column in columns)

    def bound(self, template: str, table: FittedTable) -> str | None:
        """The SQL of a check's template; None where a column is missing."""
        return self.marked(unmarked(template), table)

    def marked(self, template: str, table: FittedTable) -> str | None:
        """The same with the marks of `sharing.shared`."""
        return bind(template, table, self._values)

    @property
    def _values(self) -> Mapping[str, str]:
        # Without a time zone, as the application has its moments; the session's zone is UTC for the others.
        now = self.moment.replace(tzinfo=None).isoformat(sep=" ")
        return {
            "now": f"TIMESTAMP {literal(now)}",
            # Australia is ahead of UTC all year: what is past by this date is past there.
            "today": f"DATE {literal(now[:10])}",
            **intervals(self.settings.retention),
        }


async def _strangers(
    connection: PoolConnectionProxy[Any], profile: FittedProfile, references: Iterable[ForeignKey]
) -> dict[str, FittedTable]:
    known = {table.relation.oid for table in profile.tables.values()}
    keys = [key for key in references if not key.valid and key.child not in known]
    # What others keep beside the application, where this role has no business, is not looked at.
    mine = await readable_tables(connection, {oid for key in keys for oid in (key.child, key.parent)})
    strangers = [
        await profile.behind(connection, key.child, key.child_name)
        for key in keys
        if {key.child, key.parent} <= mine
    ]
    return {table.relation.label: table for table in strangers}


async def _held_by(connection: PoolConnectionProxy[Any], scene: Scene, table: FittedTable) -> tuple[str, ...]:
    try:
        closure = await closure_of(connection, scene, table)
    except PreflightFailed:
        return ()  # why its rows cannot be deleted the migration says
    return tuple(way.holds("t") for way in closure.held)


def readable(relation: Relation) -> str | None:
    """Why the role cannot read the whole table; None when it can."""
    if relation.kind not in "rp":
        return f"{relation.label} is not a table"
    if not relation.may_select:
        return f"the role may not read {relation.label}: GRANT SELECT ON {relation.quoted} to it"
    if relation.policed:
        return f"row-level security would hide rows of {relation.label}: use a role with BYPASSRLS"
    return None

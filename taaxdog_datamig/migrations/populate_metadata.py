"""populate-metadata: fill missing timestamps from the best evidence, and missing defaults of the profile.

A record was created when the first thing is known to have happened to it: the earliest of its own moments and
of the records that refer to it. Where nothing is known it is not older than what it refers to, and only where
that says nothing either it gets the moment of the run. A moment that is still to come is no evidence. Tables
on hold are not touched, and nothing that has a value is changed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from taaxdog_datamig.migration import (
    Changes,
    DeclaredMigration,
    NotApplicable,
    Outcome,
    Row,
    Target,
    shape_of,
)
from taaxdog_datamig.migration.closure import NOW, holds_on
from taaxdog_datamig.migration.evidence import CREATED, MOMENTS, UPDATED, fillable, surroundings
from taaxdog_datamig.profile import column_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.migration import MigrationContext
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.profile import FittedTable

#: Columns that say when something happened to a row, in whichever table and spelling. None that says when
#: something is due, expires or is planned.
_HAPPENED = (
    *("emailVerified", "lastLoginAt", "passwordChangedAt", "lastSynced", "requestDate", "verifiedAt"),
    *("processedAt", "completedAt", "reviewedAt", "reportedAt", "submittedAt", "paidAt", "cancelledAt"),
    *("consentDate", "withdrawnAt", "detectedAt", "resolvedAt", "lastPaymentAttempt", "deletedAt"),
)
#: A moment so close to now is that of the run, for those who compare two runs.
_RUN = timedelta(days=1)
#: What a type of fewer digits may round a moment by.
_ROUNDED = timedelta(seconds=1)
#: Years that stand for infinity.
_INFINITE = {1, 9999}


@attrs.frozen(kw_only=True)
class _Fill:
    """What is filled in one table, by logical name."""

    #: Of createdAt and updatedAt, those that can be NULL, and whether they have a time zone.
    moments: Mapping[str, bool]
    #: createdAt, updatedAt and what happened to the row.
    known: Mapping[str, Column]
    #: Columns that can be NULL, with the profile's defaults.
    defaults: Mapping[str, str]
    #: Logical tables that refer to this one, and those that it refers to: lookups of that name.
    referring: tuple[str, ...] = ()
    referred: tuple[str, ...] = ()


class PopulateMetadata(DeclaredMigration):
    """Fills createdAt, updatedAt and columns with a default in the profile, where they are NULL."""

    name: ClassVar[str] = "populate-metadata"
    version: ClassVar[str] = "1.0.0"
    description: ClassVar[str] = "Populate missing metadata: created and updated timestamps, roles, defaults"
    category: ClassVar[str] = "user-data"

    async def targets(self) -> Sequence[Target]:
        """One target for each table of the profile with a column of these that can be NULL."""
        targets: list[Target] = []
        said: list[str] = []
        async with self.context.db.acquire() as connection:
            for table in self.context.profile.tables.values():
                fill = _fillable(table)
                if not (fill.moments or fill.defaults):
                    continue
                label = table.relation.label
                held = await holds_on(connection, self.context, table)
                if "true" in held or not table.relation.key:
                    why = "is on hold" if table.relation.key else "has no primary key"
                    said.append(f"{label} {why}: nothing is filled in there")
                    continue
                targets.append(await _target(connection, self.context, table, fill, held))
        if not targets:
            raise NotApplicable("; ".join(said) or "no column that it would fill can be NULL here")
        return [attrs.evolve(targets[0], warnings=(*said, *targets[0].warnings)), *targets[1:]]


def _fillable(table: FittedTable) -> _Fill:
    known = {
        name: column
        for name in (CREATED, UPDATED, *_HAPPENED)
        if (column := column_of(table, name)) is not None and column.base in MOMENTS
    }
    moments, lacking = fillable(table)
    return _Fill(
        moments={name: column.base == "timestamptz" for name, column in moments.items()},
        known=known if moments else {},
        defaults={
            name: default for name in lacking if (default := table.spec.columns[name].default) is not None
        },
    )


async def _target(
    connection: PoolConnectionProxy[Any],
    context: MigrationContext,
    table: FittedTable,
    fill: _Fill,
    held: Sequence[str],
) -> Target:
    columns = dict(fill.known)
    for name in fill.defaults:
        if (column := table.column(name)) is not None:
            columns[name] = column
    lookups = {"now": NOW}
    warnings: list[str] = []
    if CREATED in fill.moments:
        around = await surroundings(connection, context.profile, table)
        lookups |= {f"referring {name}": sql for name, sql in around.referring.items()}
        lookups |= {f"referred {name}": sql for name, sql in around.referred.items()}
        fill = attrs.evolve(fill, referring=tuple(around.referring), referred=tuple(around.referred))
        if around.unindexed:
            warnings.append(
                f"{table.relation.label}: {', '.join(around.unindexed)} refer to it without an index: they "
                "are not asked when its rows were created"
            )
    filled = [columns[name] for name in (*fill.moments, *fill.defaults)]
    sensitive = {column.name for column in table.sensitive.values()}
    return Target(
        table=table,
        # With the evidence among the columns: a row whose evidence changes meanwhile is read again.
        shape=shape_of(table, columns),
        pending=f"({' OR '.join(f't.{column.quoted} IS NULL' for column in filled)})"
        + "".join(f" AND ({condition}) IS NOT TRUE" for condition in held),
        lookups=lookups,
        transform=partial(_populate, fill),
        reveal=partial(_reveal, frozenset(fill.moments)),
        verify=partial(_verify, fill),
        sensitive=any(column.name in sensitive for column in columns.values()),
        warnings=tuple(warnings),
    )


def _populate(fill: _Fill, row: Row) -> Outcome:
    changes, reasons = Changes(), []
    now: datetime = row["now"]
    known = _known(fill, row, now)
    created = _naive(row[CREATED]) if CREATED in fill.known else None
    if CREATED in fill.moments and row[CREATED] is None:
        created, source = _created(fill, row, known, now)
        changes[CREATED] = _stored(created, zoned=fill.moments[CREATED])
        reasons.append(f"{CREATED} by {source}")
    if UPDATED in fill.moments and row[UPDATED] is None:
        candidates = {**known, **({CREATED: created} if created is not None else {})}
        source = max(candidates, key=lambda name: candidates[name]) if candidates else "the run"
        changes[UPDATED] = _stored(candidates.get(source, now), zoned=fill.moments[UPDATED])
        reasons.append(f"{UPDATED} by {source}")
    for name, default in fill.defaults.items():
        if row[name] is None:
            changes[name] = default
            reasons.append(f"{name} by default")
    return changes.because(", ".join(reasons))


def _created(fill: _Fill, row: Row, known: Mapping[str, datetime], now: datetime) -> tuple[datetime, str]:
    """When a row was created, and what says so."""
    first = {**known, **_found(row, "referring", fill.referring)}
    if first:
        source = min(first, key=lambda name: first[name])
        return first[source], source
    if parents := _found(row, "referred", fill.referred):
        source = max(parents, key=lambda name: parents[name])
        return parents[source], f"its {source}"
    return now, "the run"


def _found(row: Row, way: str, tables: Sequence[str]) -> dict[str, datetime]:
    return {name: moment for name in tables if (moment := row[f"{way} {name}"]) is not None}


def _known(fill: _Fill, row: Row, now: datetime) -> dict[str, datetime]:
    """What has happened to the row: no moment that is still to come, nor infinite ones."""
    found = {name: _naive(row[name]) for name in fill.known if name != CREATED}
    return {name: moment for name, moment in found.items() if moment is not None and moment <= now}


def _naive(moment: datetime | None) -> datetime | None:
    """A moment in UTC without a zone, as the application stores it; None where there is no such moment."""
    if moment is None or moment.year in _INFINITE:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def _stored(moment: datetime, *, zoned: bool) -> datetime:
    return moment.replace(tzinfo=UTC) if zoned else moment


def _read(text: str | None) -> datetime | None:
    try:
        return _naive(datetime.fromisoformat(text)) if text else None
    except ValueError:  # infinity, or before Christ
        return None


def _verify(fill: _Fill, row: Row, texts: Mapping[str, str | None]) -> bool:
    """Whether a row that was changed holds what it lacked, and moments in their order."""
    if any(texts[name] is None for name in (*fill.moments, *fill.defaults)):
        return False
    # Without the latest moments, which the server's clock may see on the other side of now.
    known = _known(fill, row, datetime.now(UTC).replace(tzinfo=None) - _RUN).values()
    created, updated = _read(texts.get(CREATED)), _read(texts.get(UPDATED))
    right = True
    if CREATED in fill.moments and row[CREATED] is None:
        right &= created is not None and all(created <= moment + _ROUNDED for moment in known)
    if UPDATED in fill.moments and row[UPDATED] is None:
        earlier = [*known, *([created] if created is not None else [])]
        right &= updated is not None and all(moment <= updated + _ROUNDED for moment in earlier)
    return right


def _reveal(moments: frozenset[str], _: tuple[str, ...], column: str, text: str | None) -> object:
    """A moment of a run is not the same in another run: all of them compare equal."""
    moment = _read(text) if column in moments else None
    if moment is None:
        return text
    return "the run" if abs(datetime.now(UTC).replace(tzinfo=None) - moment) < _RUN else text

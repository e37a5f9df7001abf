"""Referential integrity: rows that belong to nothing, and what should keep them from it.

Where the server has a foreign key, checks it and has proven it, it vouches for every row: nothing is read
there. All other references of the catalog and the profile are read by anti-join.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from taaxdog_datamig.profile import column_of, verbatim
from taaxdog_datamig.validation.model import Check, Findings, FunctionCheck, ReferenceCheck, RowCheck, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.pg.keys import ForeignKey
    from taaxdog_datamig.profile import FittedTable
    from taaxdog_datamig.validation.scene import Scene

ORPHANED_ROW = Rule(
    id="orphaned-row",
    title="Row belongs to a row that does not exist",
    category="referential-integrity",
    severity="high",
    meaning="What the row belongs to, such as the account of a transaction or the user of a goal, is gone. "
    "Nobody sees the row any more, but sums and reports may still count it.",
    remedy="cleanup-orphaned-data archives and deletes such rows with what refers to them; rows that records "
    "on hold refer to are left, and listed. If the missing row can be had from a backup, restore it first.",
    fix="cleanup-orphaned-data",
)
ORPHANED_RECORD = Rule(
    id="orphaned-record",
    title="Record that no cleanup may take belongs to a row that does not exist",
    category="referential-integrity",
    severity="high",
    meaning="The record is on hold, such as a financial audit log, or in a table that the profile does not "
    "know; what it belongs to is gone. Who it is about can no longer be told from the database.",
    remedy="Find out what deleted the missing row, and restore that row from a backup.",
)
BROKEN_REFERENCE = Rule(
    id="broken-reference",
    title="Row refers to a row that does not exist",
    category="referential-integrity",
    severity="medium",
    meaning="The row stands for itself, but something that it names, such as the transaction that a receipt "
    "is matched to, is gone. The application may fail where it follows the reference.",
    remedy="cleanup-orphaned-data makes the reference NULL; the row stays.",
    fix="cleanup-orphaned-data",
)
DANGLING_REFERENCE = Rule(
    id="dangling-reference",
    title="Row names a row that is gone, and may",
    category="referential-integrity",
    severity="warning",
    meaning="The profile says that this reference is kept when what it leads to is deleted: a record of what "
    "once was. No migration changes it.",
    remedy="Nothing, as long as the reports that read it get along with a missing row.",
)
MISSING_OWNER = Rule(
    id="missing-owner",
    title="Row does not say what it belongs to",
    category="referential-integrity",
    severity="high",
    meaning="The reference to the user, or whatever the row is a part of, is NULL. Nobody sees the row, and "
    "nothing deletes it with its owner.",
    remedy="Set the reference where the owner can be told from other records, else delete the row; then make "
    "the column NOT NULL.",
)
UNPROVEN_FOREIGN_KEY = Rule(
    id="unproven-foreign-key",
    title="Foreign key does not vouch for every row",
    category="referential-integrity",
    severity="medium",
    meaning="The constraint is NOT VALID or NOT ENFORCED, or its triggers are disabled, on either table: the "
    "server lets rows be, or become, orphans.",
    remedy="ALTER TABLE ... ENABLE TRIGGER ALL where triggers are disabled, ALTER CONSTRAINT ... ENFORCED "
    "where it is not enforced. Once no row is orphaned, ALTER TABLE ... VALIDATE CONSTRAINT proves it. Rows "
    "written while triggers were disabled are read here each time, until the constraint is made anew.",
)
MISSING_FOREIGN_KEY = Rule(
    id="missing-foreign-key",
    title="Reference without a foreign key",
    category="referential-integrity",
    severity="warning",
    meaning="The profile knows that this column refers to another table, and the database does not: each bug "
    "of the application may leave orphans, and deletions do not reach over the reference.",
    remedy="ALTER TABLE ... ADD FOREIGN KEY ... NOT VALID stops new orphans at once; once no row is "
    "orphaned, VALIDATE CONSTRAINT. A reference that is meant to be loose gets "
    "on_delete = `keep` in the profile.",
)

RULES = (
    ORPHANED_ROW,
    ORPHANED_RECORD,
    BROKEN_REFERENCE,
    DANGLING_REFERENCE,
    MISSING_OWNER,
    UNPROVEN_FOREIGN_KEY,
    MISSING_FOREIGN_KEY,
)


def checks(scene: Scene) -> list[Check]:
    """The checks of this category."""
    return [
        *_references(scene),
        *_owners(scene),
        FunctionCheck(rule=UNPROVEN_FOREIGN_KEY, table="", find=_unproven),
        FunctionCheck(rule=MISSING_FOREIGN_KEY, table="", find=_missing),
    ]


def _references(scene: Scene) -> Iterator[Check]:
    done = {_ends(key) for key in scene.references if key.valid}
    parts: set[str] = set()
    for key in scene.references:
        name = scene.name_of(key.child)
        table = None if name is None else scene.table(name)
        if name is None or table is None or _ends(key) in done:
            continue
        done.add(_ends(key))
        part = _part(scene, name, table, key)
        if part in parts:  # the same column refers to two tables
            part += f" to {scene.name_of(key.parent) or key.parent_name}"
        parts.add(part)
        for rule, where in _rules(scene, table, key):
            yield ReferenceCheck(
                rule=rule, table=name, columns=key.child_columns, part=part, key=key, where=where
            )


def _rules(scene: Scene, table: FittedTable, key: ForeignKey) -> list[tuple[Rule, str]]:
    """What an orphan breaks, and the rows for which it is that: as cleanup-orphaned-data would mend them."""
    if key.on_delete in {"keep", "default"}:
        return [(DANGLING_REFERENCE, "true")]
    rule = BROKEN_REFERENCE if key.on_delete == "null" else ORPHANED_ROW
    holds = scene.holds.get(key.child, ())
    if "true" in holds or table.relation.label in scene.others or not table.relation.key:
        return [(ORPHANED_RECORD, "true")]
    if not holds or rule is BROKEN_REFERENCE:
        return [(rule, "true")]
    held = verbatim(" OR ".join(f"({hold})" for hold in holds))
    return [(rule, f"({held}) IS NOT TRUE"), (ORPHANED_RECORD, held)]


def _owners(scene: Scene) -> Iterator[Check]:
    """Of what a row cannot be without, by the profile: columns that can be NULL here."""
    for spec in scene.profile.profile.references:
        table = scene.profile.tables.get(spec.table)
        column = None if table is None else column_of(table, spec.column)
        if column is not None and not column.not_null and spec.on_delete in {"cascade", "restrict"}:
            yield RowCheck(
                rule=MISSING_OWNER,
                table=spec.table,
                columns=(spec.column,),
                part=f"{spec.table}.{spec.column}",
                violation=f"{{{spec.column}}} IS NULL",
            )


async def _unproven(_: PoolConnectionProxy[Any], scene: Scene) -> Findings:
    keys = [key for key in scene.references if key.flaw not in {None, "missing"}]
    proven = sum(key.valid for key in scene.references)
    # A schema's name says nothing to those who have one.
    names = (f"{key.child_name.rpartition('.')[2]}.{key.name} ({key.flaw})".replace('"', "") for key in keys)
    return Findings(
        violations=len(keys),
        sample_keys=tuple(sorted(names)),
        note=f"the server vouches for {proven} of {len(scene.references)} references: they need not be read",
    )


async def _missing(_: PoolConnectionProxy[Any], scene: Scene) -> Findings:
    names = [
        key.name
        for key in scene.references
        if key.flaw == "missing" and key.on_delete != "keep" and key.comparable
    ]
    return Findings(violations=len(names), sample_keys=tuple(sorted(names)))


def _ends(key: ForeignKey) -> tuple[int, tuple[str, ...], int]:
    return key.child, key.child_columns, key.parent


def _part(scene: Scene, name: str, table: FittedTable, key: ForeignKey) -> str:
    """`table.column`, by logical names where the profile has the reference: the same wherever it is."""
    for spec in scene.profile.profile.references:
        column = column_of(table, spec.column) if spec.table == name else None
        if column is not None and key.child_columns == (column.name,):
            return f"{name}.{spec.column}"
    return f"{name}.{','.join(key.child_columns)}"

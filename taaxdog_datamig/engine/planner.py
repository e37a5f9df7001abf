"""What a run would do: targets, rows, definitions, cost. Reads only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.engine.identity import fingerprint
from taaxdog_datamig.engine.merging import count_duplicates, merge_windows
from taaxdog_datamig.engine.pace import pace
from taaxdog_datamig.engine.reader import decide
from taaxdog_datamig.engine.reports import Plan, TablePlan
from taaxdog_datamig.errors import PlanDrift
from taaxdog_datamig.pg.catalog import hangers, leaves
from taaxdog_datamig.planning import WAVES, WINDOW_BLOCKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.migration import DeclaredMigration, Target
    from taaxdog_datamig.migration.family import Merge
    from taaxdog_datamig.pg.catalog import Leaf
    from taaxdog_datamig.pg.database import Database

#: Tables up to this many blocks are counted; larger ones are sampled.
COUNTED_BLOCKS = 500_000
SAMPLED_BLOCKS = 50_000
#: Rows about which a plan asks the transform of a selective target; these stand for all.
ASKED_ROWS = 10_000
#: Rows a second between which runs were measured on two cores and local disks.
RATES = (8_000, 60_000)
#: The same for rows that are merged into others, with what refers to them.
MERGE_RATES = (1_000, 5_000)
#: Bytes of WAL for a changed row, with its before-image: about 600 measured on `users`.
WAL_PER_ROW = 800
#: Share of a row by which a table grows, since most updates reuse room in their own page.
GROWTH_PER_ROW = 120
#: How far the number of pending rows may be from the pinned plan's: 20% and 100 rows.
BAND = (0.2, 100)
#: Bytes of a table from which on a plan tells that validation reads it.
LONG_TO_VALIDATE = 1 << 30


async def make_plan(db: Database, migration: DeclaredMigration, targets: Sequence[Target]) -> Plan:
    """Look at each target's table, and estimate."""
    tables: list[TablePlan] = []
    said: list[str] = []
    async with db.acquire() as connection:
        for target in targets:
            tables.append(await _plan_table(connection, target))
            said += target.warnings
            if target.closure is not None and tables[-1].pending_rows:
                said += target.closure.warnings()
            if tables[-1].pending_rows:
                said += _warnings(tables[-1])
        slow = await pace(connection, targets, [table.pending_rows for table in tables])
    rows = sum(table.pending_rows for table in tables)
    rates = MERGE_RATES if any(target.merge is not None for target in targets) else RATES
    return Plan(
        migration=migration.name,
        version=migration.version,
        description=migration.description,
        applicable=True,
        tables=tuple(tables),
        growth_bytes=sum(
            table.pending_rows * GROWTH_PER_ROW
            for table, target in zip(tables, targets, strict=True)
            if target.action == "update"
        ),
        wal_bytes=rows * WAL_PER_ROW,
        seconds=(rows / rates[1] + slow.seconds, rows / rates[0] + 2 * slow.seconds),
        seconds_from=slow.told or f"{rates[0]:,} to {rates[1]:,} rows a second, as measured on two cores",
        warnings=tuple(said),
        fingerprint=fingerprint(migration, targets),
    )


async def _plan_merge(connection: PoolConnectionProxy[Any], target: Target, merge: Merge) -> TablePlan:
    """Counted, whatever the size: a sample of rows says nothing of how many share a value."""
    relation = target.table.relation
    pending = await count_duplicates(connection, merge)
    removing = merge.mark is None
    hanging = await hangers(connection, relation.oid, (), deleting=removing)
    return TablePlan(
        table=target.shape.table,
        relation=relation.label,
        columns=tuple(field.column for field in target.shape.columns),
        pending_rows=pending,
        estimate="counted",
        total_rows=await connection.fetchval(f"SELECT count(*) FROM {target.shape.source} AS t"),
        heap_bytes=sum(leaf.pages for leaf in await leaves(connection, relation.oid)) * 8192,
        windows=len(merge_windows(target, pending, 1)),
        triggers=hanging.triggers,
        order="group by group: a group is merged whole, in one transaction",
    )


async def _plan_table(connection: PoolConnectionProxy[Any], target: Target) -> TablePlan:
    if target.merge is not None:
        return await _plan_merge(connection, target, target.merge)
    relation = target.table.relation
    heaps = await leaves(connection, relation.oid)
    pages = sum(leaf.pages for leaf in heaps)
    sample = "" if pages <= COUNTED_BLOCKS else f" TABLESAMPLE SYSTEM ({100 * SAMPLED_BLOCKS / pages:.6f})"
    conditions = [target.pending]
    if target.selective and target.inspect is not None:
        conditions.append(f"({target.inspect}) AND ({target.pending}) IS NOT TRUE")
    counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions)
    row = await connection.fetchrow(f"SELECT count(*), {counts} FROM {relation.quoted} AS t{sample}")
    assert row is not None
    total, *found = row
    asked = [
        await _ask(connection, target, condition, heaps, rows)
        for condition, rows in zip(conditions, found, strict=True)
    ]
    sampled = sample or any(asked_of.sampled for asked_of in asked)
    left = sum((asked_of.left for asked_of in asked), Counter[str]())
    scale = 1.0 if not sample else pages / SAMPLED_BLOCKS
    deleting = target.action == "delete"
    names = [] if deleting else [field.column for field in target.shape.columns]
    hanging = await hangers(connection, relation.oid, names, deleting=deleting)
    indexes = hanging.indexes + hanging.unique_indexes
    return TablePlan(
        table=target.shape.table,
        relation=relation.label,
        columns=tuple(names),
        pending_rows=round(sum(asked_of.changed for asked_of in asked) * scale),
        estimate="sampled" if sampled else "counted",
        total_rows=round(total * scale),
        heap_bytes=pages * 8192,
        windows=sum(-(-max(leaf.pages, 1) // WINDOW_BLOCKS) for leaf in heaps),
        ddl=tuple(ddl.do for ddl in target.ddl),
        triggers=hanging.triggers,
        indexes=indexes,
        order=order(indexes, deleting=deleting),
        left={code: round(rows * scale) for code, rows in sorted(left.items())},
    )


def order(indexes: Sequence[str], *, deleting: bool) -> str:
    """In which order a run changes a table's rows, and why: for people.

    Args:
        indexes: those that cover changed columns.
        deleting: whether rows are deleted.
    """
    if deleting:
        return "in heap order: pages that are read together are written together"
    if indexes:
        return (
            f"page waves: {', '.join(indexes)} rule heap-only updates out, but each wave leaves room on its "
            "page for the next, so that the table grows by a quarter and does not double"
        )
    return (
        f"page waves: each page is changed in up to {WAVES} transactions, since an update that finds room on "
        "its page is heap-only and touches no index"
    )


@attrs.frozen(kw_only=True)
class _Asked:
    """What becomes of rows, as their transform says."""

    changed: int
    left: Counter[str] = attrs.field(factory=Counter)
    #: Whether some were asked about, to stand for all.
    sampled: bool = False


async def _ask(
    connection: PoolConnectionProxy[Any], target: Target, condition: str, heaps: Sequence[Leaf], rows: int
) -> _Asked:
    """Have the transform of a selective target decide about rows, the first in heap order."""
    if not target.selective or target.table.relation.kind not in {"r", "p"}:
        return _Asked(changed=rows)
    asked = changed = 0
    left: Counter[str] = Counter()
    for heap in heaps:
        query = target.shape.at(heap.relation).window_sql(condition, target.lookups.values())
        records = await connection.fetch(query, (0, 0), (2**32 - 1, 0), ASKED_ROWS - asked)
        batch = decide(target, records)
        asked += len(records)
        changed += len(batch.items)
        listed = [*batch.refusals, *(item.left for item in batch.items if item.left)]
        left.update(refusal.code for refusal in listed if refusal.left)
    if asked < ASKED_ROWS:
        return _Asked(changed=changed, left=left)
    share = rows / asked
    of_all = Counter({code: round(count * share) for code, count in left.items()})
    return _Asked(changed=round(changed * share), left=of_all, sampled=rows > asked)


def _warnings(table: TablePlan) -> list[str]:
    said = []
    if table.left:
        codes = ", ".join(f"{rows:,} {code}" for code, rows in table.left.items())
        said.append(f"{table.relation}: rows will be left as they are, and listed: {codes}")
    if table.indexes:
        said.append(
            f"{table.relation}: {', '.join(table.indexes)} index changed columns: searches by the old value "
            "find nothing afterwards, and no update of these rows can be heap-only"
        )
    if table.triggers:
        said.append(
            f"{table.relation}: triggers {', '.join(table.triggers)} fire for each row; what they change "
            "elsewhere is not undone by a rollback"
        )
    if table.heap_bytes > LONG_TO_VALIDATE:
        said.append(
            f"{table.relation}: validation may read the table whole, before the run and after it: "
            f"{table.heap_bytes / 1e9:.1f} GB twice"
        )
    if table.ddl:
        said.append(
            f"{table.relation}: columns are widened under a short exclusive lock; a rollback narrows them "
            "again, which rewrites the table under that lock"
        )
    return said


def check_pinned(plan: Plan, pinned: Mapping[str, Any], *, begun: str | None = None) -> None:
    """Hold a plan made now against one made earlier (`plan --out`).

    Args:
        plan: made now.
        pinned: made earlier, as parsed JSON.
        begun: the fingerprint of the unfinished run that will be gone on with. It has changed
            definitions and rows since the plan was pinned, so that only this can be compared.

    Raises:
        PlanDrift: they differ in code, arguments or predicates, or in rows beyond the band.
    """
    todo = "Look at what changed, then pin a new plan with `datamig plan --out`"
    if pinned.get("migration") != plan.migration:
        raise PlanDrift(f"the pinned plan is for {pinned.get('migration')!r}, not {plan.migration!r}", todo)
    if pinned.get("fingerprint") != (begun or plan.fingerprint):
        raise PlanDrift(
            f"the code, tables or predicates of {plan.migration} are not those of the pinned plan", todo
        )
    if begun:
        return
    before: Counter[str] = Counter()
    for table in pinned.get("tables", ()):
        before[str(table.get("table"))] += table.get("pending_rows", 0)
    for name, rows in plan.pending_by_table().items():
        was = before[name]
        if abs(rows - was) > BAND[0] * was + BAND[1]:
            raise PlanDrift(f"{name} has {rows:,} pending rows, the pinned plan {was:,}", todo)

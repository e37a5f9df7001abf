"""`succeeded` is proven: nothing is pending, and rows read back mean what they meant before (promise P4)."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.images import Deleted, Updated, context_of, digests, open_image
from taaxdog_datamig.errors import ProofFailed
from taaxdog_datamig.migration import Changes, Row
from taaxdog_datamig.pg.catalog import hangers
from taaxdog_datamig.pg.rows import Shape, to_text, transposed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Texts
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration import Target

T = TypeVar("T")

#: Chunks looked into, and rows of each.
CHUNKS = 40
ROWS = 50
#: The same where the transform, and so its check, takes long.
SLOW_ROWS = 2


async def prove(
    connection: PoolConnectionProxy[Any], job: Job, skipped: int, *, after: int = 0
) -> dict[str, Any]:
    """Read a sample back, and compare it with the before-images.

    Where triggers fire for updates of the table, a value that is not sensitive may differ: it is counted.

    Args:
        connection: any.
        job: the run, executed.
        skipped: rows the predicate finds and the migration says need nothing.
        after: a chunk: only later ones are looked at.

    Returns:
        What was looked at, for the report.

    Raises:
        ProofFailed: a row does not mean what it meant; names its key.
    """
    failpoints.hit("before-proof")
    found: Counter[str] = Counter()
    chooser = random.Random(job.run_id.int)  # noqa: S311 - which rows are looked at is no secret
    triggers = [(await hangers(connection, target.table.relation.oid, ())).triggers for target in job.targets]
    for record in await job.ledger.work.sample(connection, job.run_id, CHUNKS, after):
        target = job.targets[record["target"]]
        rows = SLOW_ROWS if target.slow else ROWS
        for effect in open_image(record["image"], job.sealer, context_of(job.run_id, record["target"])):
            positions = sorted(chooser.sample(range(effect.rows), min(rows, effect.rows)))
            if isinstance(effect, Deleted):
                there = await current(connection, effect.shape, effect.named(positions))
                found["deleted"] += len(positions) - len(there)
                found["changed_since"] += len(there)
            else:
                lenient = bool(triggers[record["target"]]) and not target.sensitive
                await _look_at(connection, job, target, effect, positions, found, lenient=lenient)
    failpoints.hit("after-proof")
    return {
        "pending": 0,
        "need_nothing": skipped,
        "read_back": found["read_back"],
        "changed_since": found["changed_since"],
        "rewritten_by_triggers": found["rewritten_by_triggers"],
        "deleted": found["deleted"],
    }


async def _look_at(
    connection: PoolConnectionProxy[Any],
    job: Job,
    target: Target,
    effect: Updated,
    positions: Sequence[int],
    found: Counter[str],
    *,
    lenient: bool,
) -> None:
    """Judge some rows of an update, and count what was found."""
    keys = [effect.keys[i] for i in positions]
    now = await current(connection, effect.shape, keys)
    ours = [
        at for at, i in enumerate(positions) if at in now and digests(now[at], job.data_key) == effect.new[i]
    ]
    found["changed_since"] += len(positions) - len(ours)
    if target.action != "update":
        found["read_back"] += len(ours)
        return
    old = [effect.old[positions[at]] for at in ours]
    before = await _rows(connection, effect.shape, [(keys[at], old[n]) for n, at in enumerate(ours)])
    right = await _judge(connection, target, effect.shape, before, old, [now[at] for at in ours])
    for row, good in zip(before, right, strict=True):
        if good:
            found["read_back"] += 1
        elif lenient:
            found["rewritten_by_triggers"] += 1
        else:
            raise ProofFailed(
                f"{effect.shape.table} row {', '.join(row.key)} does not read back as what it was",
                "This is a fault in the migration, a trigger or under them: keep the ledger, and report it",
            )


async def _judge(
    connection: PoolConnectionProxy[Any],
    target: Target,
    shape: Shape,
    before: Sequence[Row],
    old: Sequence[Texts],
    now: Sequence[Texts],
) -> list[bool]:
    """Whether each row holds what it should, having been `before`."""
    names = [field.name for field in shape.columns]
    if (verify := target.verify) is not None:

        def verified() -> list[bool]:
            return [
                verify(row, dict(zip(names, texts, strict=True)))
                for row, texts in zip(before, now, strict=True)
            ]

        return await _aside(target, verified)

    def expected() -> list[Texts | None]:
        return [_expected(target, row, texts) for row, texts in zip(before, old, strict=True)]

    wanted = await _aside(target, expected)
    wanted = await _as_stored(connection, shape, wanted)
    return [
        means_the_same(target, row.key, texts, want)
        for row, texts, want in zip(before, now, wanted, strict=True)
    ]


async def _aside(target: Target, work: Callable[[], T]) -> T:
    """Do what takes as long as the target's transform; signs of life go on meanwhile."""
    return await anyio.to_thread.run_sync(work) if target.slow else work()


async def current(
    connection: PoolConnectionProxy[Any], shape: Shape, keys: Sequence[Key]
) -> dict[int, Texts]:
    """The columns' text of the rows of these keys, by position; rows that are gone are left out."""
    rows = await connection.fetch(shape.keys_sql(), *transposed(keys, len(shape.key)))
    width = 1 + len(shape.key)
    return {row["ord"] - 1: row[width:] for row in rows}


def means_the_same(target: Target, key: Key, now: Texts, wanted: Texts | None) -> bool:
    """Whether a row's columns hold what the transform makes of what they held before."""
    return wanted is not None and all(
        target.reveal(key, field.name, now[i]) == target.reveal(key, field.name, wanted[i])
        for i, field in enumerate(target.shape.columns)
    )


def _expected(target: Target, before: Row, old: Texts) -> Texts | None:
    """What the transform makes of a row; None where it changes nothing any more, or raises."""
    try:
        outcome = target.transform(before)
    except Exception:  # noqa: BLE001 - its message may quote the row
        return None
    if not isinstance(outcome, Changes):
        return None
    return tuple(
        to_text(outcome[field.name], field.type) if field.name in outcome else old[i]
        for i, field in enumerate(target.shape.columns)
    )


async def _as_stored(
    connection: PoolConnectionProxy[Any], shape: Shape, wanted: Sequence[Texts | None]
) -> list[Texts | None]:
    """Values as their columns' types spell them: `2.26` is 2.3 in a numeric(6,1)."""
    columns: list[Sequence[str | None]] = []
    for i, field in enumerate(shape.columns):
        texts: Sequence[str | None] = [None if row is None else row[i] for row in wanted]
        if field.type != "text":
            texts = await _cast(connection, texts, f"{field.type}::text")
        columns.append(texts)
    return [None if row is None else tuple(column[n] for column in columns) for n, row in enumerate(wanted)]


async def _cast(connection: PoolConnectionProxy[Any], texts: Sequence[str | None], kind: str) -> list[Any]:
    records = await connection.fetch(
        f"SELECT x::{kind} AS v FROM unnest($1::text[]) WITH ORDINALITY AS s(x, ord) ORDER BY ord", texts
    )
    return [record["v"] for record in records]


async def _rows(
    connection: PoolConnectionProxy[Any], shape: Shape, images: Sequence[tuple[Key, Texts]]
) -> list[Row]:
    """Rows as the transform saw them: images hold text, a transform gets native values."""
    columns: list[Sequence[Any]] = []
    for i, field in enumerate(shape.columns):
        texts: Sequence[Any] = [old[i] for _, old in images]
        if not field.textual:
            texts = await _cast(connection, texts, field.type)
        columns.append(texts)
    names = [field.name for field in shape.columns]
    return [
        Row(key, {name: column[position] for name, column in zip(names, columns, strict=True)})
        for position, (key, _) in enumerate(images)
    ]

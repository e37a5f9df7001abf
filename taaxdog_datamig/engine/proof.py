"""`succeeded` is proven: nothing is pending, and rows read back mean what they meant before (promise P4)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from taaxdog_datamig import failpoints
from taaxdog_datamig.engine.images import Image, context_of, digests
from taaxdog_datamig.errors import ProofFailed
from taaxdog_datamig.migration import Changes, Row
from taaxdog_datamig.pg.rows import Shape, to_text, transposed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.apply import Texts
    from taaxdog_datamig.engine.job import Job
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.migration import Target

#: Chunks looked into, and rows of each.
CHUNKS = 40
ROWS = 50


async def prove(connection: PoolConnectionProxy[Any], job: Job, skipped: int) -> dict[str, Any]:
    """Read a sample back, and compare it with the before-images.

    Args:
        connection: any.
        job: the run, executed.
        skipped: rows the predicate finds and the migration says need nothing.

    Returns:
        What was looked at, for the report.

    Raises:
        ProofFailed: a row does not mean what it meant; names its key.
    """
    failpoints.hit("before-proof")
    sampled = changed_since = 0
    chooser = random.Random(job.run_id.int)  # noqa: S311 - which rows are looked at is no secret
    for record in await job.ledger.work.sample(connection, job.run_id, CHUNKS):
        target = job.targets[record["target"]]
        shape = job.shapes[record["target"]].at(record["relation"])
        image = Image.open(record["image"], job.sealer, context_of(job.run_id, record["target"]))
        positions = sorted(chooser.sample(range(len(image.keys)), min(ROWS, len(image.keys))))
        now = await current(connection, shape, [image.keys[i] for i in positions])
        before = await _rows(connection, shape, [(image.keys[i], image.old[i]) for i in positions])
        for ord_, (position, row) in enumerate(zip(positions, before, strict=True)):
            if ord_ not in now or digests(now[ord_], job.data_key) != image.new[position]:
                changed_since += 1
            elif not means_the_same(target, row, now[ord_], image.old[position]):
                raise ProofFailed(
                    f"{shape.table} row {', '.join(row.key)} does not read back as what it was",
                    "This is a fault in the migration or under it: keep the ledger, and report it",
                )
            else:
                sampled += 1
    failpoints.hit("after-proof")
    return {"pending": 0, "need_nothing": skipped, "read_back": sampled, "changed_since": changed_since}


async def current(
    connection: PoolConnectionProxy[Any], shape: Shape, keys: Sequence[Key]
) -> dict[int, Texts]:
    """The columns' text of the rows of these keys, by position; rows that are gone are left out."""
    rows = await connection.fetch(shape.keys_sql(), *transposed(keys, len(shape.key)))
    width = 1 + len(shape.key)
    return {row["ord"] - 1: row[width:] for row in rows}


def means_the_same(target: Target, before: Row, now: Texts, old: Texts) -> bool:
    """Whether a row's columns hold what the transform makes of what they held before."""
    outcome = target.transform(before)
    if not isinstance(outcome, Changes):
        return False
    fields = target.shape.columns
    expected = [
        to_text(outcome[field.name], field.type) if field.name in outcome else old[i]
        for i, field in enumerate(fields)
    ]
    return all(
        target.reveal(before.key, field.name, now[i]) == target.reveal(before.key, field.name, expected[i])
        for i, field in enumerate(fields)
    )


async def _rows(
    connection: PoolConnectionProxy[Any], shape: Shape, images: Sequence[tuple[Key, Texts]]
) -> list[Row]:
    """Rows as the transform saw them: images hold text, a transform gets native values."""
    columns: list[Sequence[Any]] = []
    for i, field in enumerate(shape.columns):
        texts: Sequence[Any] = [old[i] for _, old in images]
        if not field.textual:
            records = await connection.fetch(
                f"SELECT x::{field.type} AS v FROM unnest($1::text[]) WITH ORDINALITY AS s(x, ord)"
                " ORDER BY ord",
                texts,
            )
            texts = [record["v"] for record in records]
        columns.append(texts)
    names = [field.name for field in shape.columns]
    return [
        Row(key, {name: column[position] for name, column in zip(names, columns, strict=True)})
        for position, (key, _) in enumerate(images)
    ]

"""Takes the effects of a chunk's statements back, row by row, where nobody has changed them since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from taaxdog_datamig.engine.apply import Item, Mode, apply
from taaxdog_datamig.engine.images import Deleted, Updated, digests
from taaxdog_datamig.engine.proof import current
from taaxdog_datamig.pg.keys import keys_of_name, may_set_aside, restore_triggers
from taaxdog_datamig.pg.retry import Fault, classify
from taaxdog_datamig.pg.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.images import Effect
    from taaxdog_datamig.ledger import Key
    from taaxdog_datamig.pg.keys import ForeignKey


async def take_back(
    connection: PoolConnectionProxy[Any],
    effect: Effect,
    data_key: bytes,
    mode: Mode,
    ready: Sequence[Item] | None = None,
    known: dict[str, list[ForeignKey]] | None = None,
) -> list[Key]:
    """Give the rows their old values back, or put them back, inside the caller's transaction.

    A row may break a foreign key that would not let it in again: one that is NOT VALID, or that broken rows
    came under while triggers were off. Where it may, and the role may, rows come back as replicated ones do,
    and the other foreign keys are looked at by us.

    Args:
        connection: where the caller's transaction is open.
        effect: what is taken back.
        data_key: of the run.
        mode: how carefully it is tried.
        ready: what `holding` found, where it was asked already.
        known: foreign keys by relation that need not be looked up again, and where new ones are noted.

    Returns:
        The keys of rows left alone: changed since, gone, there again, or refused by the server.
    """
    known = {} if known is None else known
    if (foreign := known.get(effect.shape.relation)) is None:
        foreign = known[effect.shape.relation] = await keys_of_name(connection, effect.shape.relation)
    broken = [key for key in foreign if not key.valid or key.name in effect.loose]
    aside = bool(broken) and await may_set_aside(connection)
    if isinstance(effect, Updated):
        items = await holding(connection, effect, data_key) if ready is None else ready
        applied = await apply(connection, effect.shape, items, mode)
        back = {items[i].key for i in applied.stored}
        kept = [] if len(back) == effect.rows else [key for key in effect.keys if key not in back]
    else:
        checked = [key for key in foreign if key not in broken] if aside else []
        kept = await put_back(connection, effect, mode, checked)
    if aside:
        await restore_triggers(connection)
    return kept


async def holding(connection: PoolConnectionProxy[Any], effect: Updated, data_key: bytes) -> list[Item]:
    """The rows that still hold what the run wrote, to be given their old values back."""
    now = await current(connection, effect.shape, effect.keys)
    return [
        Item(key, now[i], effect.old[i])
        for i, key in enumerate(effect.keys)
        if i in now and digests(now[i], data_key) == effect.new[i]
    ]


async def put_back(
    connection: PoolConnectionProxy[Any], effect: Deleted, mode: Mode, checked: Sequence[ForeignKey] = ()
) -> list[Key]:
    """Insert deleted rows again; returns the keys of those that cannot be.

    Args:
        connection: where the caller's transaction is open.
        effect: the rows.
        mode: whether to find the rows that the server refuses.
        checked: foreign keys that the server does not look at now: rows without a parent are left out.
    """
    lines = [line.decode() for line in effect.lines.split(b"\n")[:-1]]
    query = effect.shape.insert_sql("".join(f" AND NOT {key.dangling('t')}" for key in checked))
    back: set[Key] = set()
    if mode.bisect:
        await _bisect(connection, query, lines, back)
    else:
        back.update(tuple(row) for row in await connection.fetch(query, lines))
    if len(back) == effect.rows:
        return []
    return [key for key in effect.named() if key not in back]


async def _bisect(
    connection: PoolConnectionProxy[Any], query: str, lines: Sequence[str], back: set[Key]
) -> None:
    """Halve until the rows that the server refuses stand alone."""
    try:
        async with transaction(connection):
            back.update(tuple(row) for row in await connection.fetch(query, lines))
    except asyncpg.PostgresError as error:
        if classify(error) is not Fault.DATA:
            raise
        if len(lines) > 1:
            middle = len(lines) // 2
            await _bisect(connection, query, lines[:middle], back)
            await _bisect(connection, query, lines[middle:], back)

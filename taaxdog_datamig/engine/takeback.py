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


async def take_back(
    connection: PoolConnectionProxy[Any], effect: Effect, data_key: bytes, mode: Mode
) -> list[Key]:
    """Give the rows their old values back, or put them back, inside the caller's transaction.

    Returns:
        The keys of rows left alone: changed since, gone, there again, or refused by the server.
    """
    if isinstance(effect, Updated):
        return await _give_back(connection, effect, data_key, mode)
    return await put_back(connection, effect, mode)


async def _give_back(
    connection: PoolConnectionProxy[Any], effect: Updated, data_key: bytes, mode: Mode
) -> list[Key]:
    now = await current(connection, effect.shape, effect.keys)
    items = [
        Item(key, now[i], effect.old[i])
        for i, key in enumerate(effect.keys)
        if i in now and digests(now[i], data_key) == effect.new[i]
    ]
    applied = await apply(connection, effect.shape, items, mode)
    back = {items[i].key for i in applied.stored}
    return [key for key in effect.keys if key not in back]


async def put_back(connection: PoolConnectionProxy[Any], effect: Deleted, mode: Mode) -> list[Key]:
    """Insert deleted rows again; returns the keys of those that cannot be.

    A foreign key that is NOT VALID lets rows stay that it would not let in: where the table has one, and
    the role may, rows come back as replicated ones do, and the valid foreign keys are looked at by us.
    """
    lines = [line.decode() for line in effect.lines.split(b"\n")[:-1]]
    foreign = await keys_of_name(connection, effect.shape.relation)
    aside = any(not key.valid for key in foreign) and await may_set_aside(connection)
    valid = [key for key in foreign if key.valid] if aside else []
    query = effect.shape.insert_sql("".join(f" AND NOT {key.dangling('t')}" for key in valid))
    back: set[Key] = set()
    if mode.bisect:
        await _bisect(connection, query, lines, back)
    else:
        back.update(tuple(row) for row in await connection.fetch(query, lines))
    if aside:
        await restore_triggers(connection)
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

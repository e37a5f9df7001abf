"""Parts of a backup into tables: read and verified on a thread, while the server takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import attrs
from anyio import to_thread

from taaxdog_datamig.backup.parts import read_part
from taaxdog_datamig.errors import BackupError
from taaxdog_datamig.pg.groups import only_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.backup.manifest import BackedUpTable, Manifest
    from taaxdog_datamig.backup.stores import Store

#: Bytes that the reading thread hands over at a time, and how many such pieces may wait.
_BATCH = 1 << 20
_WAITING = 3


@attrs.frozen(kw_only=True)
class OpenBackup:
    """A backup that can be read."""

    store: Store
    manifest: Manifest
    #: Of its parts; None where they are not sealed.
    key: bytes | None = attrs.field(repr=False)

    def read(self, name: str) -> Iterator[bytes]:
        """The stream of a part, in pieces of about `_BATCH`; see `read_part`. Blocks."""
        held = bytearray()
        for data in read_part(self.store, self.manifest.id, self.manifest.parts[name], key=self.key):
            held += data
            if len(held) >= _BATCH:
                yield bytes(held)
                held.clear()
        if held:
            yield bytes(held)


async def copy_part(
    connection: PoolConnectionProxy[Any],
    backup: OpenBackup,
    table: BackedUpTable,
    part: str,
    into: tuple[str | None, str],
    *,
    freeze: bool = False,
) -> int:
    """Load a part's rows; returns how many. In a transaction of the caller's, which an error must end.

    Args:
        connection: where.
        backup: the backup.
        table: whose rows the part holds.
        part: its name.
        into: schema (None: as the search path has it) and name of the table that takes them.
        freeze: mark the rows as old, so that no vacuum need write them again; see COPY.

    Raises:
        BackupError: the part is missing, damaged, or holds another number of rows.
    """
    send, receive = anyio.create_memory_object_stream[bytes](_WAITING)

    async def read() -> None:
        pieces = backup.read(part)
        async with send:
            while (piece := await to_thread.run_sync(next, pieces, None)) is not None:
                await send.send(piece)

    with only_error():
        async with anyio.create_task_group() as group, receive:
            group.start_soon(read)
            tag = await connection.copy_to_table(
                into[1],
                schema_name=into[0],
                source=receive,
                columns=list(table.columns) or None,
                format="binary" if table.format == "binary" else "text",
                freeze=freeze or None,
            )
    rows = int(tag.rpartition(" ")[2])
    if rows != backup.manifest.parts[part].rows:
        raise BackupError(
            f"part {part} of backup {backup.manifest.id} gave {rows} rows of {table.label}, not"
            f" {backup.manifest.parts[part].rows}",
            "Take it from a copy of the backup, or use another backup",
        )
    return rows

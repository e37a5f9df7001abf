"""Following a run that another process works on: what its ledger tells, as the events that process emits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import attrs
import orjson

from taaxdog_datamig.engine import control
from taaxdog_datamig.engine.summary import wal_position
from taaxdog_datamig.events import ChunkDone, TableStarted, Waiting, WalRead, WorkersSet
from taaxdog_datamig.ledger import UNFINISHED, Ledger

if TYPE_CHECKING:
    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from taaxdog_datamig.engine.reports import RunRecord
    from taaxdog_datamig.events import EventBus
    from taaxdog_datamig.pg.database import Database

#: Seconds between two looks at the ledger.
INTERVAL = 1.0


async def follow(db: Database, ref: str, events: EventBus, interval: float = INTERVAL) -> RunRecord:
    """Emit what a run does until it ends, is paused, or its process is gone; returns how it stands then.

    Args:
        db: where it runs.
        ref: its id, the beginning of it, or a migration's name.
        events: hear of it.
        interval: seconds between two looks.

    Raises:
        UnknownName: there is no such run, or several.
    """
    record = await control.find(db, ref)
    follower = _Follower(record, events)
    while True:
        async with db.acquire() as connection:
            [record] = await Ledger.of().runs.find(connection, run_id=record["id"])
            await follower.look(connection, record)
        if record["status"] not in UNFINISHED or not record["alive"]:
            return control.described(record)
        await anyio.sleep(interval)


@attrs.define
class _Follower:
    """What was seen of a run so far."""

    record: asyncpg.Record
    events: EventBus
    _seen: dict[int, dict[str, int]] = attrs.field(factory=dict)
    _quarantined: int = 0
    _restored: int = 0
    _workers: list[int] | None = None

    def __attrs_post_init__(self) -> None:
        for table, rows in self._expected().items():
            self.events.emit(TableStarted(table=table, rows=rows))

    def _expected(self) -> dict[str, int]:
        """Rows expected by table."""
        if self.record["status"] == "rolling_back":
            return {"rollback": self.record["changed"]}
        rows: dict[str, int] = {}
        for target in self._targets:
            table = target["shape"]["table"]
            rows[table] = rows.get(table, 0) + target.get("pending", 0)
        return rows

    @property
    def _targets(self) -> list[dict[str, Any]]:
        targets: list[dict[str, Any]] = orjson.loads(self.record["targets"])
        return targets

    async def look(self, connection: PoolConnectionProxy[Any], record: asyncpg.Record) -> None:
        """Emit what has changed since the last look."""
        if record["status"] == "rolling_back":
            if more := record["restored"] - self._restored:
                self._restored = record["restored"]
                self._emit("rollback", {"changed": more, "chunks": 1})
        else:
            totals = await Ledger.of().work.totals(connection, record["id"])
            for number, target in enumerate(self._targets):
                total, seen = totals.get(number, {}), self._seen.get(number, {})
                more_of = {name: total.get(name, 0) - seen.get(name, 0) for name in total}
                self._seen[number] = total
                if more_of.get("chunks"):
                    quarantined = record["quarantined"] - self._quarantined
                    self._quarantined = record["quarantined"]
                    self._emit(target["shape"]["table"], {**more_of, "quarantined": quarantined})
        if (workers := record["alive"] and record["workers"]) and workers != self._workers:
            self._workers = workers
            self.events.emit(WorkersSet(working=workers[0], most=workers[1]))
        if record["waiting"]:
            self.events.emit(Waiting(reason=record["waiting"], seconds=0.0))
        if (position := await wal_position(connection)) is not None:
            self.events.emit(WalRead(position=position))

    def _emit(self, table: str, more: dict[str, int]) -> None:
        chunks = max(more["chunks"], 1)
        self.events.emit(
            ChunkDone(
                table=table,
                changed=more["changed"],
                skipped=0,
                quarantined=more.get("quarantined", 0),
                conflicts=more.get("conflicts", 0),
                seconds=0.0,
                next_size=round(more["changed"] / chunks),
                hot=more.get("hot", 0),
            )
        )

"""What maintenance did to tables and indexes, and what is left to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import orjson

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

    from asyncpg.pool import PoolConnectionProxy


@attrs.frozen(kw_only=True)
class TaskEntry:
    """A task as it is recorded."""

    #: Quoted.
    relation: str
    label: str
    action: str
    reason: str
    outcome: str
    note: str = ""
    seconds: float = 0.0
    #: Figures before and after.
    before: Mapping[str, Any]
    after: Mapping[str, Any] | None = None


@attrs.frozen
class Tasks:
    """Table `tasks`."""

    _sql: Mapping[str, str] = attrs.field(repr=False)

    async def put(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID, task: TaskEntry) -> None:
        """Record a task, or what became of it."""
        after = None if task.after is None else orjson.dumps(task.after).decode()
        await connection.execute(
            self._sql["put_task"],
            run_id,
            task.relation,
            task.label,
            task.action,
            task.reason,
            task.outcome,
            task.note,
            task.seconds,
            orjson.dumps(task.before).decode(),
            after,
        )

    async def of(self, connection: PoolConnectionProxy[Any], run_id: uuid.UUID) -> list[TaskEntry]:
        """The tasks of a run, in the order in which they were recorded last."""
        return [
            TaskEntry(
                relation=row["relation"],
                label=row["label"],
                action=row["action"],
                reason=row["reason"],
                outcome=row["outcome"],
                note=row["note"],
                seconds=row["seconds"],
                before=orjson.loads(row["before"]),
                after=None if row["after"] is None else orjson.loads(row["after"]),
            )
            for row in await connection.fetch(self._sql["tasks"], run_id)
        ]

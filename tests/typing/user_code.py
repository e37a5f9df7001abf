"""What a deploy script looks like. Never run: mypy --strict reads it, see test_typing.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

from taaxdog_datamig import (
    Changes,
    ColumnMigration,
    Connection,
    Database,
    DatamigError,
    DeclaredMigration,
    EventBus,
    Migration,
    MigrationState,
    Plan,
    Record,
    Registry,
    Reject,
    RollbackReport,
    Row,
    Runner,
    RunOptions,
    RunReport,
    Settings,
    Skip,
    Target,
    passwords,
)
from taaxdog_datamig.events import ChunkDone, Event


class UppercaseState(ColumnMigration):
    name = "uppercase-state"
    version = "1.0.0"
    description = "Spell states in capitals."
    table = "users"
    columns = ("state",)
    pending = "state <> upper(state)"

    def transform(self, row: Row) -> Changes | Skip | Reject:
        if row["state"] is None:
            return Skip()
        if len(row["state"]) > 3:
            return Reject("too-long", "state is no abbreviation")
        return Changes(state=row["state"].upper())


class Several(DeclaredMigration):
    name = "several"
    version = "1.0.0"
    description = "Works on several tables."
    after = ("uppercase-state",)

    async def targets(self) -> Sequence[Target]:
        assert_type(self.context.dry_run, bool)
        return []


class CountStates(Migration):
    name = "count-states"
    version = "1.0.0"
    description = "Code of its own."
    tables = ("users",)
    sensitive = True

    async def validate(self) -> bool:
        return not self.context.dry_run

    async def estimate_affected_records(self) -> int:
        async with self.context.db.acquire() as connection:
            return int(await connection.fetchval("SELECT count(*) FROM users"))

    async def up(self) -> None:
        self.log("counting")
        changed = await self.process_batch("SELECT id FROM users WHERE n < $1", self.rows, arguments=[1])
        assert_type(changed, int)
        await self.process_batch([1, 2, 3], self.numbers, batch_size=2)
        await self.process_batch([1, 2, 3], self.words)  # type: ignore[arg-type]
        await self.process_batch("SELECT 1", self.numbers)  # type: ignore[arg-type]

    async def rows(self, connection: Connection, batch: list[Record]) -> int:
        await connection.execute("UPDATE users SET n = 1 WHERE id = ANY ($1)", [row["id"] for row in batch])
        self.store_rollback({"ids": [row["id"] for row in batch]})
        return len(batch)

    async def numbers(self, connection: Connection, batch: list[int]) -> None:
        await connection.execute("SELECT $1::int", sum(batch))

    async def words(self, connection: Connection, batch: list[str]) -> None:
        await connection.execute("SELECT $1", ", ".join(batch))

    async def down(self) -> None:
        await self.process_batch(self.rollback_data(), self.back)

    async def back(self, connection: Connection, batch: list[dict[str, Any]]) -> int | None:
        await connection.execute("UPDATE users SET n = 0 WHERE id = ANY ($1)", batch[0]["ids"])
        return None


async def deploy(dsn: str) -> int:
    events = EventBus()

    def show(event: Event) -> None:
        if isinstance(event, ChunkDone):
            assert_type(event.changed, int)

    events.subscribe(show)
    settings = Settings.load(lock_timeout=0.5)
    async with Database.connect(dsn, settings=settings) as db:
        runner = Runner(db, events=events, registry=Registry.load([UppercaseState, Several, CountStates]))
        assert_type(await runner.states(), list[MigrationState])
        plan = await runner.plan("uppercase-state")
        assert_type(plan, Plan)
        assert_type(plan.pending_rows, int)
        try:
            report = await runner.run("uppercase-state", RunOptions(dry_run=True, batch_size=500))
        except DatamigError as error:
            assert_type(error.todo, str)
            raise
        assert_type(report, RunReport)
        assert_type(report.run_id, str | None)
        assert_type(report.tables[0].changed_rows, int)
        assert_type(await runner.rollback("uppercase-state"), RollbackReport)
        return report.changed_rows


async def mistakes(runner: Runner) -> None:
    RunOptions(dry=True)  # type: ignore[call-arg]
    RunOptions(on_failure="shrug")  # type: ignore[arg-type]
    (await runner.plan("x")).pending_rows = 3  # type: ignore[misc]
    await runner.run(3)  # type: ignore[arg-type]
    _: int = await runner.run("x")  # type: ignore[assignment]


def login(stored: str | None, candidate: str) -> str | None:
    """The upgraded hash, where there is one."""
    assert_type(passwords.verify(stored, candidate), bool)
    if not passwords.needs_rehash(stored, to="argon2id"):
        return None
    return assert_type(passwords.hash_password(candidate, to="argon2id"), str)

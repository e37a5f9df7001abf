"""What a deploy script looks like. Never run: mypy --strict reads it, see test_typing.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from taaxdog_datamig import (
    Changes,
    ColumnMigration,
    Database,
    DatamigError,
    DeclaredMigration,
    EventBus,
    MigrationState,
    Plan,
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


async def deploy(dsn: str) -> int:
    events = EventBus()

    def show(event: Event) -> None:
        if isinstance(event, ChunkDone):
            assert_type(event.changed, int)

    events.subscribe(show)
    settings = Settings.load(lock_timeout=0.5)
    async with Database.connect(dsn, settings=settings) as db:
        runner = Runner(db, events=events, registry=Registry.load([UppercaseState, Several]))
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

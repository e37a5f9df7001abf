"""`demo`: the whole story on a throw-away database, one small step after the other."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
from cyclopts import Parameter

from taaxdog_datamig.engine.reports import Plan, RunOptions, RunRecord, RunReport
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig.validation import ValidationReport
from taaxdog_datamig_cli.answers import Cell, Demo
from taaxdog_datamig_cli.commands.keys_generate import write_secret
from taaxdog_datamig_cli.options import AT_LEAST_ONE
from taaxdog_datamig_cli.page import Line
from taaxdog_datamig_cli.session import Session

if TYPE_CHECKING:
    from taaxdog_datamig import Database, Runner
    from taaxdog_datamig_cli.progress import Reporter

MIGRATION = "encrypt-user-data"

#: What is looked at: a label, the first value in the clear, and the same value later.
_LOOK_AT = (
    (
        "users.tfn",
        "SELECT id::text, tfn FROM users WHERE tfn ~ '^[0-9]' ORDER BY id LIMIT 1",
        "SELECT id::text, tfn FROM users WHERE id::text = $1",
    ),
    (
        "bank_accounts.account_number",
        "SELECT id::text, account_number FROM bank_accounts WHERE account_number ~ '^[0-9]' LIMIT 1",
        "SELECT id::text, account_number FROM bank_accounts WHERE id::text = $1",
    ),
    (
        "bank_accounts.bsb",
        "SELECT id::text, bsb FROM bank_accounts WHERE bsb ~ '^[0-9]' ORDER BY id LIMIT 1",
        "SELECT id::text, bsb FROM bank_accounts WHERE id::text = $1",
    ),
)

_KEY_FILE = "field-encryption.key"


@attrs.define(kw_only=True)
class Story:
    """What the steps share."""

    session: Session
    reporter: Reporter
    database: Database
    runner: Runner
    dsn: str
    users: int
    legacy_key: bytes
    #: Label, query, primary key, and a description of the value before.
    row: list[tuple[str, str, str, str]] = attrs.field(factory=list)
    validation: list[ValidationReport] = attrs.field(factory=list)
    plan: Plan | None = None
    dry_run: RunReport | None = None
    run: RunReport | None = None
    cells: list[Cell] = attrs.field(factory=list)
    history: list[RunRecord] = attrs.field(factory=list)


async def demo(
    *,
    users: Annotated[int, AT_LEAST_ONE] = 10_000,
    keep: Path | None = None,
    session: Annotated[Session, Parameter(parse=False)],
) -> Demo:
    """See everything work: sample data, validation, plan, dry run, encryption, proof, history.

    Starts its own PostgreSQL, makes its own key, and leaves nothing behind.

    Args:
        users: How many users the sample database has.
        keep: Keep the database in this new folder, with its key, and say how to reach it.
        session: Given by the command line.
    """
    from taaxdog_datamig import Database, EventBus, Runner
    from taaxdog_datamig.crypto import generate_key
    from taaxdog_datamig.embedded import EmbeddedServer
    from taaxdog_datamig.settings import Settings

    if keep is not None:
        _require_new(keep)
    session.if_interrupted = ("interrupted; the throw-away database is gone", "")
    # Nothing of the caller's environment: the demo is the same everywhere and touches nobody's keys.
    key, legacy_key = generate_key(), os.urandom(32)
    reporter = session.reporter()
    async with _backups(keep) as backups, EmbeddedServer(keep, durable=keep is not None) as server:
        settings = Settings(
            database_url=server.dsn,
            field_encryption_key=key,
            field_encryption_legacy_key=legacy_key.hex(),
            backup_dir=backups,
        )
        bus = EventBus()
        bus.subscribe(reporter)
        async with Database.connect(server.dsn, settings=settings) as database:
            story = Story(
                session=session,
                reporter=reporter,
                database=database,
                runner=Runner(database, settings, events=bus),
                dsn=server.dsn,
                users=users,
                legacy_key=legacy_key,
            )
            for title, step in STEPS:
                session.show_page([Line(""), Line(title, "head")])
                await step(story)
    key_file = None
    if keep is not None:
        key_file = keep / _KEY_FILE
        write_secret(key_file, key)
    assert story.plan is not None
    assert story.dry_run is not None
    assert story.run is not None
    first, last = story.validation
    return Demo(
        users=users,
        validation=(first, last),
        plan=story.plan,
        dry_run=story.dry_run,
        run=story.run,
        row=story.cells,
        history=story.history,
        database=None if keep is None else f"embedded:{keep}",
        key_file=None if key_file is None else str(key_file),
    )


@contextlib.asynccontextmanager
async def _backups(keep: Path | None) -> AsyncIterator[Path]:
    """The folder for the run's backup."""
    if keep is not None:
        yield keep / "backups"
        return
    with tempfile.TemporaryDirectory(prefix="datamig-demo-") as folder:
        yield Path(folder)


def _require_new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder", "Name a new one")


async def _load(story: Story) -> None:
    story.session.tell(
        await story.session.load_sample(
            story.dsn, users=story.users, faults=True, seed=1, legacy_key=story.legacy_key
        )
    )
    for label, first, again in _LOOK_AT:
        story.row += [(label, again, key, describe(value)) for key, value in await _fetch(story.dsn, first)]


async def _validate(story: Story) -> None:
    from taaxdog_datamig import Validator
    from taaxdog_datamig_cli.validationpages import in_short

    report = await Validator(story.database, story.runner.settings).validate()
    story.validation.append(report)
    story.session.show_page(in_short(report, fixed_by=MIGRATION))


async def _plan(story: Story) -> None:
    story.plan = await story.runner.plan(MIGRATION)
    story.session.tell(story.plan)


async def _dry_run(story: Story) -> None:
    with story.session.working_on("dry run", story.reporter):
        story.dry_run = await story.runner.run(MIGRATION, RunOptions(dry_run=True))
    story.session.tell(attrs.evolve(story.dry_run, warnings=()))


async def _run(story: Story) -> None:
    with story.session.working_on(MIGRATION, story.reporter):
        story.run = await story.runner.run(MIGRATION, RunOptions())
    story.session.tell(attrs.evolve(story.run, warnings=()))  # the plan said them


async def _compare(story: Story) -> None:
    from taaxdog_datamig_cli.render import cells

    for label, again, key, before in story.row:
        [(_, value)] = await _fetch(story.dsn, again, key)
        story.cells.append(Cell(label, before, describe(value)))
    story.session.show_page(cells(story.cells))


async def _history(story: Story) -> None:
    from taaxdog_datamig_cli.answers import History

    story.history = await story.runner.history()
    story.session.tell(History(story.history))


async def _fetch(dsn: str, query: str, *arguments: str) -> list[tuple[str, str]]:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    try:
        return [(row[0], row[1]) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()


def describe(value: str) -> str:
    """A sensitive value's shape: dots and length, or a token's head. Never the value."""
    from taaxdog_datamig.engine.preview import dots, token_head

    return token_head(value) or f"{dots(value[:12])} ({len(value)} characters)"


Step = Callable[[Story], Awaitable[None]]

STEPS: tuple[tuple[str, Step], ...] = (
    ("Load a sample database", _load),
    ("Validate: what is wrong", _validate),
    ("Plan: what would change", _plan),
    ("Dry run: the real code, rolled back", _dry_run),
    ("Run: back up, encrypt, and prove it", _run),
    ("The same row before and after", _compare),
    ("Validate again", _validate),
    ("History", _history),
)

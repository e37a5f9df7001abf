"""What the menu's entries do: ask for what a command takes, and call it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from taaxdog_datamig.engine.reports import MigrationState, RunRecord
from taaxdog_datamig.validation import CATEGORIES
from taaxdog_datamig_cli.answers import History, Migrations
from taaxdog_datamig_cli.commands import (
    backup_create,
    backup_list,
    backup_verify,
    demo,
    doctor,
    pause,
    quarantine_list,
    resume,
    rollback,
    status,
    validate,
)
from taaxdog_datamig_cli.commands import history as history_command
from taaxdog_datamig_cli.commands import list as list_command
from taaxdog_datamig_cli.menu import Menu
from taaxdog_datamig_cli.menurun import ask_and_run
from taaxdog_datamig_cli.overviewpages import cut
from taaxdog_datamig_cli.prompts import Back, Choice
from taaxdog_datamig_cli.render import pending
from taaxdog_datamig_cli.runpages import ending
from taaxdog_datamig_cli.units import count, moment

#: Characters of a choice, beside its pointer and mark.
_ROOM = 74
#: Of a sentence on it.
_ABOUT = 61
_ID_SHOWN = 8
_BACK = Choice(title="Back", value=None)


def migrations(menu: Menu) -> None:
    """Pick migrations, say how, and run them."""
    menu.say("Counting the rows that wait ...")
    answer = menu.perform(list_command.list, show=False)
    if not isinstance(answer, Migrations):
        menu.prompts.rest()
        return
    choices = [
        _migration(state, max(len(one.name) for one in answer.migrations)) for state in answer.migrations
    ]
    if all(choice.not_because for choice in choices):
        menu.perform(list_command.list)
        menu.prompts.rest()
        return
    ask_and_run(menu, menu.prompts.pick("Which migrations?", choices))


def _migration(state: MigrationState, width: int) -> Choice:
    name = f"{state.name:<{width}}"
    if not state.applicable:
        why = cut(f"not here: {state.reason}", _ROOM - width - len(" ()"))
        return Choice(title=name, value=state.name, not_because=why)
    if not (waits := pending(state)):  # the run will say the same, whole, and what to do
        return Choice(title=f"{name}  cannot be counted", value=state.name, about=cut(state.reason, _ABOUT))
    number, _, unit = waits.partition(" ")
    about = cut(state.description, _ABOUT)
    return Choice(title=f"{name}  {number:>9} {unit or 'rows wait'}", value=state.name, about=about)


def history(menu: Menu) -> None:
    """Show the runs; look at one of them, and steer it."""
    failed = False
    while True:
        menu.prompts.turn()
        answer = menu.perform(history_command.history, failed=failed)
        if not isinstance(answer, History) or not answer.runs:
            menu.prompts.rest()
            return
        chosen = menu.prompts.choose(
            "History",
            [
                Choice(title="Look at one of these runs", value="look"),
                Choice(title="All runs" if failed else "Only runs that failed", value="other"),
                _BACK,
            ],
        )
        match chosen:
            case "look":
                _look_at(menu, answer.runs)
            case "other":
                failed = not failed
            case _:
                return


def _look_at(menu: Menu, runs: Sequence[RunRecord]) -> None:
    try:
        run = menu.prompts.choose("Which run?", [*map(_run, runs), _BACK])
    except Back:
        return
    if run is None:
        return
    menu.perform(status.status, run.run_id)
    choices: list[Choice] = []
    if run.status in {"running", "paused"}:
        choices = [
            Choice(title="Pause it", value=partial(pause.pause, run.run_id))
            if run.alive
            else Choice(title="Go on with it", value=partial(resume.resume, run.run_id))
        ]
    if run.quarantined_rows:
        choices.append(
            Choice(
                title="Show the rows that it refused",
                value=partial(quarantine_list.list, run.run_id),
            )
        )
    if run.status != "rolled_back" and not run.alive:
        choices.append(Choice(title="Roll it back", value=partial(rollback.rollback, run.run_id)))
    work = menu.prompts.choose("This run", [*choices, _BACK])
    if work is not None:
        menu.perform(work)
        menu.prompts.rest()


def _run(run: RunRecord) -> Choice:
    title = f"{run.run_id[:_ID_SHOWN]}  {moment(run.started_at)}  {run.migration}: {ending(run.status)}"
    return Choice(title=cut(f"{title}, {count(run.affected_rows)} rows", _ROOM), value=run)


def validation(menu: Menu) -> None:
    """Validate everything, one category, or one user's rows."""
    chosen = menu.prompts.choose(
        "Validate what?",
        [
            Choice(title="Everything", value="everything"),
            *(Choice(title=f"Only {name.replace('-', ' ')}", value=name) for name in CATEGORIES),
            Choice(title="Only the rows of one user", value="user"),
            _BACK,
        ],
    )
    match chosen:
        case None:
            return
        case "everything":
            menu.perform(validate.validate)
        case "user":
            user = menu.prompts.text(
                "The user's id", lambda line: "" if line else "The key of the users' table"
            )
            menu.perform(validate.validate, user_id=user)
        case _:
            menu.perform(validate.validate, category=(chosen,))
    menu.prompts.rest()


def backups(menu: Menu) -> None:
    """Make a backup, list the backups, or read the latest again."""
    chosen = menu.prompts.choose(
        "Back up what?",
        [
            Choice(title="Everything", value="everything"),
            Choice(title="Some tables", value="some"),
            Choice(title="Nothing: list the backups", value="list"),
            Choice(title="Nothing: read the latest backup again and compare", value="verify"),
            _BACK,
        ],
    )
    match chosen:
        case None:
            return
        case "everything":
            menu.say("Backing up ...")
            menu.perform(backup_create.create)
        case "some":
            assert menu.overview is not None
            tables = menu.prompts.pick(
                "Which tables?",
                [
                    Choice(title=f"{name}  (about {count(rows)} rows)", value=name)
                    for name, rows in menu.overview.rows.items()
                ],
            )
            menu.say("Backing up ...")
            menu.perform(backup_create.create, tables=",".join(tables))
        case "list":
            menu.perform(backup_list.list)
        case "verify":
            menu.say("Reading ...")
            menu.perform(backup_verify.verify, "latest")
    menu.prompts.rest()


def listing(menu: Menu) -> None:
    """The migrations and what waits for each."""
    menu.say("Counting the rows that wait ...")
    menu.perform(list_command.list)
    menu.prompts.rest()


def examination(menu: Menu) -> None:
    """What `doctor` says."""
    menu.perform(doctor.doctor)
    menu.prompts.rest()


def demonstration(menu: Menu) -> None:
    """What `demo` shows, on a small database."""
    menu.perform(demo.demo, users=1_000)
    menu.prompts.rest()

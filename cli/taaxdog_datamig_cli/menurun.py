"""The menu's form for a run: what is fixed, what can be switched, and the start."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from taaxdog_datamig_cli.commands import run
from taaxdog_datamig_cli.exits import Declined
from taaxdog_datamig_cli.menu import Menu
from taaxdog_datamig_cli.prompts import Choice
from taaxdog_datamig_cli.session import Session
from taaxdog_datamig_cli.units import count


@attrs.frozen(kw_only=True)
class Wishes:
    """How a run shall be made. It is dry until somebody says otherwise."""

    dry_run: bool = True
    backup: bool = True
    validation: bool = True
    again: bool = False
    #: Rows a transaction; None: as measured.
    batch_size: int | None = None


def ask_and_run(menu: Menu, names: Sequence[str]) -> None:
    """Show the form until a live run was made or the person goes back.

    Raises:
        Back: they do.
    """
    # Only to say what the command will do.
    backs_up = Session(common=menu.common).settings().backup_before_run
    wishes, at = Wishes(), "start"
    title = names[0] if len(names) == 1 else f"{len(names)} migrations"
    while at != "back":
        at = menu.prompts.choose(f"Run {title}", _form(wishes, backs_up=backs_up), at=at)
        match at:
            case "start":
                outcome = menu.perform(
                    run.run,
                    *names,
                    dry_run=wishes.dry_run,
                    skip_backup=not wishes.backup,
                    skip_validation=not wishes.validation,
                    force=wishes.again,
                    batch_size=wishes.batch_size,
                )
                menu.prompts.rest()
                if not (wishes.dry_run or isinstance(outcome, Declined)):
                    return
            case "batch_size":
                line = menu.prompts.text("Rows a transaction (empty: as measured)", _not_a_size)
                wishes = attrs.evolve(wishes, batch_size=int(line) if line else None)
            case "back":
                return
            case switch:
                wishes = attrs.evolve(wishes, **{switch: not getattr(wishes, switch)})


def _form(wishes: Wishes, *, backs_up: bool) -> list[Choice]:
    size = "as measured" if wishes.batch_size is None else f"{count(wishes.batch_size)} rows a transaction"
    return [
        Choice(
            title="Start the dry run" if wishes.dry_run else "Show the plan, ask, and run it", value="start"
        ),
        Choice(
            title=f"Mode           {'dry: the real code, rolled back' if wishes.dry_run else 'LIVE'}",
            value="dry_run",
        ),
        Choice(
            title=f"Backup first   {_yes(wishes.backup and backs_up)}",
            value="backup",
            not_because="" if backs_up else "the settings say so: backup_before_run",
        ),
        Choice(title=f"Validation     {_yes(wishes.validation)}", value="validation"),
        Choice(title=f"Run again      {_yes(wishes.again)}", value="again"),
        Choice(title=f"Batch size     {size}", value="batch_size"),
        Choice(title="Back", value="back"),
    ]


def _yes(value: bool) -> str:  # noqa: FBT001  a word for it
    return "yes" if value else "no"


def _not_a_size(line: str) -> str:
    return "" if not line or (line.isascii() and line.isdigit() and int(line) > 0) else "A number, at least 1"

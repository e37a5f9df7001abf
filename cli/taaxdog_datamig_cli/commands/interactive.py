"""`interactive`: the menu."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.session import Session


def interactive(*, session: Annotated[Session, Parameter(parse=False)]) -> None:
    """The menu: run migrations, history, validation, backups. It runs the commands of the same names.

    Args:
        session: Given by the command line.
    """
    if not session.asks:
        raise UsageError(
            "the menu needs a person at a terminal (no pipe, no CI, no --json)",
            "`datamig --help` lists the commands for scripts",
        )
    from taaxdog_datamig_cli.menu import open_menu
    from taaxdog_datamig_cli.prompts import prompts_here

    open_menu(session, prompts_here())

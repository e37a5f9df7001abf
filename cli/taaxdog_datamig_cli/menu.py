"""The menu: shows how the database stands, asks what to do, and calls the command that does it.

Every piece of work is one call of a command's function in a session of its own, with its own connections,
signals and errors, as if it had been typed. Nothing is kept between two of them but what was chosen.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import Any

import attrs

from taaxdog_datamig.engine.overview import Overview, overview
from taaxdog_datamig_cli import exits
from taaxdog_datamig_cli.complaints import complain
from taaxdog_datamig_cli.exits import Declined, Interrupted
from taaxdog_datamig_cli.interrupts import drive
from taaxdog_datamig_cli.options import Common
from taaxdog_datamig_cli.overviewpages import overview_page
from taaxdog_datamig_cli.page import Line
from taaxdog_datamig_cli.prompts import Back, Choice, Prompts
from taaxdog_datamig_cli.session import Session, embedded_server

#: A command's function; it takes a `session`, too.
Command = Callable[..., Coroutine[Any, Any, Any]]


@attrs.define
class Menu:
    """What its parts share."""

    common: Common
    prompts: Prompts
    #: What the head says now; None when the database cannot be reached.
    overview: Overview | None = None

    def perform(self, command: Command, /, *words: Any, show: bool = True, **options: Any) -> Any:
        """Call a command, and show its answer or its error.

        Args:
            command: what to call.
            words: its arguments.
            show: whether to show its answer.
            options: its options.

        Returns:
            The answer, or the error: the menu goes on.
        """
        session = Session(common=self.common)
        try:
            answer = drive(command(*words, **options, session=session), session)
            if show:
                session.show(answer)
        except BrokenPipeError:
            raise
        except Declined as no:
            session.show_page([Line(f"{no.what}.", "warn")])
            return no
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  told, and the menu goes on
            complain(error, session)
            if session.signal == signal.SIGTERM:
                raise SystemExit(exits.INTERRUPTED) from None
            return error
        return answer

    def say(self, text: str) -> None:
        """A line on the way."""
        Session(common=self.common).show_page([Line(text, "dim")])

    def look(self) -> None:
        """Show the head."""

        async def head(*, session: Session) -> Overview:
            async with session.database() as (database, _):
                found = await overview(database)
                session.show_page(overview_page(database, found))
                return found

        found = self.perform(head, show=False)
        self.overview = found if isinstance(found, Overview) else None


def open_menu(session: Session, prompts: Prompts) -> None:
    """Show the menu until the person leaves it.

    Raises:
        SettingsError: the settings do not hold together.
        EmbeddedError: the server that was asked for does not start.
        Interrupted: Ctrl-C while it starts.
    """
    with _leaving_on_sigterm(), contextlib.ExitStack() as opened:
        common = session.common
        # One server for all the work, not one for each.
        if server := embedded_server(session.settings().database_url):
            try:
                opened.enter_context(server)
            except KeyboardInterrupt:
                raise Interrupted(*session.if_interrupted) from None
            common = attrs.evolve(common, database=server.dsn)
        menu = Menu(common, prompts)
        with contextlib.suppress(Back):
            while True:
                prompts.turn()
                menu.look()
                _act(menu)


def _act(menu: Menu) -> None:
    """Ask once, and do it.

    Raises:
        Back: the person leaves the menu.
    """
    from taaxdog_datamig_cli import menuactions as actions

    choices = [
        Choice(title="Run migrations", value=actions.migrations),
        Choice(title="History of runs", value=actions.history),
        Choice(title="Validate the database", value=actions.validation),
        Choice(title="Back up", value=actions.backups),
        Choice(title="List the migrations", value=actions.listing),
        Choice(title="Examine environment, server, keys and schema", value=actions.examination),
    ]
    if menu.overview is None:
        choices = [
            Choice(title="Look for the database again", value=lambda _: None),
            choices[-1],
            Choice(title="See everything on a throw-away database", value=actions.demonstration),
        ]
    action = menu.prompts.choose("What to do?", [*choices, Choice(title="Exit", value=None)])
    if action is None:
        raise Back
    with contextlib.suppress(Back):
        action(menu)


@contextlib.contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """SIGTERM leaves the menu; the terminal is put in order on the way. A run is paused first (`drive`)."""

    def leave(_number: int, _frame: FrameType | None) -> None:
        sys.exit(exits.INTERRUPTED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

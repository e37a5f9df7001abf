"""Prompts with moving keys, by questionary: docs/explanation/decisions/0009-menu-library.md."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import Any

import questionary
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent, merge_key_bindings
from prompt_toolkit.keys import Keys
from questionary import Question, Style

from taaxdog_datamig_cli.prompts import Back, Choice

#: Colours of the terminal's own; NO_COLOR leaves the marks, which say the same.
_STYLE = Style(
    [
        ("qmark", "ansicyan"),
        ("pointer", "ansicyan bold"),
        ("highlighted", "bold"),
        ("selected", "noreverse ansigreen"),
        ("disabled", "ansibrightblack"),
        ("instruction", "ansibrightblack"),
        ("answer", ""),
    ]
)
_ONE = "(arrows, Enter; Ctrl-C goes back)"
_READ = "Any key: go on (scroll up for what is above)"
_SEVERAL = "(Space marks, A all, Enter goes on, Ctrl-C back)"

_leaving = KeyBindings()


@_leaving.add(Keys.ControlD, eager=True)
@_leaving.add(Keys.Escape, eager=True)
def _(event: KeyPressEvent) -> None:
    event.app.exit(exception=EOFError)


class KeyPrompts:
    """Lists with a pointer, answered with arrows, Space and Enter. They vanish when they are answered."""

    def turn(self) -> None:
        """See `Prompts`."""
        # Not cleared: a terminal may forget what it clears, and there may be a run's report.
        sys.stdout.write("\n" * (shutil.get_terminal_size().lines - 1) + "\x1b[H\x1b[J")
        sys.stdout.flush()

    def choose(self, question: str, choices: Sequence[Choice], *, at: Any = None) -> Any:
        """See `Prompts`."""
        place = (
            next((str(place) for place, choice in enumerate(choices) if choice.value == at), None)
            if at
            else None
        )
        asked = questionary.select(
            question, _offered(choices), place, qmark="?", instruction=_ONE, style=_STYLE
        )
        return choices[int(_answer(asked))].value

    def pick(self, question: str, choices: Sequence[Choice]) -> list[Any]:
        """See `Prompts`."""
        asked = questionary.checkbox(
            question,
            _offered(choices),
            qmark="?",
            instruction=_SEVERAL,
            style=_STYLE,
            validate=lambda picked: bool(picked) or "Space marks at least one; Ctrl-C goes back",
        )
        return [choices[int(place)].value for place in _answer(asked)]

    def text(self, question: str, wrong: Callable[[str], str]) -> str:
        """See `Prompts`."""
        asked = questionary.text(
            f"{question}:", qmark="?", style=_STYLE, validate=lambda line: wrong(line.strip()) or True
        )
        return str(_answer(asked)).strip()

    def rest(self) -> None:
        """See `Prompts`."""
        try:
            _answer(
                questionary.press_any_key_to_continue(
                    "Any key: go on (scroll up for what is above)", style=_STYLE
                )
            )
        except Back:
            return


def _offered(choices: Sequence[Choice]) -> list[questionary.Choice]:
    """Each with its place as its value, which is never None: that would mean something else."""
    return [
        questionary.Choice(
            choice.title, str(place), disabled=choice.not_because or None, description=choice.about or None
        )
        for place, choice in enumerate(choices)
    ]


def _answer(question: Question) -> Any:
    application = question.application
    application.erase_when_done = True
    application.key_bindings = merge_key_bindings(
        [bindings for bindings in (application.key_bindings, _leaving) if bindings is not None]
    )
    try:
        return question.unsafe_ask()
    except (KeyboardInterrupt, EOFError):
        raise Back from None

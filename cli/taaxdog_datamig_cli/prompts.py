"""How the menu asks a person: with moving keys where the terminal can, with numbers where it cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs


class Back(Exception):
    """The person goes back to where they came from."""


@attrs.frozen(kw_only=True)
class Choice:
    """One of the things that a person may choose."""

    title: str
    value: Any
    #: Why it cannot be chosen; empty when it can.
    not_because: str = ""
    #: A sentence on it, shown where there is room.
    about: str = ""


class Prompts(Protocol):
    """Questions to a person. Each raises `Back` when they press Ctrl-C or Ctrl-D instead of answering."""

    def turn(self) -> None:
        """Begin a page at the top of the screen. What was there can be scrolled back to."""

    def choose(self, question: str, choices: Sequence[Choice], *, at: Any = None) -> Any:
        """The value of the one that is chosen. `at`: the value to point at first; the first by default."""

    def pick(self, question: str, choices: Sequence[Choice]) -> list[Any]:
        """The values of those that are picked, one at least."""

    def text(self, question: str, wrong: Callable[[str], str]) -> str:
        """A line of text, of which `wrong` says what is wrong with it: nothing."""

    def rest(self) -> None:
        """Wait until what is on the screen has been read. Never raises `Back`."""


def prompts_here() -> Prompts:
    """The prompts that fit this terminal."""
    if os.environ.get("TERM", "dumb").lower() in {"dumb", "unknown"} or not _draws():
        from taaxdog_datamig_cli.numberprompts import NumberPrompts

        return NumberPrompts()
    from taaxdog_datamig_cli.keyprompts import KeyPrompts

    return KeyPrompts()


def _draws() -> bool:
    """Whether the terminal is told in an encoding that has the signs for what is marked."""
    try:
        "»●○".encode(sys.stdout.encoding or "ascii")
    except UnicodeError:
        return False
    return True

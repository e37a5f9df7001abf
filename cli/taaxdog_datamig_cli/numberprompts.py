"""Prompts for terminals that only write lines one after the other: choices have numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from taaxdog_datamig_cli.prompts import Back, Choice


class NumberPrompts:
    """Lists with numbers, answered by typing them."""

    def turn(self) -> None:
        """A line between: nothing can be moved here."""
        sys.stdout.write("\n")

    def choose(self, question: str, choices: Sequence[Choice], *, at: Any = None) -> Any:  # noqa: ARG002  nothing points here
        """See `Prompts`."""
        numbered = _listed(question, choices)
        while True:
            found = _numbers(_line("Number: "), numbered)
            if found is not None and len(found) == 1:
                return found[0]
            sys.stdout.write(f"One number from 1 to {len(numbered)}; Ctrl-D goes back.\n")

    def pick(self, question: str, choices: Sequence[Choice]) -> list[Any]:
        """See `Prompts`."""
        numbered = _listed(question, choices)
        while True:
            found = _numbers(_line("Numbers, with spaces between: "), numbered)
            if found:
                return found
            sys.stdout.write(f"Numbers from 1 to {len(numbered)}; Ctrl-D goes back.\n")

    def text(self, question: str, wrong: Callable[[str], str]) -> str:
        """See `Prompts`."""
        while True:
            line = _line(f"{question}: ")
            if not (complaint := wrong(line)):
                return line
            sys.stdout.write(f"{complaint}\n")

    def rest(self) -> None:
        """Nothing: what is above stays there."""


def _listed(question: str, choices: Sequence[Choice]) -> list[Any]:
    """Write the list; the values in the order of their numbers. What cannot be chosen has none."""
    sys.stdout.write(f"\n{question}\n")
    numbered: list[Any] = []
    for choice in choices:
        if choice.not_because:
            sys.stdout.write(f"   -  {choice.title.rstrip()} ({choice.not_because})\n")
            continue
        numbered.append(choice.value)
        sys.stdout.write(f"  {len(numbered):2}  {choice.title.rstrip()}\n")
    return numbered


def _numbers(line: str, numbered: Sequence[Any]) -> list[Any] | None:
    """The values behind the numbers, each once; None when something is no number of the list."""
    words = line.replace(",", " ").split()
    if not all(word.isascii() and word.isdigit() and 1 <= int(word) <= len(numbered) for word in words):
        return None
    return [numbered[number - 1] for number in dict.fromkeys(map(int, words))]


def _line(prompt: str) -> str:
    sys.stdout.write(prompt)
    sys.stdout.flush()
    try:
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        line = ""
    if not line:  # the end of input
        sys.stdout.write("\n")
        raise Back
    return line.strip()

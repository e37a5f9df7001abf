"""Arguments that are more than one word: `--set NAME=VALUE` of migrations, lists of names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    from taaxdog_datamig import Registry

#: How commands declare it.
Given: TypeAlias = Annotated[tuple[str, ...], Parameter(name="--set", negative="", show_default=False)]
#: Limits of pressure signals.
Limits: TypeAlias = Annotated[tuple[str, ...], Parameter(name="--limit", negative="", show_default=False)]


def parsed(words: Iterable[str], option: str = "--set") -> dict[str, str]:
    """Name to value.

    Raises:
        UsageError: a word is not NAME=VALUE, or a name is given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise UsageError(f"{option} {word}: it must be NAME=VALUE")
        if name in found:
            raise UsageError(f"{option} {name} is given twice")
        found[name] = value
    return found


def names(joined: str) -> list[str]:
    """The names in `a, b,c`."""
    return [name.strip() for name in joined.split(",") if name.strip()]


def by_migration(registry: Registry, names: Iterable[str], words: Iterable[str]) -> dict[str, dict[str, str]]:
    """What each migration is given: the arguments it knows.

    Raises:
        UnknownName: there is no such migration.
        UsageError: none of the migrations knows an argument, or one does not take its value.
    """
    from taaxdog_datamig.migration import arguments_of

    given = parsed(words)
    kinds = [registry.get(name) for name in names]
    for argument in given:
        if not any(argument in kind.arguments for kind in kinds):
            known = sorted({name for kind in kinds for name in kind.arguments})
            raise UsageError(
                f"--set {argument}: {' and '.join(kind.name for kind in kinds)} "
                f"{'takes' if len(kinds) == 1 else 'take'} no such argument",
                f"There is {', '.join(known)}" if known else "There is none to set",
            )
    chosen = {
        kind.name: {name: value for name, value in given.items() if name in kind.arguments} for kind in kinds
    }
    for kind in kinds:  # before the first of them begins
        arguments_of(kind, chosen[kind.name])
    return chosen

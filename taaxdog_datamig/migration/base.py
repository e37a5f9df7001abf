"""What all migrations have in common, and what declared ones have."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

import attrs

from taaxdog_datamig.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.migration.target import Target
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.profile import FittedProfile
    from taaxdog_datamig.settings import Settings


class NotApplicable(Exception):
    """This installation has nothing the migration could work on; the message says why."""


@attrs.frozen(kw_only=True)
class Argument:
    """What a migration can be told when it is run."""

    #: What it is for, in one sentence.
    help: str
    #: The value when none is given.
    default: str
    #: The values there are; empty for any.
    choices: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class MigrationContext:
    """What a migration may know of where it runs."""

    db: Database
    settings: Settings
    profile: FittedProfile
    keyring: Keyring | None
    dry_run: bool
    #: The migration's arguments, given or by default.
    arguments: Mapping[str, str] = attrs.field(factory=dict)


@attrs.define
class BaseMigration(abc.ABC):
    """What every migration declares."""

    name: ClassVar[str]
    version: ClassVar[str]
    description: ClassVar[str]
    category: ClassVar[str] = "custom"
    #: Whether `list` shows it.
    listed: ClassVar[bool] = True
    #: Migrations that go first when several are run together.
    after: ClassVar[tuple[str, ...]] = ()
    #: What `--set NAME=VALUE` may give, by name.
    arguments: ClassVar[Mapping[str, Argument]] = {}

    context: MigrationContext


def arguments_of(migration: type[BaseMigration], given: Mapping[str, str] | None) -> dict[str, str]:
    """All arguments of a migration, those that were not given by default.

    Raises:
        UsageError: there is no such argument or choice.
    """
    given = given or {}
    known = migration.arguments
    for name, value in given.items():
        if name not in known:
            raise UsageError(
                f"{migration.name} takes no argument {name!r}",
                f"It takes {', '.join(known)}" if known else "It takes none",
            )
        if known[name].choices and value not in known[name].choices:
            choices = ", ".join(known[name].choices)
            raise UsageError(f"{name}={value}: {migration.name} takes {choices}")
    return {name: given.get(name, argument.default) for name, argument in known.items()}


class DeclaredMigration(BaseMigration):
    """A migration that says which rows are to be changed, and leaves the changing to the engine."""

    @abc.abstractmethod
    async def targets(self) -> Sequence[Target]:
        """The tables to work on, here.

        Raises:
            NotApplicable: this installation has none.
            PreflightFailed: it has one that cannot be worked on.
        """

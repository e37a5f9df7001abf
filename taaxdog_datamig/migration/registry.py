"""The migrations there are: built in, installed, and named in datamig.toml."""

from __future__ import annotations

import importlib
import inspect
import traceback
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.errors import SettingsError, UnknownName
from taaxdog_datamig.migration.base import BaseMigration
from taaxdog_datamig.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ENTRY_POINTS = "taaxdog_datamig.migrations"


@attrs.frozen
class Registry:
    """The migrations there are, by name."""

    migrations: Mapping[str, type[BaseMigration]]

    @classmethod
    def load(cls, builtin: Iterable[type[BaseMigration]], modules: Iterable[str] = ()) -> Registry:
        """Built-in migrations, those of installed packages (entry points) and those of `modules`.

        Raises:
            SettingsError: something does not import or is no migration, one has no name, or two have the
                same.
        """
        found: dict[str, type[BaseMigration]] = {}
        classes: list[type[BaseMigration]] = [*builtin]
        for point in entry_points(group=ENTRY_POINTS):
            classes += _classes(load_source("migrations", point.value, point.load), point.value)
        for module in modules:
            classes += _classes(
                load_source("migrations", module, partial(importlib.import_module, module)), module
            )
        for migration in classes:
            if not isinstance(getattr(migration, "name", None), str):
                raise SettingsError(
                    f"migration {migration.__module__}.{migration.__qualname__} has no name",
                    'Give the class a line such as name = "uppercase-state"',
                )
            if found.setdefault(migration.name, migration) is not migration:
                raise SettingsError(f"two migrations are called {migration.name}", "Rename one of them")
        return cls(found)

    def get(self, name: str) -> type[BaseMigration]:
        """The migration of that name.

        Raises:
            UnknownName: there is none; near names are suggested.
        """
        if name in self.migrations:
            return self.migrations[name]
        raise UnknownName(
            f"there is no migration {name!r}",
            did_you_mean(name, self.migrations) or f"There are: {', '.join(self.migrations)}",
        )

    def order(self, names: Iterable[str]) -> list[str]:
        """Each of `names` once, after those of the others that it must follow.

        Also where the way from one to the other leads over migrations that are not among them.

        Raises:
            UnknownName: there is no such migration.
            SettingsError: migrations must follow each other in a circle.
        """
        wanted = list(dict.fromkeys(names))
        placed: list[str] = []

        def place(name: str, path: tuple[str, ...]) -> None:
            if name in path:
                circle = " after ".join((*path[path.index(name) :], name))
                raise SettingsError(f"no order of migrations is possible: {circle}", "Correct their `after`")
            if name not in placed:
                for other in self.get(name).after:
                    if other in self.migrations:
                        place(other, (*path, name))
                placed.append(name)

        for name in wanted:
            place(name, ())
        return [name for name in placed if name in wanted]


def load_source(what: str, source: str, load: Callable[[], Any]) -> Any:
    """What somebody else's code gives.

    Raises:
        SettingsError: it does not import, or raises. Tells its words only where it is an import that fails.
    """
    try:
        return load()
    except Exception as error:  # whatever a module of somebody else's does when it is imported
        if isinstance(error, ImportError | AttributeError):
            why = str(error)
        elif isinstance(error, SyntaxError):
            why = f"SyntaxError at {Path(error.filename or '').name}:{error.lineno}"
        else:  # its words may be anything
            last = traceback.extract_tb(error.__traceback__)[-1]
            why = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        missing = isinstance(error, ModuleNotFoundError) and error.name == source.partition(":")[0]
        raise SettingsError(
            f"cannot import {what} from {source}: {why}",
            "It must be installed, or stand beside the settings file" if missing else "",
        ) from error


def _classes(loaded: Any, source: str) -> list[type[BaseMigration]]:
    """The migrations of a module or package, or the one class that an entry point names."""
    if not inspect.ismodule(loaded):
        if inspect.isclass(loaded) and issubclass(loaded, BaseMigration) and not inspect.isabstract(loaded):
            return [loaded]
        raise SettingsError(f"{source} is no migration", "Name a concrete subclass of Migration, or a module")
    own = [
        value
        for value in vars(loaded).values()
        if inspect.isclass(value)
        and issubclass(value, BaseMigration)
        # Not what the module has only imported from elsewhere; a package may gather its modules' classes.
        and f"{value.__module__}.".startswith(f"{loaded.__name__}.")
    ]
    for value in own:  # one that others build on has no name
        if inspect.isabstract(value) and isinstance(vars(value).get("name"), str):
            lacking = ", ".join(f"{name}()" for name in sorted(value.__abstractmethods__))
            raise SettingsError(
                f"migration {value.__module__}.{value.__qualname__} lacks {lacking}",
                "`datamig new-migration` writes one to begin with",
            )
    if not (found := [value for value in own if not inspect.isabstract(value)]):
        raise SettingsError(
            f"there is no migration in {source}",
            "Write a subclass of ColumnMigration or Migration in it; `datamig new-migration` begins one",
        )
    return found

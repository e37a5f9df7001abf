"""What a migration is: a declaration of which rows to change and how. The engine does the rest.

    class UppercaseState(ColumnMigration):
        name = "uppercase-state"
        version = "1.0.0"
        description = "Spell states in capitals."
        table = "users"
        columns = ("state",)
        pending = "state <> upper(state)"

        def transform(self, row: Row) -> Outcome:
            return Changes(state=row["state"].upper())

Put the class in a module that `migrations = [...]` in datamig.toml names, or behind an entry point.
"""

from __future__ import annotations

import abc
import difflib
import importlib
import inspect
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import attrs

from taaxdog_datamig.errors import PreflightFailed, SettingsError, UnknownName
from taaxdog_datamig.pg.rows import Field, Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from taaxdog_datamig.crypto import Keyring
    from taaxdog_datamig.pg.catalog import Column
    from taaxdog_datamig.pg.database import Database
    from taaxdog_datamig.profile import FittedProfile, FittedTable
    from taaxdog_datamig.settings import Settings

ENTRY_POINTS = "taaxdog_datamig.migrations"


@attrs.frozen
class Row:
    """A row as a transform sees it: `row["tfn"]` by logical column name, NULL as None."""

    #: The key's columns as text.
    key: tuple[str, ...]
    #: Native values as asyncpg gives them. Never shown: any may be sensitive.
    values: Mapping[str, Any] = attrs.field(repr=False)

    def __getitem__(self, column: str) -> Any:
        return self.values[column]


class Changes(dict[str, Any]):
    """The row gets these values: logical column name to native value or text form."""

    def __repr__(self) -> str:
        return f"Changes({', '.join(self)})"


@attrs.frozen
class Skip:
    """The row needs nothing, although the pending predicate found it."""


@attrs.frozen
class Reject:
    """The row is put in quarantine."""

    #: A short word for lists and counts, such as `malformed-token`.
    code: str
    #: What is wrong, naming the column, never quoting the value.
    reason: str


Outcome: TypeAlias = Changes | Skip | Reject


class NotApplicable(Exception):
    """This installation has nothing the migration could work on; the message says why."""


@attrs.frozen(kw_only=True)
class Ddl:
    """A change of a table's definition, and the way back."""

    do: str
    undo: str


@attrs.frozen(kw_only=True)
class Target:
    """The part of one table that a migration changes."""

    table: FittedTable
    shape: Shape
    #: SQL over the table's physical columns; true while the row needs the migration.
    pending: str
    transform: Callable[[Row], Outcome]
    #: SQL; rows to be looked at once although they are not pending.
    inspect: str | None = None
    #: What a stored value means: (key, logical column, text) to something that compares equal whenever
    #: the values mean the same. Seals differ at each writing; what they hold does not.
    reveal: Callable[[tuple[str, ...], str, str | None], object] = lambda _key, _column, text: text
    #: Whether a column holds sensitive values, so that before-images need a key.
    sensitive: bool = False
    ddl: tuple[Ddl, ...] = ()
    #: Whether a unique index on a column would lose its meaning.
    breaks_unique: bool = False
    warnings: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class MigrationContext:
    """What a migration may know of where it runs."""

    db: Database
    settings: Settings
    profile: FittedProfile
    keyring: Keyring | None
    dry_run: bool


@attrs.define
class Migration(abc.ABC):
    """Base of all migrations."""

    name: ClassVar[str]
    version: ClassVar[str]
    description: ClassVar[str]
    category: ClassVar[str] = "custom"
    #: Migrations that go first when several are run together.
    after: ClassVar[tuple[str, ...]] = ()

    context: MigrationContext

    @abc.abstractmethod
    async def targets(self) -> Sequence[Target]:
        """The tables to work on, here.

        Raises:
            NotApplicable: this installation has none.
            PreflightFailed: it has one that cannot be worked on.
        """


#: What a declaration looks like.
_DECLARED = {
    "table": 'table = "users"',
    "columns": 'columns = ("state",)',
    "pending": 'pending = "state <> upper(state)"',
}


class ColumnMigration(Migration):
    """Changes columns of a table's rows, one row at a time."""

    #: Logical (or physical) name of the table.
    table: ClassVar[str]
    #: Logical (or physical) names of the columns that are read and may be changed.
    columns: ClassVar[tuple[str, ...]]
    #: SQL over physical columns; becomes false once a row is migrated.
    pending: ClassVar[str]

    @abc.abstractmethod
    def transform(self, row: Row) -> Outcome:
        """Say what becomes of a row. Called again for the same row after a crash or a conflict."""

    async def targets(self) -> Sequence[Target]:
        """One target from the class's declarations.

        Raises:
            SettingsError: the class does not declare its table, columns or pending predicate.
        """
        for declaration in ("table", "columns", "pending"):
            if not getattr(self, declaration, None):
                raise SettingsError(
                    f"migration {self.name} declares no {declaration}",
                    f"Give the class a line such as {_DECLARED[declaration]}",
                )
        async with self.context.db.acquire() as connection:
            table = await self.context.profile.table(connection, self.table)
        if table is None:
            raise NotApplicable(f"there is no table {self.table}")
        columns = {name: existing(table, name) for name in self.columns}
        sensitive = {column.name for column in table.sensitive.values()}
        return [
            Target(
                table=table,
                shape=shape_of(table, columns),
                pending=self.pending,
                transform=self.transform,
                # By physical names: a column is as sensitive under that as under its logical one.
                sensitive=any(column.name in sensitive for column in columns.values()),
            )
        ]


def existing(table: FittedTable, name: str) -> Column:
    """The column of that name.

    Raises:
        PreflightFailed: there is none; near names are suggested.
    """
    if (column := table.column(name)) is not None:
        return column
    near = difflib.get_close_matches(name, table.relation.columns, 3)
    raise PreflightFailed(
        f"table {table.relation.label} has no column {name!r}",
        f"Did you mean {', '.join(near)}? A name of your own goes in [profile] of datamig.toml"
        if near
        else f"Name it in datamig.toml: [profile.tables.{table.spec.name}.columns.{name}] names = [...]",
    )


def shape_of(
    table: FittedTable, columns: Mapping[str, Column], types: Mapping[str, str] | None = None
) -> Shape:
    """The shape of a target: logical name to column, with the types columns are widened to first."""
    types = types or {}
    return Shape(
        table=table.spec.name,
        relation=table.relation.quoted,
        key=tuple(
            Field(name=column.name, column=column.name, type=column.type, textual=column.textual)
            for column in table.relation.key_columns
        ),
        columns=tuple(
            Field(
                name=name,
                column=column.name,
                type=types.get(name, column.type),
                textual=column.textual,
            )
            for name, column in columns.items()
        ),
    )


@attrs.frozen
class Registry:
    """The migrations there are, by name."""

    migrations: Mapping[str, type[Migration]]

    @classmethod
    def load(cls, builtin: Iterable[type[Migration]], modules: Iterable[str] = ()) -> Registry:
        """Built-in migrations, those of installed packages (entry points) and those of `modules`.

        Raises:
            SettingsError: something does not import or is no migration, one has no name, or two have the
                same.
        """
        found: dict[str, type[Migration]] = {}
        classes: list[type[Migration]] = [*builtin]
        for point in entry_points(group=ENTRY_POINTS):
            classes += _classes(_loaded(point.value, point.load), point.value)
        for module in modules:
            classes += _classes(_loaded(module, partial(importlib.import_module, module)), module)
        for migration in classes:
            if not isinstance(getattr(migration, "name", None), str):
                raise SettingsError(
                    f"migration {migration.__module__}.{migration.__qualname__} has no name",
                    'Give the class a line such as name = "uppercase-state"',
                )
            if found.setdefault(migration.name, migration) is not migration:
                raise SettingsError(f"two migrations are called {migration.name}", "Rename one of them")
        return cls(found)

    def get(self, name: str) -> type[Migration]:
        """The migration of that name.

        Raises:
            UnknownName: there is none; near names are suggested.
        """
        if name in self.migrations:
            return self.migrations[name]
        near = difflib.get_close_matches(name, self.migrations, 3, 0.4)
        raise UnknownName(
            f"there is no migration {name!r}",
            f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(self.migrations)}",
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


def _loaded(source: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # whatever a module of somebody else's does when it is imported
        raise SettingsError(
            f"cannot import migrations from {source}: "
            + (str(error) if isinstance(error, ImportError | AttributeError) else type(error).__name__)
        ) from error


def _classes(loaded: Any, source: str) -> list[type[Migration]]:
    """The migrations of a module or package, or the one class that an entry point names."""
    if not inspect.ismodule(loaded):
        if inspect.isclass(loaded) and issubclass(loaded, Migration) and not inspect.isabstract(loaded):
            return [loaded]
        raise SettingsError(f"{source} is no migration", "Name a concrete subclass of Migration, or a module")
    return [
        value
        for value in vars(loaded).values()
        if inspect.isclass(value)
        and issubclass(value, Migration)
        # Not what the module has only imported from elsewhere; a package may gather its modules' classes.
        and f"{value.__module__}.".startswith(f"{loaded.__name__}.")
        and not inspect.isabstract(value)
    ]

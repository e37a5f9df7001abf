"""The logical schema: which names stand for which tables and columns of an installation."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import TYPE_CHECKING, Any

import attrs

from taaxdog_datamig.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen(kw_only=True)
class ColumnSpec:
    """A logical column."""

    name: str
    #: Physical names; the first that exists is taken.
    names: tuple[str, ...]
    sensitive: bool = False
    #: Whether its absence is normal.
    optional: bool = False
    #: Whether its values tell nothing about a person, such as a code, so that a dry run shows them.
    public: bool = False
    #: What populate-metadata fills it with where it is NULL, as text; None: nothing.
    default: str | None = None
    #: Whether people may write anything into it; None: as its type and name say.
    free_text: bool | None = None


@attrs.frozen(kw_only=True)
class TableSpec:
    """A logical table."""

    name: str
    names: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    optional: bool = False
    columns: Mapping[str, ColumnSpec] = attrs.field(factory=dict)

    @property
    def sensitive(self) -> tuple[ColumnSpec, ...]:
        """The columns that hold sensitive values."""
        return tuple(column for column in self.columns.values() if column.sensitive)


@attrs.frozen(kw_only=True)
class ReferenceSpec:
    """A column that names a row of another table, whether or not the database has a foreign key for it."""

    #: Logical names.
    table: str
    column: str
    to: str
    #: The column of `to` it holds; None for its key.
    to_column: str | None = None
    #: What becomes of the row when the other one is deleted or does not exist: "cascade" deletes it,
    #: "null" takes the reference away, "restrict" is deleted on purpose only, "keep" leaves it alone.
    on_delete: str = "cascade"


@attrs.frozen(kw_only=True)
class Profile:
    """All logical tables of an application."""

    #: Schema of the tables; None takes the connection's search path.
    schema: str | None = None
    tables: Mapping[str, TableSpec]
    references: tuple[ReferenceSpec, ...] = ()

    @classmethod
    def load(cls, overrides: Mapping[str, Any] | None = None) -> Profile:
        """The built-in TAAXDOG profile with an installation's overrides merged over it.

        Args:
            overrides: the `[profile]` table of datamig.toml: `schema`, and `tables` in the form of
                `profile/taaxdog.toml`. A table or column that is not built in is added.

        Raises:
            SettingsError: an unknown key, a value of the wrong type, or one name for two tables.
        """
        text = (resources.files(__package__) / "taaxdog.toml").read_text("utf-8")
        merged = _merge(tomllib.loads(text), overrides or {})
        if unknown := merged.keys() - {"schema", "tables", "references"}:
            raise SettingsError(
                f"profile: unknown key {min(unknown)!r}", "Known are: schema, tables, references"
            )
        schema, specs = merged.get("schema"), merged["tables"]
        if schema is not None and not (isinstance(schema, str) and schema):
            raise SettingsError("profile: schema must be a name")
        if not isinstance(specs, dict):
            raise SettingsError("profile: tables must be a table of tables")
        tables = {name: _table(name, spec) for name, spec in specs.items()}
        seen = {name: name for name in tables}
        for table in tables.values():
            for alias in table.aliases:
                if (other := seen.setdefault(alias, table.name)) != table.name:
                    raise SettingsError(f"profile: {alias!r} stands for both {other} and {table.name}")
        references = merged.get("references", {})
        if not isinstance(references, dict):
            raise SettingsError("profile: references must be a table")
        return cls(
            schema=schema,
            tables=tables,
            references=tuple(_reference(name, spec) for name, spec in references.items() if spec),
        )

    def resolve(self, name: str) -> TableSpec:
        """The table of that logical name or alias; a name that is not listed stands for itself."""
        for table in self.tables.values():
            if name in table.aliases:
                return table
        return self.tables.get(name) or TableSpec(name=name, names=(name,))


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        merged[name] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _table(name: str, spec: Any) -> TableSpec:
    values = _checked(
        f"tables.{name}", spec, {"names": list, "aliases": list, "optional": bool, "columns": dict}
    )
    columns = {
        column: _column(f"tables.{name}.columns.{column}", column, over)
        for column, over in values.pop("columns", {}).items()
    }
    return TableSpec(name=name, columns=columns, **_names(name, values))


def _column(where: str, name: str, spec: Any) -> ColumnSpec:
    known = {
        "names": list,
        "sensitive": bool,
        "optional": bool,
        "public": bool,
        "default": str,
        "free_text": bool,
    }
    values = _checked(where, spec, known)
    if values.get("sensitive") and "default" in values:
        raise SettingsError(
            f"profile: {where} is sensitive and has a default", "What all rows get is no secret: leave it out"
        )
    if values.get("sensitive") and values.get("public"):
        raise SettingsError(f"profile: {where} is sensitive and public", "It can be one of them only")
    return ColumnSpec(name=name, **_names(name, values))


_ON_DELETE = ("cascade", "null", "restrict", "keep")


def _reference(name: str, spec: Any) -> ReferenceSpec:
    values = _checked(f"references.{name}", spec, {"to": str, "on_delete": str})
    table, _, column = name.partition(".")
    to, _, to_column = values.get("to", "").partition(".")
    if not (table and column and to):
        raise SettingsError(
            f"profile: references.{name} does not say what refers to what",
            'Write "receipts.userId" = { to = "users", on_delete = "cascade" }',
        )
    on_delete = values.get("on_delete", "cascade")
    if on_delete not in _ON_DELETE:
        raise SettingsError(
            f"profile: references.{name}.on_delete is {on_delete!r}", f"It is one of {', '.join(_ON_DELETE)}"
        )
    return ReferenceSpec(table=table, column=column, to=to, to_column=to_column or None, on_delete=on_delete)


def _names(name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {"names": (name,)} | {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def _checked(where: str, spec: Any, known: Mapping[str, type]) -> dict[str, Any]:
    if not isinstance(spec, dict):
        raise SettingsError(f"profile: {where} must be a table")
    for key, value in spec.items():
        if key not in known:
            raise SettingsError(f"profile: unknown key {where}.{key}", f"Known are: {', '.join(known)}")
        if not isinstance(value, known[key]) or (
            isinstance(value, list) and not all(isinstance(item, str) and item for item in value)
        ):
            raise SettingsError(f"profile: {where}.{key} must be a {known[key].__name__} (of names)")
    return dict(spec)

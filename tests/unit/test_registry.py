from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest

from taaxdog_datamig.errors import SettingsError, UnknownName
from taaxdog_datamig.migration import ColumnMigration, DeclaredMigration, Registry
from taaxdog_datamig.migration import registry as home
from taaxdog_datamig.migrations import BUILTIN


def made(name: str, *after: str, module: str = __name__) -> type[DeclaredMigration]:
    async def targets(self):
        return []

    body = {"targets": targets, "name": name, "version": "1", "description": "", "after": after}
    return type(name.title().replace("-", ""), (DeclaredMigration,), body | {"__module__": module})


def registry(*migrations: type[DeclaredMigration]) -> Registry:
    return Registry({migration.name: migration for migration in migrations})


@pytest.fixture(autouse=True)
def points(monkeypatch):
    """The entry points that installed packages have."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(home, "entry_points", lambda group: [p for p in found if p.group == group])
    return found


@pytest.fixture
def module(monkeypatch):
    def make(name, **contents):
        loaded = ModuleType(name)
        vars(loaded).update(contents)
        monkeypatch.setitem(sys.modules, name, loaded)
        return loaded

    return make


def test_migrations_come_from_here_from_entry_points_and_from_modules(points, module):
    module("ours", One=made("one", module="ours"))
    module("theirs", Two=made("two", module="theirs"), Three=made("three", module="theirs"))
    points.append(EntryPoint("any", "theirs:Two", home.ENTRY_POINTS))
    points.append(EntryPoint("other", "theirs:Three", "another.group"))
    found = Registry.load(BUILTIN, ["ours"]).migrations
    assert set(found) == {*(known.name for known in BUILTIN), "one", "two"}


def test_an_entry_point_may_name_a_module(points, module):
    module("theirs", Two=made("two", module="theirs"))
    points.append(EntryPoint("any", "theirs", home.ENTRY_POINTS))
    assert set(Registry.load((), ()).migrations) == {"two"}


def test_a_package_may_gather_its_modules_and_what_else_it_imports_does_not_count(module):
    module(
        "app",
        One=made("one", module="app.one"),
        Foreign=made("foreign", module="apple"),
        DeclaredMigration=DeclaredMigration,
        ColumnMigration=ColumnMigration,
        EncryptUserData=BUILTIN[0],
        number=3,
    )
    assert set(Registry.load((), ["app"]).migrations) == {"one"}


def test_the_same_class_twice_is_one_migration(points, module):
    module("ours", One=made("one", module="ours"))
    points.append(EntryPoint("any", "ours:One", home.ENTRY_POINTS))
    assert set(Registry.load((), ["ours", "ours"]).migrations) == {"one"}


def test_two_migrations_of_one_name_are_refused():
    with pytest.raises(SettingsError, match="two migrations are called one"):
        Registry.load([made("one"), made("one")])


def test_a_migration_without_a_name_is_refused(module):
    nameless = made("one", module="ours")
    del nameless.name
    module("ours", One=nameless)
    with pytest.raises(SettingsError, match=r"ours\.One has no name"):
        Registry.load((), ["ours"])


@pytest.mark.parametrize("name", ["no.such.module", "", ".relative"])
def test_a_module_that_is_not_there_is_refused_and_named(name):
    with pytest.raises(SettingsError, match=f"cannot import migrations from {name}"):
        Registry.load((), [name])


@pytest.mark.parametrize("line", ["1 / 0", "from os import nothing_like_it", "(", "raise SystemError"])
def test_a_module_that_breaks_when_imported_is_refused_and_named(line, tmp_path, monkeypatch):
    (tmp_path / "breaks.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match="cannot import migrations from breaks") as caught:
        Registry.load((), ["breaks"])
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("gone:One", "cannot import migrations from gone"),
        ("ours:Gone", "cannot import migrations from ours:Gone"),
        ("ours:number", "is no migration"),
        ("ours:ColumnMigration", "is no migration"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_refused_and_named(points, module, value, words):
    module("ours", number=3, ColumnMigration=ColumnMigration)
    points.append(EntryPoint("any", value, home.ENTRY_POINTS))
    with pytest.raises(SettingsError, match=words):
        Registry.load((), ())


def test_an_unknown_name_gets_the_nearest_ones_or_all():
    found = registry(made("encrypt-user-data"), made("normalize-phones"))
    with pytest.raises(UnknownName, match="Did you mean encrypt-user-data"):
        found.get("encrypt-users")
    with pytest.raises(UnknownName, match="There are: encrypt-user-data, normalize-phones"):
        found.get("xyz")


def test_each_migration_is_ordered_once_behind_those_it_must_follow():
    found = registry(made("a", "b", "elsewhere"), made("b", "c"), made("c"), made("d"))
    assert found.order(["a", "d", "b", "c", "a"]) == ["c", "b", "a", "d"]
    assert found.order(["d", "a"]) == ["d", "a"]
    assert found.order(["a", "c"]) == ["c", "a"]
    with pytest.raises(UnknownName, match="elsewhere"):
        found.order(["elsewhere"])


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["d"]])
def test_a_circle_is_refused_and_drawn(names):
    found = registry(made("a", "b"), made("b", "c"), made("c", "a"), made("d", "b"))
    with pytest.raises(SettingsError, match=r"(\w) after \w after \w after \1"):
        found.order(names)


def test_a_migration_that_follows_itself_is_a_circle():
    with pytest.raises(SettingsError, match="a after a"):
        registry(made("a", "a")).order(["a"])

"""Checks of the user's own: found where they are named, refused where wrong, never in others' way."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType

import pytest
from planting import result, validated

from taaxdog_datamig.errors import SettingsError, UnknownName
from taaxdog_datamig.settings import Settings
from taaxdog_datamig.validation import (
    Findings,
    FunctionCheck,
    RowCheck,
    Rule,
    custom,
)
from tests.sample import rows, script

GIVEN = {
    "id": "any-goal",
    "title": "A goal",
    "category": "data-consistency",
    "severity": "low",
    "table": "goals",
    "violation": "{id} IS NOT NULL",
}


def declared(**over):
    return {"checks": (GIVEN | over,)}


def row_check(name: str, **over):
    rule = Rule(id=name, title=name, category="business-rules", severity="low", meaning="", remedy="")
    return RowCheck(**{"rule": rule, "table": "goals", "violation": "true"} | over)


async def find_two(connection, scene):
    """Two of everything.

    Whatever it is.
    """
    return Findings(violations=2, sample_keys=("a", "b"))


@pytest.fixture
def module(monkeypatch):
    def make(name, **contents):
        loaded = ModuleType(name)
        vars(loaded).update(contents)
        monkeypatch.setitem(sys.modules, name, loaded)

    return make


@pytest.fixture(autouse=True)
def points(monkeypatch):
    """The entry points that installed packages have."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(custom, "entry_points", lambda group: [p for p in found if p.group == group])
    return found


async def test_a_declared_check_is_made_with_all_it_says(pristine):
    settings = declared(severity="critical", meaning="So", remedy="Thus", fix="merge-duplicates")
    found = result(await validated(pristine, settings=settings), "any-goal")
    ((goals,),) = await rows(pristine, "SELECT count(*) FROM goals")
    assert (found.violations, found.severity, found.fix) == (goals, "critical", "merge-duplicates")
    assert (found.table, found.category) == ("public.goals", "data-consistency")


async def test_a_table_that_the_profile_does_not_list_may_be_checked(database):
    await script(database, 'CREATE TABLE "Cards" (id int PRIMARY KEY); INSERT INTO "Cards" VALUES (4), (5)')
    settings = declared(table="Cards", violation="{id} > 4")
    found = result(await validated(database, settings=settings), "any-goal")
    assert (found.violations, found.sample_keys) == (1, ("5",))


async def test_checks_come_from_modules_and_from_entry_points(pristine, module, points):
    module("ours", ONE=row_check("one"), checks=lambda scene: [row_check(scene.table("goals").spec.name)])
    module("theirs", two=[row_check("two")], three=row_check("three"), find_two=find_two)
    points += [
        EntryPoint(name, f"theirs:{name}", custom.ENTRY_POINTS) for name in ("two", "three", "find_two")
    ]
    points += [EntryPoint("other", "theirs:absent", "another.group")]
    report = await validated(pristine, settings={"checks": ("ours", GIVEN)})
    made = {check.id for check in report.checks}
    assert made >= {"one", "goals", "two", "three", "find-two", "any-goal"}
    found = result(report, "find-two")
    assert (found.title, found.violations, found.sample_keys) == ("Two of everything", 2, ("a", "b"))


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"sql": "true"}, "check any-goal: unknown key 'sql'"),
        ({"severity": "dire"}, "severity is 'dire'. It is one of critical, high"),
        ({"category": "other"}, "category is 'other'"),
        ({"violation": ""}, "violation is not a text"),
        ({"violation": 3}, "violation is not a text"),
        ({"columns": "id"}, "columns is not a list of names"),
        ({"columns": [1]}, "columns is not a list of names"),
        ({"id": "Any Goal"}, "an id is words of small letters"),
        ({"violation": "{id} = '{'"}, "check any-goal: what stands in braces"),
        ({"violation": "{} = 1"}, "check any-goal: what stands in braces"),
        ({"id": "goal-over-target"}, "two checks are called goal-over-target"),
    ],
)
async def test_a_declaration_that_is_wrong_is_refused(pristine, over, words):
    with pytest.raises(SettingsError, match=words):
        await validated(pristine, settings=declared(**over))


async def test_a_declaration_without_what_it_needs_is_refused(pristine):
    with pytest.raises(SettingsError, match="check a has no title, category, severity, table, violation"):
        await validated(pristine, settings={"checks": ({"id": "a"},)})


async def test_two_of_a_name_are_refused(pristine):
    with pytest.raises(SettingsError, match="two checks are called any-goal"):
        await validated(pristine, settings={"checks": (GIVEN, GIVEN)})


@pytest.mark.parametrize("checks", ["goals", [1], [""], ["a", None]])
def test_checks_are_tables_or_names(checks):
    with pytest.raises(SettingsError, match="checks is no list of checks"):
        Settings.load(environ={}, checks=checks)


async def test_code_that_cannot_be_had_is_refused_without_its_words(pristine, module, points):
    def raising(scene):
        raise ValueError("tfn 123456782")

    module("raising", checks=raising)
    module("wrong", checks=lambda _: [3])
    for name, words in (
        ("nowhere_at_all", "cannot import checks from nowhere_at_all: No module"),
        ("raising", r"cannot import checks from raising: ValueError at test_custom_checks\.py:\d+$"),
        ("wrong", "wrong is no check"),
    ):
        with pytest.raises(SettingsError, match=words):
            await validated(pristine, settings={"checks": (name,)})


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"table": "goalz"}, "no table 'goalz', neither here nor in the profile: did you mean goals?"),
        ({"violation": "{titel} = ''"}, "public.goals has no column 'titel'"),
        ({"violation": "{title} ~ "}, "the server refused its SQL, PostgresSyntax"),
        ({"violation": "nothing_such({title})"}, "nothing_such(character varying) does not exist"),
        ({"violation": "count(*) > 1"}, "the server refused its SQL, Grouping"),
        ({"violation": "{title}::int > 1"}, "the server refused its SQL, InvalidTextRepresentation"),
        ({"violation": "1 / 0 = 1"}, "the server refused its SQL, DivisionByZero"),
    ],
)
async def test_what_cannot_be_made_is_reported_and_the_others_are_made(pristine, over, words):
    settings = {"checks": (GIVEN | over, GIVEN | {"id": "another"})}
    report = await validated(pristine, settings=settings)
    bad = result(report, "any-goal")
    assert words in (bad.error or "")
    assert bad.violations == 0
    assert result(report, "another").violations > 0
    assert [check.id for check in report.errors] == ["any-goal"]
    assert not report.valid


async def test_an_error_never_quotes_a_row(sample):
    await script(sample, "UPDATE goals SET title = 'Zanzibar' WHERE id IN (SELECT id FROM goals)")
    report = await validated(sample, settings=declared(violation="{title}::int > 1"))
    assert "InvalidTextRepresentation" in result(report, "any-goal").error
    assert "Zanzibar" not in repr(report)


async def test_a_column_of_the_profile_that_is_not_here_only_skips_its_check(pristine):
    report = await validated(pristine, settings=declared(violation="{deletedAt} IS NOT NULL"))
    assert result(report, "any-goal").skipped == "goals has no column deletedAt here"
    assert not report.errors


async def test_code_that_raises_is_reported_and_the_others_are_made(pristine, module):
    async def fails(connection, scene):
        await connection.execute("SELECT 1/0")

    async def writes(connection, scene):
        await connection.execute("DELETE FROM goals")

    rules = {name: row_check(name).rule for name in ("fails", "writes")}
    module(
        "mixed",
        a=FunctionCheck(rule=rules["fails"], table="", find=fails),
        b=FunctionCheck(rule=rules["writes"], table="", find=writes),
        e=row_check("plain"),
    )
    report = await validated(pristine, settings={"checks": ("mixed",)})
    errors = {check.id: check.error for check in report.errors}
    assert set(errors) == {"fails", "writes"}
    assert "DivisionByZero" in errors["fails"]
    assert "can only read" in errors["writes"]
    assert result(report, "plain").violations > 0


async def test_a_name_that_is_no_check_is_told_with_near_ones(pristine):
    with pytest.raises(UnknownName, match="Did you mean any-goal"):
        await validated(pristine, settings=declared(), checks=["any-gaol"])

"""Checks of the user's own: `[[checks]]` of datamig.toml, modules named there, and installed packages."""

from __future__ import annotations

import importlib
import inspect
import re
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from taaxdog_datamig.errors import SettingsError
from taaxdog_datamig.migration.registry import load_source
from taaxdog_datamig.profile import placeholders
from taaxdog_datamig.suggestions import did_you_mean
from taaxdog_datamig.validation.model import (
    CATEGORIES,
    SEVERITIES,
    Check,
    ExaminedCheck,
    FunctionCheck,
    RowCheck,
    Rule,
    UniqueCheck,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from taaxdog_datamig.validation.scene import Scene

ENTRY_POINTS = "taaxdog_datamig.checks"

_REQUIRED = ("id", "title", "category", "severity", "table", "violation")
_KNOWN = (*_REQUIRED, "columns", "meaning", "remedy", "fix")
_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def custom_checks(scene: Scene, builtin: Iterable[Check]) -> list[Check]:
    """The checks of the user's own.

    Args:
        scene: where; functions that make checks are given it.
        builtin: the checks that are there already.

    Raises:
        SettingsError: a declaration does not parse, code does not import or raises, or two have one id.
    """
    found: list[Check] = []
    for point in entry_points(group=ENTRY_POINTS):
        found += _made(load_source("checks", point.value, point.load), point.value, scene)
    for source in scene.settings.checks:
        if isinstance(source, str):
            module = load_source("checks", source, partial(importlib.import_module, source))
            found += _made(module, source, scene)
        else:
            found.append(_declared(source))
    _refuse_twins(found, builtin)
    for check in found:
        _refuse_unreadable(check)
    return found


def misnamed(scene: Scene, check: Check, columns: Iterable[str]) -> str | None:
    """What a check names that is neither here nor in the profile, as older installations' columns are.

    Args:
        scene: where.
        check: one of the user's own.
        columns: logical names that it needs.
    """
    if not check.table:
        return None
    table, spec = scene.table(check.table), scene.profile.profile.resolve(check.table)
    if table is None:
        listed = scene.profile.profile.tables
        return None if spec.name in listed else _nowhere(f"no table {check.table!r}", check.table, listed)
    here = table.relation.columns
    for name in columns:
        if name not in spec.columns and not scene.has(check.table, name):
            return _nowhere(f"{table.relation.label} has no column {name!r}", name, here)
    return None


def _nowhere(what: str, name: str, names: Iterable[str]) -> str:
    asked = did_you_mean(name, names)
    hint = f": {asked[:1].lower()}{asked[1:]}" if asked else ""
    return f"{what}, neither here nor in the profile{hint}"


def _refuse_twins(found: Iterable[Check], builtin: Iterable[Check]) -> None:
    rules = {check.rule.id: check.rule for check in builtin}
    taken: set[str] = set()
    for check in found:
        if rules.setdefault(check.rule.id, check.rule) is not check.rule or check.id in taken:
            raise SettingsError(f"two checks are called {check.id}", "Rename one of them")
        taken.add(check.id)


def _refuse_unreadable(check: Check) -> None:
    """Each template must name columns in its braces, and nothing else."""
    templates: tuple[str, ...] = ()
    match check:
        case RowCheck(violation=violation):
            templates = (violation,)
        case ExaminedCheck(suspect=suspect):
            templates = (suspect,)
        case UniqueCheck(terms=terms, where=where):
            templates = (*terms, where)
    for template in templates:
        try:
            template.format_map(dict.fromkeys(placeholders(template), ""))
        except (ValueError, KeyError, IndexError, AttributeError):
            raise SettingsError(
                f"check {check.id}: what stands in braces in its SQL is not the name of a column",
                "Write {column}, and double braces that are meant as such",
            ) from None


def _declared(values: Mapping[str, Any]) -> RowCheck:
    """The check of a table `[[checks]]`."""
    name = values.get("id")
    where = f"check {name}" if isinstance(name, str) else "a check"
    for key, value in values.items():
        if key not in _KNOWN:
            raise SettingsError(f"{where}: unknown key {key!r}", f"Known are: {', '.join(_KNOWN)}")
        kind, words = (list, "list of names") if key == "columns" else (str, "text")
        if not (isinstance(value, kind) and value and all(isinstance(part, str) and part for part in value)):
            raise SettingsError(f"{where}: {key} is not a {words}")
    if missing := [key for key in _REQUIRED if key not in values]:
        raise SettingsError(f"{where} has no {', '.join(missing)}", "Write it under [[checks]]")
    if not _ID.fullmatch(values["id"]):
        raise SettingsError(f"{where}: an id is words of small letters joined by hyphens")
    known: dict[str, tuple[str, ...]] = {"category": CATEGORIES, "severity": SEVERITIES}
    for key, choices in known.items():
        if values[key] not in choices:
            raise SettingsError(f"{where}: {key} is {values[key]!r}", f"It is one of {', '.join(choices)}")
    return RowCheck(
        rule=Rule(
            id=values["id"],
            title=values["title"],
            category=values["category"],
            severity=values["severity"],
            meaning=values.get("meaning", ""),
            remedy=values.get("remedy", ""),
            fix=values.get("fix"),
        ),
        table=values["table"],
        columns=tuple(values.get("columns", ())),
        violation=values["violation"],
    )


def _made(loaded: Any, source: str, scene: Scene) -> list[Check]:
    """The checks that a module or an object of one stands for."""
    if inspect.ismodule(loaded):
        own = [value for value in vars(loaded).values() if isinstance(value, Check)]
        return own + (_made(loaded.checks, source, scene) if hasattr(loaded, "checks") else [])
    if isinstance(loaded, Check):
        return [loaded]
    if inspect.iscoroutinefunction(loaded):
        return [_of_function(loaded)]
    if callable(loaded):
        loaded = load_source("checks", source, partial(loaded, scene))
    if isinstance(loaded, list | tuple) and all(isinstance(check, Check) for check in loaded):
        return list(loaded)
    raise SettingsError(
        f"{source} is no check",
        "Name a Check, a list of them, a function(scene) that returns one, or a module with these",
    )


def _of_function(find: Any) -> FunctionCheck:
    """A coroutine function as a check: its name and docstring say what it looks for."""
    title, _, meaning = (inspect.getdoc(find) or find.__name__).partition("\n")
    return FunctionCheck(
        rule=Rule(
            id=find.__name__.strip("_").replace("_", "-").lower(),
            title=title.rstrip("."),
            category="business-rules",
            severity="medium",
            meaning=meaning.strip(),
            remedy="",
        ),
        table="",
        find=find,
    )

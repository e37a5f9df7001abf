"""The built-in checks, a module for each category: its `RULES`, and `checks(scene)` that binds them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taaxdog_datamig.validation.checks import australian, business, consistency, integrity, leaks, security

if TYPE_CHECKING:
    from taaxdog_datamig.validation.model import Check, Rule
    from taaxdog_datamig.validation.scene import Scene

_MODULES = (integrity, consistency, business, australian, security, leaks)

#: Every built-in rule, in the order of the reference.
RULES: tuple[Rule, ...] = tuple(rule for module in _MODULES for rule in module.RULES)


def builtin_checks(scene: Scene) -> list[Check]:
    """The built-in checks for what is here."""
    return [check for module in _MODULES for check in module.checks(scene)]

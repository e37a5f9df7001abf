"""SQL written over logical columns: `{status}::text = 'ACTIVE'`."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING

from taaxdog_datamig.profile.references import column_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from taaxdog_datamig.profile.fit import FittedTable


def placeholders(template: str) -> tuple[str, ...]:
    """The names in braces, each once, in their order."""
    names = (name for _, name, _, _ in string.Formatter().parse(template) if name)
    return tuple(dict.fromkeys(names))


def verbatim(sql: str) -> str:
    """SQL as part of a template: nothing in it is a placeholder."""
    return sql.replace("{", "{{").replace("}", "}}")


def over(predicate: Callable[..., str], *columns: str) -> str:
    """A template of a predicate over the text of columns.

    Args:
        predicate: given SQL of values, returns SQL.
        columns: logical names.
    """
    marks = [f"\0{place}\0" for place in range(len(columns))]
    template = verbatim(predicate(*marks))
    for mark, column in zip(marks, columns, strict=True):
        template = template.replace(mark, f"{{{column}}}::text")
    return template


def bind(template: str, table: FittedTable, values: Mapping[str, str]) -> str | None:
    """The SQL with the table's columns in the place of their logical names; None where one is missing.

    Args:
        template: SQL; braces that are no placeholder are doubled.
        table: stands in the SQL as `t`.
        values: SQL for names that are no columns, such as `now`.
    """
    bound = dict(values)
    for name in placeholders(template):
        if name not in bound:
            column = column_of(table, name)
            if column is None:
                return None
            bound[name] = f"t.{column.quoted}"
    return template.format_map(bound)

"""Writes docs/reference/checks.md from the rules: `python tests/docs/checks_page.py`, or `nox -s reference`.

Tables and columns are those of the checks that the reference schema gets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import anyio
import asyncpg

from taaxdog_datamig import Database, Settings
from taaxdog_datamig.demo.schema import create_schema
from taaxdog_datamig.embedded import EmbeddedServer
from taaxdog_datamig.pg.snapshot import Snapshot
from taaxdog_datamig.validation import CATEGORIES, RULES, Check, Rule
from taaxdog_datamig.validation.checks import builtin_checks
from taaxdog_datamig.validation.scene import Scene

PAGE = Path(__file__).parents[2] / "docs/reference/checks.md"

_HEAD = """\
# Checks

What [`validate`](cli.md#validate) looks for. This page is made from the rules themselves: `nox -s reference`.

A rule has one check, or one for each table or column it is about; then a check is called `rule:table.column`.
Names of tables and columns are the profile's; where one is not here, its check is skipped with the reason.
Severities, the worst first: `critical`, `high`, `medium`, `low`, `warning`.
"""


#: Of rules that the constraints of the reference schema keep.
_VOUCHED = "Looks at older and imported databases; in the reference schema the server itself vouches for it."


def page(rules: Sequence[Rule], checks: Iterable[Check]) -> str:
    """The page: an overview, then each rule under its category."""
    bound: dict[str, list[Check]] = {rule.id: [] for rule in rules}
    for check in checks:
        bound[check.rule.id].append(check)
    lines = [_HEAD, "| rule | severity | what is wrong |", "|---|---|---|"]
    lines += [
        f"| [`{rule.id}`](#{rule.id}) | {rule.severity} | {_cell(rule.title)} |" for rule in _sorted(rules)
    ]
    for category in CATEGORIES:
        if here := [rule for rule in rules if rule.category == category]:
            lines += ["", f"## {category.replace('-', ' ').capitalize()}"]
            lines += [line for rule in here for line in _told(rule, bound[rule.id])]
    return "\n".join(lines) + "\n"


def _sorted(rules: Sequence[Rule]) -> list[Rule]:
    return sorted(rules, key=lambda rule: CATEGORIES.index(rule.category))


def _told(rule: Rule, checks: Sequence[Check]) -> Iterator[str]:
    yield from ("", f"### `{rule.id}`", "", f"{rule.title}. Severity: {rule.severity}.", "", rule.meaning)
    yield from ("", f"To mend: {rule.remedy}")
    if rule.fix:
        yield from ("", "```sh", f"datamig run {rule.fix}", "```")
    places = ", ".join(dict.fromkeys(map(_place, checks)))
    yield from ("", f"Looks at: {places}." if places else _VOUCHED)


def _place(check: Check) -> str:
    if not check.table:
        return "the whole database"
    columns = ", ".join(f"`{column}`" for column in check.columns)
    return f"`{check.table}`{f' ({columns})' if columns else ''}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


async def made(dsn: str) -> str:
    """The page, by way of an empty database."""
    connection = await asyncpg.connect(dsn)
    try:
        await create_schema(connection)
    finally:
        await connection.close()
    settings = Settings(database_url=dsn)
    async with Database.connect(settings=settings) as db, Snapshot.take(db) as snapshot:
        scene = await Scene.load(snapshot.connection, settings, snapshot.moment)
        return page(RULES, builtin_checks(scene))


async def _write() -> None:
    async with EmbeddedServer() as server:
        PAGE.write_text(await made(server.dsn), "utf-8")


if __name__ == "__main__":
    anyio.run(_write)

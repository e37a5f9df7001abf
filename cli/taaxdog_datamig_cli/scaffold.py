"""What `new-migration` writes: a migration that works, to be changed, and its test."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from string import Template

from taaxdog_datamig.errors import UsageError

#: Longest name: the files' lines stay short, and it is typed by hand.
LONGEST = 30
_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Names that the files import; the class must not hide them.
_IMPORTED = {"Any", "Changes", "ColumnMigration", "Connection", "Database", "Migration", "Record", "Registry"}
_IMPORTED |= {"Row", "Runner"}

_DECLARATIVE = '''\
"""$name: says which rows and how; the engine does the rest."""

from taaxdog_datamig import Changes, ColumnMigration, Row


class $kind(ColumnMigration):
    name = "$name"
    version = "1.0.0"
    description = "Spell states in capitals"
    # The table, and its columns that are read and may be changed.
    table = "users"
    columns = ("state",)
    # SQL that finds the rows; it must become false once a row is migrated.
    pending = "state <> upper(state)"

    def transform(self, row: Row) -> Changes:
        # Called again after a crash, so it has no side effects. It may also return
        # Skip(), Leave("code", "why") or Reject("code", "why").
        return Changes(state=row["state"].upper())
'''

_IMPERATIVE = '''\
"""$name: code of its own, in batches that each commit once."""

from typing import Any

from taaxdog_datamig import Connection, Migration, Record

# SQL that finds the rows; it must become false once a row is migrated.
PENDING = "state <> upper(state)"


class $kind(Migration):
    name = "$name"
    version = "1.0.0"
    description = "Spell states in capitals"
    # No other run works on these meanwhile.
    tables = ("users",)

    async def validate(self) -> bool:
        # False, or a RefusedError that says why, and nothing is changed.
        return True

    async def estimate_affected_records(self) -> int:
        async with self.context.db.acquire() as connection:
            query = f"SELECT count(*) FROM users WHERE {PENDING}"
            return int(await connection.fetchval(query))

    async def up(self) -> None:
        query = f"SELECT id, state FROM users WHERE {PENDING} FOR UPDATE"
        await self.process_batch(query, self.uppercase)

    async def uppercase(self, connection: Connection, batch: list[Record]) -> int:
        # Writes, rollback data and checkpoint of a batch are one transaction.
        for row in batch:
            self.store_rollback({"id": row["id"], "state": row["state"]})
        await connection.execute(
            "UPDATE users SET state = upper(state) WHERE id = ANY ($$1)",
            [row["id"] for row in batch],
        )
        return len(batch)

    async def down(self) -> None:
        await self.process_batch(self.rollback_data(), self.give_back)

    async def give_back(
        self, connection: Connection, batch: list[dict[str, Any]]
    ) -> None:
        # Only where the row still holds what the run wrote.
        await connection.executemany(
            "UPDATE users SET state = $$2::text"
            " WHERE id = $$1 AND state = upper($$2::text)",
            [(old["id"], old["state"]) for old in batch],
        )
'''

_TEST = '''\
"""$name: what it changes, the way back, and that it may be killed anywhere."""

import asyncio

from taaxdog_datamig import Database, Registry, Runner
from taaxdog_datamig.testing import assert_crash_safe, temporary_database

from $module import (
    $kind,
)

TABLE = """
CREATE TABLE users (id bigint PRIMARY KEY, state text);
INSERT INTO users VALUES (1, 'nsw'), (2, 'VIC'), (3, NULL), (4, 'Qld');
"""


async def states(db: Database) -> dict[int, str | None]:
    async with db.acquire() as connection:
        rows = await connection.fetch("SELECT id, state FROM users ORDER BY id")
    return {row["id"]: row["state"] for row in rows}


def test_it_changes_what_it_should_and_there_is_a_way_back() -> None:
    async def check() -> None:
        async with temporary_database(TABLE) as url, Database.connect(url) as db:
            before = await states(db)
            registry = Registry.load([$kind])
            runner = Runner(db, registry=registry)
            report = await runner.run("$name")
            assert report.changed_rows == 2
            assert await states(db) == {1: "NSW", 2: "VIC", 3: None, 4: "QLD"}
            await runner.rollback("$name")
            assert await states(db) == before

    asyncio.run(check())


def test_it_may_be_killed_anywhere() -> None:
    async def check() -> None:
        async with temporary_database(TABLE) as url:
            await assert_crash_safe($kind, url, random_kills=2)

    asyncio.run(check())
'''


def checked(name: str) -> str:
    """The module's name.

    Raises:
        UsageError: the name is not kebab-case, too long, or means something else.
    """
    if not _KEBAB.fullmatch(name) or len(name) > LONGEST:
        raise UsageError(
            f"{name!r} is no name for a migration",
            f"It is up to {LONGEST} small letters, digits and single hyphens, such as uppercase-state",
        )
    module = name.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise UsageError(f"{name}: Python has a use of its own for {module}", "Choose another name")
    from taaxdog_datamig.migrations import BUILTIN

    if name in {migration.name for migration in BUILTIN}:
        raise UsageError(f"there is a migration {name} already", "Choose another name")
    return module


def import_path(folder: Path, module: str) -> str:
    """How the module in `folder` is imported: behind the packages it stands in."""
    parts, place = [module], folder.absolute()
    while (place / "__init__.py").is_file():
        parts.insert(0, place.name)
        place = place.parent
    return ".".join(parts)


def write(name: str, folder: Path, *, imperative: bool) -> tuple[str, list[Path]]:
    """Write the migration and its test.

    Returns:
        How the module is imported, and the files.

    Raises:
        UsageError: the name will not do, a file exists, or it cannot be written.
    """
    module = checked(name)
    kind = "".join(word.capitalize() for word in name.split("-"))
    kind += "Migration" * (kind in _IMPORTED)
    path = import_path(folder, module)
    given = {"name": name, "kind": kind, "module": path}
    files = {
        folder / f"{module}.py": Template(_IMPERATIVE if imperative else _DECLARATIVE).substitute(given),
        folder / f"test_{module}.py": _on_one_line(Template(_TEST).substitute(given)),
    }
    if existing := [file for file in files if file.exists()]:
        raise UsageError(f"{existing[0]} exists", "Nothing is overwritten; choose another name or --path")
    try:
        for file, text in files.items():
            with file.open("x", encoding="utf-8") as opened:
                opened.write(text)
    except OSError as error:
        raise UsageError(f"cannot write {error.filename}: {error.strerror}") from None
    return path, list(files)


def _on_one_line(text: str) -> str:
    """The import as formatters want it, where it fits into 88 columns."""
    joined = re.sub(r"import \(\n    (\w+),\n\)", r"import \1", text)
    return joined if all(len(line) <= 88 for line in joined.splitlines()) else text  # noqa: PLR2004

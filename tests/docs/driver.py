"""Does with a block of Python what its page's reader would, on the database of DATABASE_URL.

`driver.py FILE FUNCTION [NAME=VALUE]...` imports the file, makes a dry run of each migration that it defines,
and calls the coroutine, if one is named, with what it asks for by name.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio

from taaxdog_datamig import Database, Registry, Runner, RunOptions, Settings
from taaxdog_datamig.migration.base import BaseMigration
from taaxdog_datamig.migrations import BUILTIN
from taaxdog_datamig.pg.snapshot import Snapshot
from taaxdog_datamig.validation import Scene


def imported(file: Path) -> ModuleType:
    """The file as a module, under the name by which other code of the reader's imports it."""
    folder = Path.cwd()
    sys.path.insert(0, str(folder))
    name = ".".join(file.resolve().relative_to(folder).with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def use(module: ModuleType, call: str, given: dict[str, Any]) -> None:
    """Run its migrations dry, and call its function."""
    own = [thing for thing in vars(module).values() if getattr(thing, "__module__", "") == module.__name__]
    migrations = [thing for thing in own if isinstance(thing, type) and issubclass(thing, BaseMigration)]
    settings = Settings.load()
    async with Database.connect(settings=settings) as db:
        runner = Runner(db, registry=Registry.load([*BUILTIN, *migrations], ()))
        for migration in migrations:
            await runner.run(migration.name, RunOptions(dry_run=True))
        if not call:
            return
        function = getattr(module, call)
        wanted = inspect.signature(function).parameters
        if "scene" in wanted:
            async with Snapshot.take(db) as snapshot:
                scene = await Scene.load(snapshot.connection, settings, snapshot.moment)
                await function(snapshot.connection, scene)
            return
        async with db.acquire() as connection:
            known = {"db": db, "runner": runner, "connection": connection, **given}
            await function(**{name: known[name] for name in wanted if name in known})


if __name__ == "__main__":
    file, call, *given = sys.argv[1:]
    anyio.run(use, imported(Path(file)), call, dict(word.split("=", 1) for word in given))

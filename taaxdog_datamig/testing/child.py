"""The process that `assert_crash_safe` kills: does one thing, described by JSON on standard input."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Any

import attrs
import orjson

from taaxdog_datamig.engine.reports import RunOptions
from taaxdog_datamig.engine.runner import Runner
from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.migration import Registry
from taaxdog_datamig.migrations import BUILTIN
from taaxdog_datamig.pg import Database
from taaxdog_datamig.settings import Settings


async def do(task: dict[str, Any]) -> dict[str, Any]:
    """Run or roll back; returns the report as JSON values."""
    settings = Settings.load(database_url=task["dsn"], **task.get("settings", {}))
    kinds = [*BUILTIN]
    if task["module"]:
        kind: Any = importlib.import_module(task["module"])
        for part in task["class"].split("."):
            kind = getattr(kind, part)
        kinds = [kind]
    async with Database.connect(settings=settings) as db:
        runner = Runner(db, settings, registry=Registry.load(kinds))
        if task["action"] == "rollback":
            return attrs.asdict(await runner.rollback(task["migration"]))
        return attrs.asdict(await runner.run(task["migration"], RunOptions(**task["options"])))


def main() -> int:
    """Exit code 0 with the report on standard output, or 1 with the error's name and text."""
    try:
        report = asyncio.run(do(orjson.loads(sys.stdin.buffer.read())))
    except DatamigError as error:
        sys.stdout.buffer.write(orjson.dumps({"error": type(error).__name__, "message": str(error)}))
        return 1
    sys.stdout.buffer.write(orjson.dumps(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())

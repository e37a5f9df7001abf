"""Plans in files: what `plan --out` writes is what `run --plan` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from taaxdog_datamig.engine.reports import Plan
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.answers import Plans
from taaxdog_datamig_cli.files import write_whole


def write(path: Path, plan: Plan | Plans) -> None:
    """Write a plan.

    Raises:
        Unwritten: the file cannot be written.
    """
    from taaxdog_datamig_cli import shapes

    write_whole(path, shapes.encode(shapes.document(plan)))


def pinned(path: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The plans in a file, by migration.

    Raises:
        UsageError: the file is no plan, or holds none of a migration in `names`.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"{path} is not a plan", "`datamig plan NAME --out FILE` writes one") from None
    match document:
        case {"schema": "datamig/plan/1", "migration": str(name)}:
            plans = {name: document}
        case {"schema": "datamig/plans/1", "plans": list(listed)}:
            plans = {plan["migration"]: plan for plan in listed}
        case _:
            raise UsageError(f"{path} is not a plan", "`datamig plan NAME --out FILE` writes one")
    if missing := sorted(set(names) - plans.keys()):
        raise UsageError(f"{path} holds no plan of {missing[0]}", f"It plans {', '.join(sorted(plans))}")
    return plans

"""The head of the menu: which database this is, how much is in it, how its runs stand. Fits 80 columns."""

from __future__ import annotations

from taaxdog_datamig.engine.overview import Overview
from taaxdog_datamig.engine.reports import RunRecord
from taaxdog_datamig.pg.database import Database
from taaxdog_datamig_cli.page import Facts, Line, Page
from taaxdog_datamig_cli.runpages import ending
from taaxdog_datamig_cli.units import moment, size, some

#: Characters of one line, beside the name of the fact.
_ROOM = 65
_TO_THE_MINUTE = len("2026-03-01 12:00")


def overview_page(database: Database, found: Overview) -> Page:
    """The head, in at most nine lines."""
    server, rows = database.server, some(sum(found.rows.values()), "row")
    standby = ", a standby" if server.in_recovery else ""
    pairs = [
        ("server", f"PostgreSQL {server.version} at {database.address}, as {server.role}{standby}"),
        (
            "database",
            f"{server.database}: {some(len(found.rows), 'table')}, about {rows}, {size(found.bytes)}",
        ),
    ]
    seen = {run.run_id for run in found.recent}
    pairs += _named("latest runs", [_run(run) for run in found.recent] or ["none yet"])
    pairs += _named("failed", [_run(run) for run in found.failed if run.run_id not in seen])
    return [Line("datamig", "head"), Facts(pairs)]


def _named(name: str, lines: list[str]) -> list[tuple[str, str]]:
    """The name stands once, before the first."""
    return [("" if place else name, line) for place, line in enumerate(lines)]


def _run(run: RunRecord) -> str:
    rows = some(run.affected_rows, "row")
    told = f"{moment(run.started_at)[:_TO_THE_MINUTE]}  {run.migration}: {ending(run.status)}, {rows}"
    return cut(f"{told}: {run.error}" if run.error else told, _ROOM)


def cut(text: str, width: int) -> str:
    """`text` on one line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"

"""`checksum`: tables' contents as numbers, and how two databases differ."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.checksum.reports import ChecksumReport, DiffReport
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.options import AT_LEAST_ONE
from taaxdog_datamig_cli.session import Session


async def checksum(
    *,
    tables: str | None = None,
    diff: Annotated[str | None, Parameter(name="--diff")] = None,
    jobs: Annotated[int, AT_LEAST_ONE] = 2,
    session: Annotated[Session, Parameter(parse=False)],
) -> ChecksumReport | DiffReport:
    """Each table's rows and checksum, as of one moment; equal contents have equal checksums on any server.

    With --diff, the rows that differ from another database's, by primary key. Exit code 3 if anything
    differs. Nothing is written.

    Args:
        tables: These alone, separated by commas.
        diff: Compare with the database at this URL; `embedded:PATH` as for --database.
        jobs: Tables, or parts of large ones, that are read at the same time.
        session: Given by the command line.
    """
    from taaxdog_datamig import Checksums
    from taaxdog_datamig.events import EventBus

    names = None if tables is None else [name.strip() for name in tables.split(",") if name.strip()]
    if names is not None and not names:
        raise UsageError("--tables names no table", "Without it, all tables are read")
    reporter, bus = session.reporter(), EventBus()
    bus.subscribe(reporter)
    async with session.database() as (database, settings):
        checksums = Checksums(database, jobs=jobs, events=bus)
        with session.working_on("checksum", reporter):
            if diff is None:
                return await checksums.tables(names)
            async with session.other_database(diff, settings) as other:
                return await checksums.diff(other, names)

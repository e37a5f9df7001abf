"""`audit export`: the trail, for somebody else's archive."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli.answers import AuditExport
from taaxdog_datamig_cli.session import Session


async def export(
    *,
    output: Path | None = None,
    run: str | None = None,
    session: Annotated[Session, Parameter(parse=False)],
) -> AuditExport | None:
    """The entries as lines of JSON, the oldest first: seq, event, run_id, entry, previous and hash.

    Args:
        output: Write them to this file instead of to stdout.
        run: Those of one run alone: its id, or a migration's name for its latest run.
        session: Given by the command line.
    """
    from taaxdog_datamig_cli.files import refuse_unwritable, writing_whole

    if output is not None:
        refuse_unwritable(output)
    async with session.runner() as runner:
        entries = 0
        with writing_whole(output) as file:
            async for line in runner.audit_lines(run):
                file.write(f"{line}\n")
                entries += 1
    return None if output is None else AuditExport(str(output), entries)

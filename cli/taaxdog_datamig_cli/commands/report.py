"""`report`: everything about one run, for people who were not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.engine.reports import RunDetails
from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.session import Session


async def report(
    run: str, /, *, output: Path | None = None, session: Annotated[Session, Parameter(parse=False)]
) -> RunDetails:
    """A run's report: what changed and how fast, proof, validation, backup, and the way back.

    Args:
        run: A run's id or a migration's name.
        output: Write it there, too: a page of HTML, or JSON, by the file's ending.
        session: Given by the command line.
    """
    from taaxdog_datamig.engine.runpage import run_html
    from taaxdog_datamig_cli import shapes
    from taaxdog_datamig_cli.files import refuse_unwritable, write_whole

    if output is not None:
        if output.suffix.lower() not in {".html", ".json"}:
            raise UsageError(
                f"nothing says in which format to write {output}", "Let it end in .html or .json"
            )
        refuse_unwritable(output)
    async with session.runner() as runner:
        details = await runner.details(run)
    if output is not None:
        html = output.suffix.lower() == ".html"
        write_whole(output, run_html(details) if html else shapes.encode(shapes.document(details)))
    return details

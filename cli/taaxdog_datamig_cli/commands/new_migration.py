"""`new-migration`: a file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig_cli import scaffold
from taaxdog_datamig_cli.answers import NewMigration
from taaxdog_datamig_cli.options import SWITCH
from taaxdog_datamig_cli.session import Session


def new_migration(
    name: str,
    /,
    *,
    imperative: Annotated[bool, SWITCH] = False,
    path: Path = Path(),
    session: Annotated[Session, Parameter(parse=False)],
) -> NewMigration:
    """Write a migration that works, to be changed, and its test. Nothing is overwritten.

    Args:
        name: What it is called, such as uppercase-state.
        imperative: With code of its own in `up` and `down`, instead of a declaration.
        path: The folder to write to.
        session: Given by the command line.
    """
    del session
    module, files = scaffold.write(name, path, imperative=imperative)
    return NewMigration(name=name, module=module, files=[str(file) for file in files])

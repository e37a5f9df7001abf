"""`keys generate`: a new key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from taaxdog_datamig.errors import UsageError
from taaxdog_datamig_cli.answers import NewKey
from taaxdog_datamig_cli.session import Session


def generate(*, out: Path | None = None, session: Annotated[Session, Parameter(parse=False)]) -> NewKey:
    """Make a new key for FIELD_ENCRYPTION_KEY: 256 random bits as 64 hex digits.

    Whoever loses the key loses the values: keep it where the database's backups are not.

    Args:
        out: Write it to this new file, readable by you alone, instead of to stdout.
        session: Given by the command line.
    """
    from taaxdog_datamig.crypto import generate_key

    del session
    key = generate_key()
    if out is None:
        return NewKey(key, None)
    write_secret(out, key)
    return NewKey(None, str(out))


def write_secret(path: Path, secret: str) -> None:
    """Write `secret` to a new file that only its owner may read (mode 600).

    Raises:
        UsageError: the file exists (a key is never overwritten) or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secret}\n")
    except FileExistsError:
        raise UsageError(f"{path} exists", "A key is never overwritten; name a new file") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None

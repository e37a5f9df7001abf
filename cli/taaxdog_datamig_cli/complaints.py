"""What went wrong, for the one who called: a message with what to do, or a document."""

from __future__ import annotations

import sys
import traceback

from taaxdog_datamig.redaction import redact
from taaxdog_datamig_cli import exits, shapes
from taaxdog_datamig_cli.errorlines import log_error
from taaxdog_datamig_cli.session import Session


def complain(error: BaseException, session: Session) -> int:
    """Say what went wrong: on stderr for a person, as one document on stdout for `--json`.

    Returns:
        The exit code.
    """
    code = exits.of_error(error)
    if session.all_json:
        log_error(error, verbose=session.common.verbose)
    elif session.common.verbose and not isinstance(error, exits.Interrupted | exits.Declined):
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    if session.common.json:
        sys.stdout.write(shapes.encode(shapes.error_document(error, finished=session.finished)))
        return code
    for answer in session.finished:
        session.show(answer)
    if (report := getattr(error, "report", None)) is not None:
        session.show(report)
    if session.all_json:
        return code
    told = shapes.error_document(error)["error"]
    sys.stderr.write(f"error: {redact(told['what'])}\n")
    if told["todo"]:
        sys.stderr.write(f"  {redact(told['todo'])}\n")
    return code

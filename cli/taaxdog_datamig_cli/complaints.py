"""What went wrong, for the one who called: a message with what to do, or a document."""

from __future__ import annotations

import contextlib
import sys
import traceback

from taaxdog_datamig.errors import DatamigError
from taaxdog_datamig.redaction import redact
from taaxdog_datamig_cli import exits, shapes
from taaxdog_datamig_cli.errorlines import log_error
from taaxdog_datamig_cli.hints import as_typed_here
from taaxdog_datamig_cli.session import Session


def complain(error: BaseException, session: Session) -> int:
    """Say what went wrong: on stderr for a person, as one document on stdout for `--json`.

    Returns:
        The exit code.
    """
    error = _of_ours(error)
    code = exits.of_error(error)
    if session.all_json:
        log_error(error, verbose=session.common.verbose)
    elif session.common.verbose and not isinstance(error, exits.ASKED_FOR):
        sys.stderr.write(redact("".join(traceback.format_exception(error))))
    if session.common.json:
        document = shapes.encode(shapes.error_document(error, finished=session.finished))
        try:
            sys.stdout.write(document)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError:  # it takes nothing any more, and somebody should know
            sys.stderr.write(document)
        return code
    report = getattr(error, "report", None)
    with contextlib.suppress(exits.Unwritten):
        for answer in (*session.finished, *([] if report is None else [report])):
            session.show(answer)
    if session.all_json:
        return code
    told = shapes.error_document(error)["error"]
    what, todo = (as_typed_here(redact(told[part]), session.common) for part in ("what", "todo"))
    sys.stderr.write(f"error: {what}\n")
    if todo:
        sys.stderr.write(f"  {todo}\n")
    return code


def _of_ours(error: BaseException) -> BaseException:
    """What the server or the connection says, as an error of ours; anything else as it is."""
    if "asyncpg" not in sys.modules or isinstance(error, DatamigError):
        return error
    from taaxdog_datamig.pg.retry import Fault, classify, is_drivers, lost, refused

    if not is_drivers(error):
        return error
    told = lost if classify(error) is Fault.GONE else refused
    return told(error, "talking to the server").with_traceback(error.__traceback__)

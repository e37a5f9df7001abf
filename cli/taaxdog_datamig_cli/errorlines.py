"""A command's error as a line of the log, for `--log-format json`."""

from __future__ import annotations

import logging
import sys

from taaxdog_datamig.redaction import configure_logging
from taaxdog_datamig_cli import exits, shapes


def log_error(error: BaseException, *, verbose: bool) -> None:
    """Write the line, with the traceback if `verbose`; whether or not the settings could be read."""
    configure_logging("error", "json", sys.stderr)
    told = shapes.error_document(error)["error"]
    expected = isinstance(error, exits.ASKED_FOR)
    logging.getLogger("taaxdog_datamig").error(
        "%s",
        told["what"],
        exc_info=error if verbose and not expected else None,
        extra={
            "event": "command_failed",
            "error": told["type"],
            "hint": told["todo"],
            "exit_code": exits.of_error(error),
        },
    )

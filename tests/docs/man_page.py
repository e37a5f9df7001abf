"""Writes `docs/man/datamig.1` from the commands themselves: `python tests/docs/man_page.py`.

The command line's library renders Markdown, HTML and reStructuredText, but no roff; a converter such as
pandoc would be one more thing to install. What a page needs is little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclopts import App

from taaxdog_datamig.settings import SECRETS
from taaxdog_datamig_cli import exits
from taaxdog_datamig_cli.main import EXAMPLES, app

PATH = Path(__file__).parents[2] / "docs/man/datamig.1"

ENVIRONMENT = {
    "DATABASE_URL": "The database, a postgresql:// URL.",
    "BACKUP_DIR, ARCHIVE_DIR": "Where backups go, and the rows that cleanups delete.",
    "LOG_LEVEL": "debug, info, warning (the default), error or critical.",
    "NO_COLOR, CI": "No colour; nobody to be asked.",
    ", ".join(SECRETS): "Secrets; each may also be given as NAME_FILE, a file's path.",
}


def page() -> str:
    """The page in roff, as man(7) describes it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield '.TH DATAMIG 1 "" "taaxdog_datamig" "User Commands"'
    yield from (".SH NAME", f"datamig \\- {_text(app.help)}")
    yield from (".SH SYNOPSIS", ".B datamig", "[\\fIOPTIONS\\fR] \\fICOMMAND\\fR ...")
    yield from (".SH DESCRIPTION", "\\fBpython \\-m taaxdog_datamig\\fR is the same.")
    yield "A RUN is a run's id, the beginning of one, or a migration's name for its latest run."
    yield ".SH COMMANDS"
    for name, command in commands():
        yield f".SS {_text(name)}"
        yield _text(command.help)
        yield from _options(command)
    yield ".SH COMMON OPTIONS"
    yield "Every command takes these, before or after its name."
    yield from _options(app.meta)
    yield from _item("\\-\\-help, \\-h", "Shows help, also of a command.")
    yield from _item("\\-\\-version", "Shows the version.")
    yield from _item("\\-\\-install\\-completion", "Installs completion for this shell.")
    yield ".SH EXIT STATUS"
    for code, meaning in exits.MEANINGS.items():
        yield from _item(str(code), _text(meaning))
    yield ".SH ENVIRONMENT"
    for name, meaning in ENVIRONMENT.items():
        yield from _item(_text(name), _text(meaning))
    yield ".SH FILES"
    yield from _item("datamig.toml", "Settings, in the working folder; \\-\\-config names another file.")
    yield from (".SH EXAMPLES", ".nf")
    yield from map(_text, EXAMPLES[""])
    yield ".fi"


def commands(parent: App = app, chain: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    """Every command by its words."""
    for name in parent:
        if name.startswith("-"):
            continue
        command = parent[name]
        if command.default_command:
            yield " ".join((*chain, name)), command
        yield from commands(command, (*chain, name))


def _options(command: App) -> Iterator[str]:
    for argument in command.assemble_argument_collection(parse_docstring=True).filter_by(parse=True):
        if argument.parameter.show is False or argument.children:
            continue
        yield from _item(_names(argument), _text(argument.parameter.help or ""))


def _names(argument: Any) -> str:
    options = [name for name in argument.names if name.startswith("-")]
    if not options:
        return _text(argument.names[0])
    value = "" if argument.hint is bool or bool in getattr(argument.hint, "__args__", ()) else " VALUE"
    return ", ".join(map(_text, sorted(options, key=len, reverse=True))) + value


def _item(head: str, text: str) -> Iterator[str]:
    yield from (".TP", f"\\fB{head}\\fR", text or "\\&")


def _text(text: str) -> str:
    """Plain text in roff: nothing in it is a request."""
    line = re.sub(r"\s+", " ", text).strip().replace("\\", "\\e").replace("`", "").replace("-", "\\-")
    return line.replace("\u2022", "\\(bu") if not line.startswith((".", "'")) else "\\&" + line


if __name__ == "__main__":
    PATH.parent.mkdir(exist_ok=True)
    PATH.write_text(page())

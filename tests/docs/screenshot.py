"""Draws docs/images/menu.svg from the menu's own screen: `nox -s images`."""

from __future__ import annotations

import html
import io
import re
import sys
import tempfile
from itertools import groupby
from pathlib import Path

import anyio
import asyncpg
import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

from taaxdog_datamig.demo import load_sample
from taaxdog_datamig.embedded import EmbeddedServer
from tests.acceptance.calling import KEY, SAMPLE_USERS, environment
from tests.terminal import ENTER, SPACE, Terminal

PICTURE = Path(__file__).parents[2] / "docs/images/menu.svg"


#: The throw-away server's folder has another name each time; the picture must not.
_FOLDER = re.compile(r"/tmp/datamig-\w+")


def drawn(screen: pyte.Screen) -> str:
    """The screen as SVG that needs nothing from elsewhere."""
    console = Console(
        record=True, width=screen.columns, file=io.StringIO(), color_system="truecolor", force_terminal=True
    )
    for row in range(screen.lines):
        cells = [screen.buffer[row][column] for column in range(screen.columns)]
        line = Text()
        for style, alike in groupby(cells, _style):
            line.append(_FOLDER.sub("/var/run/postgresql", "".join(cell.data for cell in alike)), style)
        console.print(line)
    svg = console.export_svg(title="datamig", unique_id="menu")
    fonts = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", fonts, flags=re.MULTILINE).rstrip() + "\n"


def gist(text: str) -> str:
    """What a screen or its picture says, wherever it stands, without numbers: those are another day's."""
    return re.sub(r"[\s\d]", "", html.unescape(re.sub(r"<[^>]+>", "", text)))


def _style(cell: pyte.screens.Char) -> Style:
    colour = None if cell.fg == "default" else cell.fg.replace("bright", "bright_")
    return Style(color=colour, bold=cell.bold, reverse=cell.reverse)


async def _serve(server: EmbeddedServer) -> None:
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("CREATE DATABASE taaxdog")
    await connection.close()
    await load_sample(server.dsn_for("taaxdog"), users=SAMPLE_USERS, faults=True, seed=1)


def _draw() -> None:
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        anyio.run(_serve, server)
        env = environment(
            TERM="xterm-256color", DATABASE_URL=server.dsn_for("taaxdog"), FIELD_ENCRYPTION_KEY=KEY
        )
        command = [sys.executable, "-m", "taaxdog_datamig"]
        with Terminal(command, folder=Path(folder), env=env) as terminal:
            terminal.wait_for("What to do")
            terminal.press(ENTER)
            terminal.wait_for("Which migrations")
            terminal.press(SPACE)
            terminal.wait_for("● encrypt-user-data")
            PICTURE.parent.mkdir(exist_ok=True)
            PICTURE.write_text(drawn(terminal.screen), "utf-8")


if __name__ == "__main__":
    _draw()

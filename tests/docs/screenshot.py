"""Draws the pictures of the documentation from real screens: `nox -s images`."""

from __future__ import annotations

import html
import io
import re
import subprocess
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
from tests.browser import CHROMIUM, Browser
from tests.terminal import ENTER, SPACE, Terminal

IMAGES = Path(__file__).parents[2] / "docs/images"
MENU, PROGRESS, REPORT = IMAGES / "menu.svg", IMAGES / "progress.svg", IMAGES / "report.png"
#: A run long enough to be looked at, over more than one table.
RUN = ("run", "encrypt-user-data", "--workers", "auto", "--nice", "1", "--yes")
#: Its view once every figure is known.
IN_FULL = r"rows/s · .* left · chunks of .*\n +[2-4] of 4 workers · .* heap-only · WAL"
_MANY_USERS = 150_000

#: The throw-away server's folder has another name each time; the picture must not.
_FOLDER = re.compile(r"/tmp/datamig-\w+")


def drawn(screen: pyte.Screen, name: str, lines: int | None = None) -> str:
    """The screen's first lines as SVG that needs nothing from elsewhere."""
    console = Console(
        record=True, width=screen.columns, file=io.StringIO(), color_system="truecolor", force_terminal=True
    )
    for row in range(lines or screen.lines):
        cells = [screen.buffer[row][column] for column in range(screen.columns)]
        line = Text()
        for style, alike in groupby(cells, _style):
            line.append(_FOLDER.sub("/var/run/postgresql", "".join(cell.data for cell in alike)), style)
        console.print(line)
    svg = console.export_svg(title="datamig", unique_id=name)
    fonts = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"[ \t]+$", "", fonts, flags=re.MULTILINE).rstrip() + "\n"


def gist(text: str) -> str:
    """What a screen or its picture says, wherever it stands, without numbers: those are another day's."""
    return re.sub(r"[\s\d]", "", html.unescape(re.sub(r"<[^>]+>", "", text)))


def _style(cell: pyte.screens.Char) -> Style:
    colour: str | None = cell.fg.replace("bright", "bright_")
    if colour == "default":
        colour = None
    elif re.fullmatch("[0-9a-f]{6}", cell.fg):  # one of the 256
        colour = f"#{cell.fg}"
    return Style(color=colour, bold=cell.bold, reverse=cell.reverse)


async def _fill(server: EmbeddedServer, users: int) -> None:
    connection = await asyncpg.connect(server.dsn)
    await connection.execute("DROP DATABASE IF EXISTS taaxdog")
    await connection.execute("CREATE DATABASE taaxdog")
    await connection.close()
    await load_sample(server.dsn_for("taaxdog"), users=users, faults=users == SAMPLE_USERS, seed=1)


def _menu(terminal: Terminal) -> int:
    terminal.wait_for("What to do")
    terminal.press(ENTER)
    terminal.wait_for("Which migrations")
    terminal.press(SPACE)
    terminal.wait_for("● encrypt-user-data")
    return terminal.screen.lines


def _progress(terminal: Terminal) -> int:
    terminal.wait_for(IN_FULL)
    return len(terminal.text.rstrip().splitlines())


def _draw() -> None:
    with EmbeddedServer() as server, tempfile.TemporaryDirectory() as folder:
        env = environment(
            TERM="xterm-256color", DATABASE_URL=server.dsn_for("taaxdog"), FIELD_ENCRYPTION_KEY=KEY
        )
        for picture, users, words, arrive in (
            (MENU, SAMPLE_USERS, (), _menu),
            (PROGRESS, _MANY_USERS, RUN, _progress),
        ):
            anyio.run(_fill, server, users)
            command = [sys.executable, "-m", "taaxdog_datamig", *words]
            with Terminal(command, folder=Path(folder), env=env) as terminal:
                lines = arrive(terminal)
                picture.write_text(drawn(terminal.screen, picture.stem, lines), "utf-8")
                if words:
                    terminal.leave()
        if CHROMIUM is None:
            sys.stderr.write(f"no Chromium here: {REPORT.name} stays as it was\n")
            return
        page = Path(folder, "run.html")
        subprocess.run([*command[:3], "report", words[1], "--output", page], env=env, check=True)
        with Browser() as browser:
            browser.open(page, width=1000)
            REPORT.write_bytes(browser.picture(height=1_130))


if __name__ == "__main__":
    _draw()

"""The menu, driven as a person does: keys into a real terminal, and what its screen shows."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from calling import KEY, environment

from taaxdog_datamig_cli.main import main
from tests.docs.screenshot import MENU as PICTURE
from tests.docs.screenshot import gist
from tests.terminal import BACKSPACE, CTRL_C, CTRL_D, DOWN, ENTER, ESCAPE, PATIENCE, SPACE, UP, Terminal

MENU = r"What to do\?"
READ = r"Any key: go on \(.*\)\s*\Z"
ASKED = r"Run it\? \[y/N\]\s*\Z"


def datamig(folder: Path, *words: str, **env: str) -> Terminal:
    return Terminal(
        [sys.executable, "-m", "taaxdog_datamig", *words],
        folder=folder,
        env=environment(**({"TERM": "xterm-256color"} | env)),
    )


def go_to(terminal: Terminal, title: str) -> None:
    """Move the pointer to that entry, over what can be chosen."""
    terminal.wait_for(" » ", re.escape(title))
    lines = [line for line in terminal.text.splitlines() if re.match(r" [ »] [^ -]", line)]
    here = next(place for place, line in enumerate(lines) if "»" in line)
    there = next(place for place, line in enumerate(lines) if title in line)
    terminal.press(*[DOWN if there > here else UP] * abs(there - here))
    terminal.wait_for(rf"» (. )?{re.escape(title)}")


def enter(terminal: Terminal, title: str, *then: str) -> str:
    """Choose that entry, and wait for what follows."""
    go_to(terminal, title)
    terminal.press(ENTER)
    return terminal.wait_for(*then)


async def sensitive(connection: asyncpg.Connection) -> list[str]:
    """Every value that nobody may see."""
    rows = await connection.fetch(
        """SELECT unnest(ARRAY[tfn, "taxFileNumber", "twoFactorSecret", phone]) AS value FROM users
        UNION SELECT unnest(ARRAY[account_number, bsb]) FROM bank_accounts
        UNION SELECT mobile FROM basiq_users"""
    )
    return [row["value"] for row in rows if len(row["value"] or "") >= 6]


async def until_at_work(connection: asyncpg.Connection, terminal: Terminal) -> None:
    deadline = time.monotonic() + PATIENCE
    while not await connection.fetchval(
        "SELECT to_regclass('datamig.chunks')"
    ) or not await connection.fetchval("SELECT EXISTS (SELECT FROM datamig.chunks)"):
        assert time.monotonic() < deadline, terminal.text
        terminal.read(0.02)  # who writes to a terminal that nobody reads has to wait


def with_password(dsn: str) -> str:
    """The server asks for none, but the menu does not know."""
    parts = urlsplit(dsn)
    return urlunsplit(
        parts._replace(netloc=f"{parts.netloc.partition('@')[0]}:hush@{parts.netloc.partition('@')[2]}")
    )


@pytest.fixture
async def connection(sample: str) -> AsyncIterator[asyncpg.Connection]:
    opened = await asyncpg.connect(sample)
    yield opened
    await opened.close()


@pytest.fixture
async def holder(sample: str) -> AsyncIterator[asyncpg.Connection]:
    """A second connection, for locks."""
    opened = await asyncpg.connect(sample)
    yield opened
    await opened.close()


async def test_a_person_does_everything_from_the_menu(
    connection: asyncpg.Connection, holder: asyncpg.Connection, sample: str, tmp_path: Path
) -> None:
    """On 80 by 24. Nothing secret is ever shown."""
    secrets = await sensitive(connection)
    assert len(secrets) > 500
    with datamig(tmp_path, DATABASE_URL=with_password(sample), FIELD_ENCRYPTION_KEY=KEY) as terminal:
        size = r"database .*: 34 tables, about [\d,]+ rows, \d+\s+MB"
        head = terminal.wait_for(MENU, size, "latest runs +none yet")
        assert head.startswith("datamig\n")  # at the top
        picks_and_runs_dry(terminal)
        switches_to_live_and_refuses(terminal)
        assert await connection.fetchval("SELECT to_regclass('datamig.chunks')") is None
        async with holder.transaction():
            # A row that the run cannot get keeps it from ending before Ctrl-C comes.
            await holder.execute("SELECT FROM users WHERE tfn <> '' ORDER BY id LIMIT 1 FOR UPDATE")
            enter(terminal, "Show the plan", ASKED)
            terminal.press("y", ENTER)
            await until_at_work(connection, terminal)
            terminal.press(CTRL_C)
            terminal.wait_for(READ, "Go on with: datamig resume encrypt-user-data")
        terminal.press(SPACE)
        terminal.wait_for(MENU, r"latest runs .* encrypt-user-data: paused, \d+ rows")
        goes_on_from_the_history(terminal)
        left = "SELECT count(*) FROM users WHERE tfn <> '' AND tfn NOT LIKE 'encrypted:v1:%'"
        assert await connection.fetchval(left) == 0
        validates(terminal)
        backs_up_one_table(terminal)
        go_to(terminal, "Exit")
        terminal.press(ENTER)
        assert terminal.leave() == 0
        said = re.sub(r"\s", "", terminal.told)
    assert not [place for place, value in enumerate(secrets) if re.sub(r"\s", "", value) in said]
    assert "hush" not in said
    assert KEY not in said


def picks_and_runs_dry(terminal: Terminal) -> None:
    waiting = r"encrypt-user-data +\d+ rows wait"
    elsewhere = r"- cleanup-soft-deleted +\(not here: no table has a column deletedAt\)"
    enter(terminal, "Run migrations", r"Which migrations\?", waiting, elsewhere)
    terminal.press(ENTER)
    terminal.wait_for("Space marks at least one")
    terminal.press(SPACE)
    marked = terminal.wait_for("● encrypt-user-data")
    shown = marked[marked.index("Which migrations") :]
    assert gist(shown) in gist(PICTURE.read_text("utf-8")), (
        "the documentation's picture is old: `nox -s images`"
    )
    terminal.press(ENTER)
    terminal.wait_for("Start the dry run", "Mode +dry")
    terminal.press(ENTER)
    terminal.wait_for(READ)
    assert "(dry run, nothing was changed)" in terminal.told
    terminal.press(SPACE)
    terminal.wait_for("» Start the dry run")


def switches_to_live_and_refuses(terminal: Terminal) -> None:
    enter(terminal, "Mode", "Mode +LIVE")
    enter(terminal, "Batch size", "empty: as measured")
    terminal.press("none", ENTER)
    terminal.wait_for("A number, at least 1")
    terminal.press(*[BACKSPACE] * 4, "20", ENTER)
    terminal.wait_for("Batch size +20 rows a transaction")
    enter(terminal, "Show the plan", ASKED, "ALTER TABLE")
    terminal.press("n", ENTER)
    terminal.wait_for(READ, "nothing was changed")
    terminal.press(SPACE)
    terminal.wait_for("Mode +LIVE")


def goes_on_from_the_history(terminal: Terminal) -> None:
    enter(terminal, "History", "» Look at one", "encrypt-user-d.* paused ")
    enter(terminal, "Look at one", r"» \w{8} .* encrypt-user-data: paused")
    terminal.press(ENTER)
    terminal.wait_for("» Go on with it")
    terminal.press(ENTER)
    terminal.wait_for(READ)
    assert "encrypt-user-data 1.0.0: done" in terminal.told
    terminal.press(SPACE)
    terminal.wait_for("» Look at one", "encrypt-user-d.* succeeded ")
    enter(terminal, "Back", MENU, "encrypt-user-data: done, ")


def validates(terminal: Terminal) -> None:
    enter(terminal, "Validate", r"Validate what\?")
    enter(terminal, "Only security", READ, r"\d+ of \d+ checks, .* found something")
    terminal.press(SPACE)
    terminal.wait_for(MENU)


def backs_up_one_table(terminal: Terminal) -> None:
    """The last one of a list that the screen cannot hold."""
    enter(terminal, "Back up", r"Back up what\?")
    enter(terminal, "Some tables", r"Which tables\?")
    terminal.press(UP)
    terminal.wait_for("» ○ verification_tokens")
    terminal.press(ESCAPE)
    terminal.wait_for(MENU)
    enter(terminal, "Back up", r"Back up what\?")
    enter(terminal, "Some tables", r"Which tables\?")
    terminal.press(UP, SPACE, ENTER)
    terminal.wait_for(READ, r"public.verification_tokens +\d+")
    terminal.press(SPACE)
    terminal.wait_for(MENU)


def test_without_a_database_the_menu_stays_and_says_what_to_do(tmp_path: Path) -> None:
    """And without colour, where that is not wanted."""
    url = "postgresql://somebody:hush@127.0.0.1:9/nowhere"
    with datamig(tmp_path, "interactive", DATABASE_URL=url, NO_COLOR="1") as terminal:
        terminal.wait_for(MENU, "error: cannot reach PostgreSQL at 127.0.0.1:9/nowhere", "Is it running")
        enter(terminal, "Look for the database again", r"» Look", "cannot reach")
        enter(terminal, "Examine", READ)
        terminal.press(SPACE)
        terminal.wait_for(MENU)
        terminal.press(CTRL_C)
        assert terminal.leave() == 0
        codes = {
            code for codes in re.findall(r"\x1b\[([\d;]*)m", terminal.written) for code in codes.split(";")
        }
    assert codes <= {"", "0", "1", "2"}  # plain, bold, dim
    assert "hush" not in terminal.told


async def test_a_dumb_terminal_gets_numbers_and_an_error_leaves_the_menu_open(
    sample: str, tmp_path: Path
) -> None:
    with datamig(tmp_path, DATABASE_URL=sample, TERM="dumb") as terminal:
        terminal.wait_for(r"1  Run migrations(.|\n)*Number:\s*\Z")
        terminal.press("eight\n")
        terminal.wait_for("One number from 1 to 7")
        terminal.press("1\n")
        terminal.wait_for(r"1  encrypt-user-data +cannot be counted(.|\n)*between:\s*\Z")
        terminal.press("1\n")
        terminal.wait_for("Start the dry run")
        terminal.press("6\n")
        terminal.wait_for("empty: as measured")
        terminal.press("0\n")
        terminal.wait_for("at least 1")
        terminal.press("\n")
        terminal.wait_for(r"as measured\n   7  Back\nNumber:\s*\Z")
        terminal.press("1\n")
        terminal.wait_for("error: no encryption key is configured\n  Make one with `datamig keys generate`")
        terminal.press(CTRL_D)
        terminal.wait_for(r"1  Run migrations(.|\n)*Number:\s*\Z")
        terminal.press("7\n")
        assert terminal.leave() == 0
    assert "\x1b" not in terminal.written


@pytest.mark.parametrize("words", [("interactive",), ("interactive", "--json")])
def test_the_menu_needs_a_terminal(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "needs a person at a terminal" in "".join(capsys.readouterr())

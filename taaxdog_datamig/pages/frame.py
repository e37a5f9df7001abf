"""The frame of a page of HTML that needs nothing else: no network, no script to read it, charts drawn inline.

`frame.html` is its frame and style. Everything that is told passes through `escaped`; the page's own policy
forbids every script but the one it is given, and every connection.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Literal, TypeAlias

from taaxdog_datamig.pages.words import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Tone: TypeAlias = Literal["good", "warn", "bad"]


def framed(
    title: str,
    verdict: tuple[Tone, str],
    facts: Iterable[tuple[str, str]],
    sections: Iterable[str],
    script: str = "",
) -> str:
    """A whole page.

    Args:
        title: what it is about, as plain text.
        verdict: how it went, in one line of plain text.
        facts: names and what they are, as plain text.
        sections: HTML, one under the other; empty ones are left out.
        script: runs once the page is there. The page must be readable without.
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    tone, words = verdict
    return Template(files(__package__).joinpath("frame.html").read_text("utf-8")).substitute(
        title=escaped(title),
        tone=tone,
        verdict=escaped(words),
        facts="".join(f"<div><dt>{escaped(n)}</dt><dd>{escaped(v)}</dd></div>" for n, v in facts),
        sections="\n".join(filter(None, sections)),
        footer="Rows are named by primary key; this page holds no value of theirs.",
        script=script,
        script_hash=f"sha256-{digest}",
    )


def figure(title: str, drawing: str) -> str:
    """A drawing under its title."""
    return f"<figure><figcaption>{escaped(title)}</figcaption>{drawing}</figure>"


def section(title: str, number: int, inner: str, *, open_: bool = False) -> str:
    """A part that is folded away unless `open_`; nothing where it has no rows."""
    if not number:
        return ""
    how = " open" if open_ else ""
    return (
        f"<section><h2>{escaped(title)} ({number:,})</h2>"
        f"<details{how}><summary>Show</summary>{inner}</details></section>"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A table whose first column names the rows."""
    right = set(numbers)
    shown = "".join(
        f'<th scope="col"{_right(place in right)}>{escaped(head)}</th>' for place, head in enumerate(heads)
    )
    body = "".join(
        f'<tr><th scope="row">{escaped(row[0])}</th>'
        + "".join(
            f"<td{_right(place in right)}>{escaped(cell)}</td>" for place, cell in enumerate(row[1:], start=1)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{shown}</tr></thead><tbody>{body}</tbody></table></div>'


def _right(yes: bool) -> str:  # noqa: FBT001  a class or none
    return ' class="number"' if yes else ""

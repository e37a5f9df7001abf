"""Text as documents can hold it."""

from __future__ import annotations

import html
import re

#: What neither XML 1.0 nor HTML can hold, not even escaped.
_ILLEGAL = re.compile("[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")


def legal(text: str) -> str:
    """The text without characters that a document cannot hold."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    """The text as it stands in HTML, in elements and in quoted attributes."""
    return html.escape(legal(text))

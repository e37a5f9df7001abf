"""Commands in messages, as they must be typed here: with the database and settings this call was given."""

from __future__ import annotations

import re
import shlex
from urllib.parse import urlsplit, urlunsplit

from taaxdog_datamig_cli.options import Common

#: Those that look at the database; others need none.
_COMMANDS = (
    "cancel|doctor|history|list|pause|plan|quarantine list|quarantine retry|report|restore|resume|rollback"
    "|run|status|backup show|keys list"
)
_TYPED = re.compile(rf"(?P<before>`|: )(?P<typed>datamig (?:{_COMMANDS})\b[^`\n;]*?)(?P<after>`|$)")


def as_typed_here(text: str, common: Common) -> str:
    """`text`, whose commands name the database and settings file that this call names; never a password."""
    given = _given(common)
    if not given:
        return text
    return _TYPED.sub(lambda found: f"{found['before']}{found['typed']}{given}{found['after']}", text)


def _given(common: Common) -> str:
    words = []
    if common.database is not None and (url := _without_password(common.database)):
        words += ["--database", url]
    if common.config is not None:
        words += ["--config", str(common.config)]
    return "".join(f" {shlex.quote(word)}" for word in words)


def _without_password(url: str) -> str | None:
    """None where it cannot be told whether there is one."""
    if re.fullmatch(r"embedded(:[^@?]*)?", url):
        return url
    try:
        parts = urlsplit(url)
        secret = parts.password is not None
    except ValueError:
        return None
    # With `/`, `?` or `#` in a password that should have been %2F, the parts are not what they seem.
    if "@" in parts.path + parts.query + parts.fragment or "password" in parts.query:
        return None
    netloc = f"{parts.username}@{parts.netloc.rpartition('@')[2]}" if secret else parts.netloc
    return urlunsplit(parts._replace(netloc=netloc))

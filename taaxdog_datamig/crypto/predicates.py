"""SQL over a stored value: what can be said of it without a key. Together they hold for every value but "".

`plaintext` is certain. What is `sealed`, and what is `opaque`, only opening tells.
"""

from __future__ import annotations

from typing import Final

from taaxdog_datamig.crypto.field import PREFIX
from taaxdog_datamig.crypto.legacy import SHORTEST

#: Something else between characters of base64: in no value that the application sealed. (Blanks around one
#: are let go of.)
_NO_BASE64: Final = "[-A-Za-z0-9+/=_][^-A-Za-z0-9+/=_]+[-A-Za-z0-9+/=_]"


def plaintext(text: str) -> str:
    """True of what is sealed in no way.

    Args:
        text: SQL of the value, of type text.
    """
    return (
        f"({text} <> '' AND NOT {sealed(text)} AND (length({text}) < {SHORTEST} OR {text} ~ '{_NO_BASE64}'))"
    )


def opaque(text: str) -> str:
    """True of what looks as if the application had sealed it, without the prefix; plaintext may, too.

    Args:
        text: SQL of the value, of type text.
    """
    return f"(length({text}) >= {SHORTEST} AND NOT {sealed(text)} AND {text} !~ '{_NO_BASE64}')"


def sealed(text: str) -> str:
    """True of what begins as a sealed value does.

    Args:
        text: SQL of the value, of type text.
    """
    return f"starts_with({text}, '{PREFIX}')"
